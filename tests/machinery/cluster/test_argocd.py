"""Real Application objects of Argo CD 3.5.3, recorded on a cluster: what they say, and when waiting for them is over."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from slipway.cluster import argocd
from slipway.cluster.argocd import App, Hook
from slipway.errors import ConfigError, Inconclusive
from support.paths import RECORDED

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
    assert "healed itself after a sync of 7b9eb3fde1dd that is not known to have succeeded" in str(error)
    assert error.hint == "argocd app sync flights-staging"


def test_changed_hook_alone_never_runs() -> None:
    error = argocd.stuck_reason(recorded("only-a-hook"), lambda found: found == HOOKS_ONLY)
    assert isinstance(error, Inconclusive)
    assert "Synced at d2777e2d03be without an operation: nothing but hooks changed since 7b9eb3fde1dd" in str(error)


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
    assert app.whole.phase == "Succeeded"
    assert (app.whole.revision, app.whole.finished) == (FIRST, at)
    assert not app.whole.partial
    assert replace(app, deployed=()).whole.partial
    assert replace(app, phase="Failed").whole.partial
