"""The recipes of CONTRIBUTING.md, carried out from the lines on the page on a scratch copy of the project."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import markdown_pages as pages
import polars as pl
import pytest
from markdown_pages import ROOT

from slipway.cluster import manifests
from slipway.core import environment
from support.committed_project import begin, edit, save

pytestmark = pages.of_the_template

PAGE = pages.text_or_nothing(ROOT / "CONTRIBUTING.md")
QUIET = shutil.ignore_patterns("__pycache__", "*.egg-info")
SMALL = {
    'until: "2013-11-01"': 'until: "2013-03-10"', "test_days: 30": "test_days: 20", "max_iter: 150": "max_iter: 20",
    "resamples: 200\n": "resamples: 20\n", "importance_rows: 5000": "importance_rows: 100",
    "auc: {at_least: 0.65}": "auc: {at_least: 0.5}",
}  # fmt: skip
"""Less data and fewer trees: the recipes are tested, not the model."""
STAGES = ("ingest", "features", "train", "export", "evaluate")


@dataclass(frozen=True)
class Edit:
    """Lines of a file to replace; a file to write whole has no lines before."""

    path: str
    before: str
    after: str

    def apply(self, folder: Path) -> None:
        file = folder / self.path
        if not self.before:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self.after, encoding="utf-8")
            return
        assert file.read_text(encoding="utf-8").count(self.before) == 1, f"{self.path} has other lines than the recipe"
        edit(file, self.before, self.after)


def recipe(title: str) -> list[Edit]:
    """The edits of one recipe, in order: each block belongs to the path named last before it."""
    section = re.split(r"^## ", PAGE.partition(f"\n## {title}\n")[2], flags=re.M)[0]
    edits, path = [], ""
    for block in re.finditer(
        r"[Ii]n `([\w./]+)`:\n|overlay, `([\w./]+)`|^ *```(diff|yaml)\n(.*?)^ *```", section, re.M | re.S
    ):
        path = block[1] or block[2] or path
        if block[3]:
            edits.append(_edit(path, block[3], textwrap.dedent("   |\n" + block[4]).partition("\n")[2]))
    assert edits, f"CONTRIBUTING.md has no recipe {title!r}"
    return edits


def _edit(path: str, kind: str, text: str) -> Edit:
    if kind == "yaml":
        return Edit(path, "", text)
    lines = text.splitlines(keepends=True)
    before, after = ("".join(line[1:] for line in lines if line[0] in f" {sign}") for sign in "-+")
    return Edit(path, before, after)


def python(folder: Path, script: str) -> str:
    """Run a script in the scratch project, with its own code; what it printed."""
    env = environment.for_programs(folder)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def slipway(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "slipway", *words]
    return subprocess.run(
        command, cwd=folder, env=environment.for_programs(folder), capture_output=True, text=True, timeout=120
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights with the feature and the metric of the recipes, after its pipeline, committed."""
    folder = tmp_path_factory.mktemp("recipes") / "p"
    shutil.copytree(ROOT / "src", folder / "src", ignore=QUIET)
    for name in ("params.yaml", ".gitignore"):
        shutil.copy(ROOT / name, folder)
    for before, after in SMALL.items():
        edit(folder / "params.yaml", before, after)
    for change in recipe("Add a feature") + recipe("Add a metric"):
        change.apply(folder)
    begin(folder)
    save(folder)
    python(
        folder,
        textwrap.dedent(f"""
        import importlib
        from slipway.core import config
        for name in {STAGES}:
            importlib.import_module("slipway.pipeline." + name).run(config.load())
    """),
    )
    return folder


# A feature


def test_a_feature_is_an_input_of_the_model(trained: Path) -> None:
    contract = json.loads((trained / "models/contract.json").read_text(encoding="utf-8"))
    assert "weekend" in contract["numbers"]
    assert contract["example"]["weekend"] == 0
    assert '"weekend"' in json.dumps(contract["inputs"])


def test_a_feature_is_computed_for_all_rows(trained: Path) -> None:
    frame = pl.read_parquet(trained / "data/features.parquet")
    weekend = pl.col("sched_dep").dt.convert_time_zone("America/New_York").dt.weekday() >= 6
    assert frame["weekend"].n_unique() == 2
    assert frame.filter(pl.col("weekend") != weekend.cast(pl.Float32)).is_empty()


