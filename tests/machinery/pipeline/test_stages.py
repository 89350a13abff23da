"""The bikes project: what an edit of code or of the lock changes in its fingerprints, and what DVC would run again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.core import environment
from slipway.errors import CheckFailed, ConfigError
from slipway.pipeline import stages
from support.committed_project import edit, write_fingerprints

ALL = ["ingest", "features", "train", "export", "evaluate"]


@pytest.fixture
def copy(honest: Path, tmp_path: Path) -> Path:
    return shutil.copytree(honest, tmp_path / "a b é", symlinks=True)


def check(folder: Path, *, write: bool = False) -> str:
    return stages.run(write=write, root=folder)


def changed(folder: Path) -> list[str]:
    """The stages that `dvc repro` would run, of those that are not merely downstream of one."""
    write_fingerprints(folder)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status", "--json"], cwd=folder, env=environment.for_programs(folder),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return sorted(json.loads(done.stdout), key=ALL.index)


def bump(folder: Path, library: str) -> None:
    """Another version of a library in the lock."""
    lock = folder / stages.LOCK
    text, count = re.subn(rf"(?m)^{library}==\S+", f"{library}==99.0.1", lock.read_text("utf-8"))
    assert count
    lock.write_text(text, "utf-8")


def test_file_is_written_and_then_current(copy):
    (copy / stages.FINGERPRINTS).unlink()
    with pytest.raises(
        CheckFailed, match=r"requirements/stages\.yaml is out of date for ingest, features, train"
    ) as caught:
        check(copy)
    assert "make lock" in caught.value.hint
    assert check(copy, write=True).endswith("changed: ingest, features, train, export, evaluate")
    before = (copy / stages.FINGERPRINTS).read_bytes()
    assert check(copy) == check(copy, write=True) == "requirements/stages.yaml is up to date"
    assert (copy / stages.FINGERPRINTS).read_bytes() == before
    assert before.decode().splitlines()[0].startswith("# One fingerprint for each stage")


def test_command_ends_in_4_when_a_stage_is_stale(copy, cli):
    edit(copy / "src/bikes/features.py", "def ", "ANOTHER = 1\n\n\ndef ")
    done = cli(copy, "stages")
    assert done.returncode == 4
    assert "requirements/stages.yaml is out of date for features" in done.stderr
    assert "make lock" in done.stderr
    assert cli(copy, "stages", "--write").returncode == 0
    assert cli(copy, "stages").returncode == 0


def test_comment_and_docstring_rerun_nothing(copy):
    edit(copy / "src/bikes/features.py", "def ", "# another thought\ndef ")
    edit(copy / "src/bikes/model.py", '"""', '"""Another word. ')
    edit(copy / "src/slipway/pipeline/train.py", '"""', '"""Another word. ')
    edit(copy / "src/slipway/core/files.py", '    """', '    """Another word. ')
    assert check(copy) == "requirements/stages.yaml is up to date"


@pytest.mark.source_text
def test_library_reruns_the_stages_that_import_it(copy):
    bump(copy, "scikit-learn")
    assert stages.stale(copy) == ["train", "export"]
    assert changed(copy) == ["train", "export"]


@pytest.mark.parametrize(
    ("library", "stale"),
    [
        ("mlflow", []),
        ("jinja2", []),
        ("scipy", ["train", "export"]),
        ("onnxruntime", ["export", "evaluate"]),
        ("polars", ALL),
        ("pydantic-core", ALL),
    ],
)
@pytest.mark.source_text
def test_library_changes_what_reaches_it_also_through_others(copy, library, stale):
    bump(copy, library)
    assert stages.stale(copy) == stale


@pytest.mark.parametrize(
    ("file", "before", "after", "stale"),
    [
        ("bikes/model.py", "def ", "X = 1\n\n\ndef ", ["train", "export"]),
        ("bikes/features.py", "def ", "X = 1\n\n\ndef ", ["features"]),
        ("slipway/core/verdict.py", "NAMED_CHECKS = 3", "NAMED_CHECKS = 4", ["export", "evaluate"]),
        ("slipway/core/config.py", "class Loop(StrictModel):", "class Loop(StrictModel):\n    more: int = 1", []),
        ("slipway/core/config.py", "    leak_moments: Count", "    leak_moments: int", ["features"]),
        ("slipway/pipeline/evaluate.py", "def score_for_comparison(", "def again(", []),
        ("slipway/judging/judge.py", "def ", "X = 1\n\n\ndef ", []),
    ],
)
@pytest.mark.source_text
def test_code_changes_the_stages_that_reach_it(copy, file, before, after, stale):
    edit(copy / "src" / file, before, after)
    assert stages.stale(copy) == stale


def test_edited_code_reruns_its_stage(copy):
    edit(copy / "src/bikes/model.py", "def ", "ANOTHER = 1\n\n\ndef ")
    assert changed(copy)[0] == "train"


@pytest.mark.source_text
def test_import_of_what_is_not_locked_counts_by_its_name(copy):
    edit(copy / "src/bikes/model.py", "def ", "import surely_not_locked\n\n\ndef ")
    assert stages.stale(copy) == ["train", "export"]


def test_file_with_a_merge_conflict_is_written_anew(copy):
    before = (copy / stages.FINGERPRINTS).read_text("utf-8")
    (copy / stages.FINGERPRINTS).write_text(f"<<<<<<< HEAD\n{before}", "utf-8")
    assert stages.stale(copy) == ALL
    check(copy, write=True)
    assert (copy / stages.FINGERPRINTS).read_text("utf-8") == before


def test_stage_that_is_gone_is_stale(copy):
    with (copy / stages.FINGERPRINTS).open("a") as file:
        file.write("another: 00\n")
    assert stages.stale(copy) == ["another"]


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("src/bikes/model.py", "def def", r"src/bikes/model\.py, line 1: not valid Python: invalid syntax"),
        ("dvc.yaml", "a: [", r"dvc\.yaml is not valid YAML"),
        ("requirements/pipeline.lock", None, r"requirements/pipeline\.lock cannot be read: No such file"),
        ("dvc.yaml", None, r"dvc\.yaml cannot be read: No such file"),
    ],
)
def test_files_that_cannot_be_read_are_named(copy, file, text, message):
    (copy / file).unlink()
    if text is not None:
        (copy / file).write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=f"^{message}"):
        stages.stale(copy)


def test_source_files_are_code_and_what_it_is_locked_by(honest):
    paths = stages.source_files(honest)
    assert {"src/bikes/model.py", "src/slipway/pipeline/plots.py", "requirements/pipeline.lock"} <= paths
    assert "src/slipway/judging/judge.py" not in paths
    assert all((honest / path).is_file() for path in paths)
