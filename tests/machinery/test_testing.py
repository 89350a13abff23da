"""slipway.testing: its checks are green for another project, and red for the reason that is wrong with one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from slipway import testing
from slipway.core import config, files
from slipway.errors import SlipwayError
from support.committed_project import edit
from support.paths import BIKES, PROBLEMS, ROOT

CONFTEST = """\
import polars as pl
import pytest
from bikes.ingest import ingest
from {name}.problem import PROBLEM

@pytest.fixture(scope="session")
def sample() -> pl.DataFrame:
    return ingest(PROBLEM.sources())[0]
"""
CHECKS = """\
import slipway.testing

class TestProject(slipway.testing.ProjectChecks):
    '''The checks of Slipway, on this project's problem.'''
"""


def little_project(folder: Path, name: str) -> Path:
    """A project of one of the small problems: params.yaml, a sample, and the checks."""
    (folder / "tests").mkdir(parents=True)
    params = (BIKES / "params.yaml").read_text("utf-8").replace("problem: bikes", f"problem: {name}")
    (folder / "params.yaml").write_text(params, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider -rA\n", "utf-8")
    (folder / "tests/conftest.py").write_text(CONFTEST.format(name=name), "utf-8")
    (folder / "tests/test_chapters.py").write_text(CHECKS, "utf-8")
    return folder


def run_checks(folder: Path, *words: str, **env: str) -> tuple[int, str]:
    """The exit code of the project's own tests, and what pytest printed."""
    path = os.pathsep.join([str(PROBLEMS), str(ROOT / "src")])
    done = subprocess.run([sys.executable, "-m", "pytest", *words], cwd=folder, env=os.environ | {"PYTHONPATH": path} | env,
                          capture_output=True, text=True, timeout=300, check=False)  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    """The files of the project without what Python and DVC keep beside them."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", ".slipway"} & set(path.parts)
    }


def test_another_problem_goes_through_every_chapter(tmp_path: Path) -> None:
    project = little_project(tmp_path / "a b é", "bikes")
    before = contents(project)
    code, printed = run_checks(project, PATH="/nowhere")
    assert code == 0, printed
    assert " 10 passed, 3 skipped" in printed, printed
    assert "the problem has no lookup" in printed
    assert contents(project) == before


def test_a_leaking_problem_is_red_and_names_the_input(tmp_path: Path) -> None:
    code, printed = run_checks(little_project(tmp_path / "p", "leaking"), "-k", "chapter")
    assert code == 1
    assert "features: leak from the future: recent depend on data that is not known at prediction time" in printed
    assert "not run, because the step features failed" in printed


def test_a_dirty_source_is_red_and_names_the_column(tmp_path: Path) -> None:
    """Its source lies in a folder of the project, named from there."""
    project = little_project(tmp_path / "p", "dirty")
    source = project / "source/bikes.csv"
    source.parent.mkdir()
    source.write_text(re.sub(r",\d+\.\d,", ",99.0,", (BIKES / "bikes.csv").read_text("utf-8"), count=1), "utf-8")
    edit(project / "params.yaml", files.sha256(BIKES / "bikes.csv"), files.sha256(source))
    code, printed = run_checks(project, "-k", "chapter")
    assert code == 1
    assert "ingest: data/table.parquet: column temp is 99 (the worst of 1 row); allowed: -30 to 50 (°C)" in printed
    assert "not run, because the step ingest failed" in printed


def test_overlays_that_cannot_be_rendered_are_skipped_aloud(tmp_path: Path) -> None:
    project = little_project(tmp_path / "p", "bikes")
    (project / "k8s/overlays/staging").mkdir(parents=True)
    (project / "k8s/overlays/staging/kustomization.yaml").write_text("resources: [absent.yaml]\n", "utf-8")
    code, printed = run_checks(project, "-k", "overlays", PATH="/nowhere")
    assert code == 0
    assert "the overlays in k8s/ were NOT checked: install kustomize or kubectl" in printed


@pytest.mark.skipif(not (shutil.which("kustomize") or shutil.which("kubectl")), reason="kustomize is not here")
def test_a_broken_overlay_is_red(tmp_path: Path) -> None:
    project = little_project(tmp_path / "p", "bikes")
    (project / "k8s/overlays/staging").mkdir(parents=True)
    (project / "k8s/overlays/staging/kustomization.yaml").write_text("resources: [absent.yaml]\n", "utf-8")
    code, printed = run_checks(project, "-k", "overlays")
    assert code == 1
    assert "overlay staging does not render" in printed


def test_limits_are_sized_to_the_sample(params: config.Params) -> None:
    table = pl.DataFrame({"day": [date(2021, 3, 1), date(2021, 3, 10)]})
    small = testing.sample_params(params, table)
    assert (small.data.until, small.data.test_days) == (date(2021, 3, 11), 2)
    assert (small.evaluate.min_rows, small.judge) == (1, params.judge)


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        testing.fail("features", ZeroDivisionError())
    with pytest.raises(pytest.fail.Exception, match="train: no\nnext: a step"):
        testing.fail("train", SlipwayError("no", hint="a step"))


def test_sections_and_fingerprint_of_a_stage_are_named() -> None:
    params = ["problem", "train.estimator", {"prints.yaml": ["train"]}]
    assert testing.undeclared(params, "train", {"problem", "train"}, "prints.yaml") == []
    assert testing.undeclared(params, "train", {"seed"}, "prints.yaml") == ["seed"]
    assert testing.undeclared(["problem", {"other.yaml": None}], "train", set(), "prints.yaml") == [
        "prints.yaml: [train]"
    ]