def test_a_feature_is_computed_for_one_flight_alike(trained: Path) -> None:
    answers = python(
        trained,
        textwrap.dedent("""
        from pathlib import Path
        import polars as pl
        from flights import lookup
        rows = pl.read_parquet("data/features.parquet").tail(3000).sample(40, seed=1).to_dicts()
        asked = [lookup.Question(**{k: row[k] for k in ("carrier", "origin", "dest", "sched_dep")}) for row in rows]
        found = [lookup.answer(Path("models/lookup.sqlite"), one)["weekend"] for one in asked]
        print(found == [row["weekend"] for row in rows], len(set(found)))
    """),
    )
    assert answers.split() == ["True", "2"]


def test_an_input_that_depends_on_the_future_is_refused(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    shutil.copytree(trained / "src", folder / "src", ignore=QUIET)
    shutil.copy(trained / "params.yaml", folder)
    (folder / "data").symlink_to(trained / "data")
    edit(
        folder / "src/flights/features.py",
        "weekend=(local.dt.weekday() >= 6).cast(pl.Float64)",
        'weekend=pl.col("late")',
    )
    done = slipway(folder, "features")
    assert done.returncode == 3
    assert "weekend" in done.stderr


# A metric


def test_a_metric_is_written_with_its_interval(trained: Path) -> None:
    metrics = json.loads((trained / "reports/metrics.json").read_text(encoding="utf-8"))
    assert 0.5 < metrics["accuracy"] < 1
    assert metrics["intervals"]["accuracy"]["low"] <= metrics["accuracy"] <= metrics["intervals"]["accuracy"]["high"]


def test_a_metric_has_a_name_and_a_direction(trained: Path) -> None:
    script = "from slipway.reporting import wording as w; print(w.METRICS['accuracy'], 'accuracy' in w.HIGHER)"
    assert python(trained, script).split() == ["accuracy", "True"]


def test_a_floor_stops_a_change(trained: Path, tmp_path: Path) -> None:
    """The floor of the recipe passes; a higher one, in the base commit, refuses."""
    folder = shutil.copytree(trained, tmp_path / "p", symlinks=True)
    assert slipway(folder, "judge", "--base", "HEAD").returncode == 0
    edit(folder / "params.yaml", "accuracy: {at_least: 0.70}", "accuracy: {at_least: 0.99}")
    save(folder)
    done = slipway(folder, "judge", "--base", "HEAD")
    assert done.returncode == 4
    assert "accuracy" in done.stderr.lower()


# An environment


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """The manifests in a repository of their own, and the recipe in a second commit."""
    for name in ("k8s", "argocd", "loadtests"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("params.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    begin(tmp_path)
    save(tmp_path)
    for path in ("argocd/{}.yaml", "argocd/namespaces/{}.yaml"):
        text = (tmp_path / path.format("production")).read_text(encoding="utf-8")
        (tmp_path / path.format("demo")).write_text(text.replace("production", "demo"), encoding="utf-8")
    for change in recipe("Add an environment"):
        change.apply(tmp_path)
    return save(tmp_path)


def test_an_environment_is_rendered_and_keeps_the_rules(deployed: Path) -> None:
    if not manifests.find_renderer(environment.for_programs(deployed)["PATH"]):
        pytest.skip("there is no kustomize or kubectl here")
    manifests.run(base="HEAD^1", root=deployed)
    record = json.loads((deployed / "reports/manifests.json").read_text(encoding="utf-8"))
    checks = {check["name"]: check["ok"] for check in record["checks"]}
    assert checks["kustomize build demo"]
    assert set(checks.values()) == {True}
    added = {(change["env"], change["kind"]) for change in record["notes"]["changes"]}
    assert {("demo", "Deployment"), ("argocd", "Application"), ("argocd", "Namespace")} <= added


def test_an_environment_keeps_the_tests_of_the_manifests_green(deployed: Path) -> None:
    for path in ("tests/machinery/template/test_manifests_written.py", "tests/machinery/support/paths.py",
                 "src/slipway/serving/service.py"):  # fmt: skip
        (deployed / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, deployed / path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/machinery/template"]
    env = environment.for_programs(deployed)
    with contextlib.suppress(KeyError):
        del env["PYTEST_XDIST_WORKER"]
    done = subprocess.run(command, cwd=deployed, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout


def test_a_third_ledger_needs_a_change_where_the_page_says(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src/slipway", tmp_path / "src/slipway", ignore=QUIET)
    edit(tmp_path / "src/slipway/core/ledger.py", '("staging", "production")', '("staging", "qa", "production")')
    imports = "from slipway.core import ledger; from slipway.delivery import policy_rules; "
    assert python(tmp_path, imports + "print(ledger.path('qa'), *policy_rules.ACTIONS['qa'])").split() == [
        "releases/qa.jsonl",
        "promote",
        "rollback",
    ]
