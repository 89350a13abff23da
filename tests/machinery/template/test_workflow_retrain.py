"""retrain.yml, run: without a log it is skipped; with one, verdicts are pushed to the records branch, also those that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from slipway.core import git
from slipway.records import records_branch
from support.act_runner import REPOSITORY, Project, Ran, copied

pytestmark = pytest.mark.act


@pytest.fixture(scope="module")
def scratch(acted: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the reproduced repository."""
    return copied(acted, tmp_path_factory.mktemp("retrain"))


def ask(project: Project, log: Path | None) -> Ran:
    repository = {
        "full_name": REPOSITORY,
        "name": REPOSITORY.split("/")[1],
        "default_branch": "main",
        "is_template": False,
    }
    payload = {"ref": "refs/heads/main", "inputs": {}, "repository": repository, "sender": {"login": "ada"}}
    variables = {"PREDICTION_LOG": str(log)} if log else {}
    return project.run("workflow_dispatch", payload, at="main", workflow="retrain", variables=variables)


def test_without_a_log_it_is_skipped(scratch: Project) -> None:
    ran = ask(scratch, None)
    assert ran.results in ({"monitor": "skipped"}, {}), ran.said
    assert ran.log == [], "no step was run"


def test_empty_log_is_recorded_as_unsure(scratch: Project, tmp_path: Path) -> None:
    (tmp_path / "log/predictions").mkdir(parents=True)
    ran = ask(scratch, tmp_path / "log")
    assert ran.results == {"monitor": "failure"}, ran.said
    assert "has no predictions of the 7 days" in ran.said
    git.run("fetch", "-q", "origin", root=scratch.work)
    chapters = {each.chapter: each.verdict for each in records_branch.read(scratch.work)}
    names = ("service", "inputs", "predictions", "performance")
    assert chapters == {f"monitor-{name}": "unsure" for name in names}, json.dumps(chapters)
