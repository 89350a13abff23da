"""Application objects of Argo CD 3.5.3, recorded on a cluster: reading them, and when waiting for them is over."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.cluster import argocd
from slipway.cluster.argocd import App, Hook
from slipway.core import git
from slipway.errors import ConfigError, Inconclusive, SlipwayError
from support import fake_kubectl
from support.paths import RECORDED, ROOT

FIRST, HOOKS_ONLY = "7b9eb3fde1dd3b5cb26bdf6580d1fadde6a73da3", "d2777e2d03be6de601d5d4a14288e6acb6c483d4"
"""Commits of the record: one that was synced, and the next, which changed nothing but a hook."""


def recorded(name: str) -> App:
    return argocd.parse(json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8")))


def any_revision(found: str) -> bool:
    return bool(found)


def no_revision(found: str) -> bool:
    return not found


def test_success_is_read_with_its_hook() -> None:
    app = recorded("succeeded")
    assert (app.phase, app.revision, app.sync, app.health) == ("Succeeded", FIRST, "Synced", "Healthy")
    assert app.hooks == (Hook("load-gate", "PostSync", "Succeeded"),)
    assert app.namespace == "flights-staging"
    assert app.started is not None
    assert app.finished is not None
    assert 0 < (app.finished - app.started).total_seconds() < 60
    assert len(app.images) == 2
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in app.images)


def test_failed_gate_shows_only_in_the_operation() -> None:
    app = recorded("gate-failed")
    assert (app.sync, app.health, app.errors) == ("Synced", "Healthy", ())
    assert (app.phase, app.hooks) == ("Failed", (Hook("load-gate", "PostSync", "Failed"),))


def test_new_application_is_read_too() -> None:
    app = argocd.parse({"metadata": {"name": "x"}, "spec": {"destination": {}}})
    assert (app.revision, app.phase, app.started, app.sync) == ("", "", None, "Unknown")
    assert not argocd.has_ended(app, any_revision)
    assert argocd.stuck_reason(app, any_revision) is None


@pytest.mark.parametrize(
    ("name", "over"),
    [
        ("running", False),
        ("succeeded", True),
        ("gate-failed", True),
        ("healed", False),  # its Succeeded is of one Service, and says nothing about the gate
        ("only-a-hook", False),
        ("broken", False),
        ("forbidden", True),  # only healing is on record, but it fails as the whole operation did
    ],
)
def test_operation_is_over_when_it_was_whole(name: str, over: bool) -> None:
    assert argocd.has_ended(recorded(name), any_revision) is over


@pytest.mark.parametrize("name", ["succeeded", "gate-failed", "forbidden"])
def test_operation_of_an_older_revision_does_not_count(name: str) -> None:
    assert not argocd.has_ended(recorded(name), no_revision)


@pytest.mark.parametrize("name", ["running", "gate-failed", "succeeded"])
def test_other_revision_is_still_hoped_for(name: str) -> None:
    assert argocd.stuck_reason(recorded(name), no_revision) is None


def test_healed_application_has_forgotten_its_gate() -> None:
    error = argocd.stuck_reason(recorded("healed"), any_revision)
    assert isinstance(error, Inconclusive)
    assert "the result of the sync of 7b9eb3fde1dd before that is not known" in str(error)
    assert error.hint == "sync it again: argocd app sync flights-staging"


def test_changed_hook_alone_never_runs() -> None:
    error = argocd.stuck_reason(recorded("only-a-hook"), lambda found: found == HOOKS_ONLY)
    assert isinstance(error, Inconclusive)
    assert "Synced at d2777e2d03be without a sync operation: only hooks changed since 7b9eb3fde1dd" in str(error)


def test_manifests_that_do_not_build_are_shown() -> None:
    error = argocd.stuck_reason(recorded("broken"), no_revision)
    assert isinstance(error, ConfigError)
    assert "ComparisonError: Failed to load target state" in str(error)
    assert 'unknown field "resourcesX"' in str(error)


def test_unreachable_git_is_waited_for() -> None:
    raw = json.loads((RECORDED / "broken.json").read_text(encoding="utf-8"))
    raw["status"]["conditions"][0]["message"] = 'failed to list refs: Get "http://x": dial tcp: connection refused'
    assert argocd.stuck_reason(argocd.parse(raw), no_revision) is None


def test_state_is_told_in_one_line() -> None:
    said = argocd.describe(recorded("forbidden"))
    assert said.startswith("OutOfSync at 8765187a79aa, Healthy, operation Failed of 8765187a79aa, ")
    assert "resource :Secret is not permitted in project flights" in said
    assert "\n" not in said


def test_whole_sync_is_found_behind_one_that_healed() -> None:
    at = datetime(2026, 3, 4, 12, tzinfo=UTC)
    app = replace(recorded("healed"), deployed=((FIRST, at),))
    assert app.partial
    assert app.last_full_sync.phase == "Succeeded"
    assert (app.last_full_sync.revision, app.last_full_sync.finished) == (FIRST, at)
    assert not app.last_full_sync.partial
    assert replace(app, deployed=()).last_full_sync.partial
    assert replace(app, phase="Failed").last_full_sync.partial


# Waiting: `kubectl` prints recorded objects


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that alone is PATH, with `kubectl` in it."""
    return fake_kubectl.install(tmp_path / "bin é", monkeypatch)


def test_state_asks_argo_cd_namespace(programs: Path) -> None:
    fake_kubectl.says(programs, "succeeded")
    assert argocd.get_app("flights-staging").phase == "Succeeded"
    assert (programs / "asked").read_text() == "-n argocd get applications.argoproj.io flights-staging -o json\n"


@pytest.mark.parametrize(("hard", "kind"), [(False, "normal"), (True, "hard")])
def test_refresh_annotates(programs: Path, hard: bool, kind: str) -> None:
    argocd.refresh("x", hard=hard)
    assert f"annotate applications.argoproj.io x argocd.argoproj.io/refresh={kind}" in (programs / "asked").read_text()


@pytest.mark.parametrize(
    ("name", "phase"),
    [("succeeded", "Succeeded"), ("healed", "Succeeded"), ("gate-failed", "Failed"), ("forbidden", "Failed")],
)
def test_wait_ends_with_the_operation_whatever_its_phase(programs: Path, tmp_path: Path, name: str, phase: str) -> None:
    fake_kubectl.says(programs, name)
    revision = json.loads((programs / "said").read_text())["status"]["operationState"]["syncResult"]["revision"]
    assert argocd.wait_for_sync("flights-staging", revision, seconds=0, root=tmp_path).phase == phase


def test_wait_is_unsure_in_the_end(programs: Path, tmp_path: Path) -> None:
    fake_kubectl.says(programs, "running")
    with pytest.raises(
        Inconclusive, match=r"was not synced to 0{12} within 0 s: Synced at .* operation Running of"
    ) as caught:
        argocd.wait_for_sync("flights-staging", "0" * 40, seconds=0, root=tmp_path)
    assert caught.value.hint.endswith("describe application flights-staging")


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [("healed", Inconclusive, "restored single objects"), ("broken", ConfigError, "ComparisonError")],
)
def test_wait_gives_up_on_what_cannot_come(
    programs: Path, tmp_path: Path, name: str, error: type[SlipwayError], said: str
) -> None:
    told = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    told["status"]["history"] = []  # no whole operation succeeded
    (programs / "said").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(error, match=said):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=0)


def test_wait_takes_no_success_that_comes_too_late(programs: Path, tmp_path: Path) -> None:
    fake_kubectl.says_in_turn(programs, "running", "succeeded")
    with pytest.raises(Inconclusive, match="was not synced to"):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=0, root=tmp_path)
    fake_kubectl.says_in_turn(programs, "broken", "succeeded")
    told = json.loads((programs / "said.").read_text(encoding="utf-8"))
    told["status"]["history"] = []  # no whole operation succeeded
    (programs / "said.").write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ConfigError, match="ComparisonError"):
        argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=0)


def test_wait_believes_bad_news_only_when_it_stays(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argocd, "POLL_SECONDS", 0.01)
    fake_kubectl.says_in_turn(programs, "running", "running", "broken", "succeeded")
    assert argocd.wait_for_sync("flights-staging", FIRST, seconds=60, root=tmp_path, sure=10).phase == "Succeeded"


# Revisions


def repository(folder: Path) -> list[str]:
    """A repository with two commits; their hashes."""
    git.run("init", "-q", "-b", "main", str(folder))
    git.run("config", "user.name", "t", root=folder)
    git.run("config", "user.email", "t@example.org", root=folder)
    for name in ("one", "two"):
        git.run("commit", "-q", "--allow-empty", "-m", name, root=folder)
    return [git.commit_hash("HEAD~1", root=folder), git.commit_hash(root=folder)]


def test_later_commit_holds_an_earlier_one(tmp_path: Path) -> None:
    one, two = repository(tmp_path)
    assert argocd.includes_commit(two, one, root=tmp_path)
    assert argocd.includes_commit(one, one, root=tmp_path)
    assert not argocd.includes_commit(one, two, root=tmp_path)


@pytest.mark.parametrize("found", ["", "main", "0" * 40])
def test_unknown_revision_holds_nothing(tmp_path: Path, found: str) -> None:
    one, _ = repository(tmp_path)
    assert not argocd.includes_commit(found, one, root=tmp_path)


def test_commit_of_another_is_fetched(tmp_path: Path) -> None:
    one, two = repository(tmp_path / "theirs")
    git.run("clone", "-q", str(tmp_path / "theirs"), str(tmp_path / "mine"))
    git.run("commit", "-q", "--allow-empty", "-m", "three", root=tmp_path / "theirs")
    three = git.commit_hash(root=tmp_path / "theirs")
    assert argocd.includes_commit(three, two, root=tmp_path / "mine")
    assert argocd.includes_commit(three, one, root=tmp_path / "mine")


# Bootstrap


RENDERED = """
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: flights}
spec: {sourceRepos: [https://elsewhere.example.org]}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: flights-staging}
spec: {source: {repoURL: https://elsewhere.example.org}}
---
apiVersion: v1
kind: Namespace
metadata: {name: flights-staging}
"""


def test_bootstrap_applies_policies_then_the_addressed_applications(programs: Path) -> None:
    (programs / "rendered").write_text(RENDERED, encoding="utf-8")
    argocd.bootstrap(ROOT, repository="file:///here.git", name="flights")
    asked = (programs / "asked").read_text().splitlines()
    assert asked == [f"apply -k {ROOT}/k8s/policy", f"kustomize {ROOT}/argocd", "apply -f -"]
    project, app, namespace = json.loads((programs / "stdin").read_text())["items"]
    assert project["spec"]["sourceRepos"] == [app["spec"]["source"]["repoURL"]] == ["file:///here.git"]
    assert namespace["kind"] == "Namespace"


def test_bootstrap_refuses_another_projects_applications(programs: Path) -> None:
    (programs / "rendered").write_text(RENDERED, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"argocd/project.yaml has the name 'flights'; expected: 'bikes'"):
        argocd.bootstrap(ROOT, repository="file:///here.git", name="bikes")
    assert "apply -f -" not in (programs / "asked").read_text().splitlines()
