from __future__ import annotations

import json

import pytest
from ruamel.yaml import YAML

from slipway.errors import ConfigError
from slipway.sandbox.drills import canary_abort
from slipway.sandbox.drills.webhook_receiver import Message
from support.committed_project import ROOT

INPUTS = {"action": "rollback", "environment": "production", "reason": "the canary was aborted", "of": "x@sha256:1",
          "aborted": "shift 3.1"}  # fmt: skip


def test_canary_is_one_line_of_productions_overlay():
    text = (ROOT / canary_abort.OVERLAY).read_text("utf-8")
    on = canary_abort.with_canary(text, on=True)
    assert YAML(typ="safe").load(on)["components"] == ["../../components/canary"]
    assert "components" not in YAML(typ="safe").load(text)
    assert canary_abort.with_canary(on, on=False) == text
    assert canary_abort.with_canary(on, on=True) == on
    assert canary_abort.with_canary(text, on=False) == text


def test_overlay_without_the_line_is_refused():
    with pytest.raises(ConfigError, match="has no line `# components"):
        canary_abort.with_canary("resources: [../../base]\n", on=True)


def test_dispatch_becomes_the_words_that_the_workflow_types():
    words = canary_abort.rollback_words(Message("/dispatches", {"ref": "main", "inputs": INPUTS}, 0.0))
    assert words == ["rollback", "--push", "--reason=the canary was aborted", "--env=production", "--aborted=shift 3.1",
                     "--of=x@sha256:1"]  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"ref": "main"},
        {"ref": "main", "inputs": {**INPUTS, "action": "promote"}},
        {"ref": "x", "inputs": INPUTS},
    ],
)
def test_dispatch_of_something_else_is_refused(body):
    with pytest.raises(ConfigError, match="expected: a rollback on main"):
        canary_abort.rollback_words(Message("/dispatches", body, 0.0))


def test_hook_of_the_project_posts_where_the_drill_replaces_it():
    text = (ROOT / canary_abort.HOOK).read_text("utf-8")
    hook = YAML(typ="safe").load(text)
    assert canary_abort.GITHUB in text
    assert canary_abort.DISPATCH in text
    assert (f"configmap/{hook['metadata']['name']}", hook["metadata"]["namespace"]) == (
        canary_abort.NOTIFICATION_OBJECTS[0],
        canary_abort.ROLLOUTS_NAMESPACE,
    )


def test_inputs_are_those_of_the_workflow():
    workflow = YAML(typ="safe").load((ROOT / ".github/workflows/promote.yml").read_text("utf-8"))
    assert set(INPUTS) == set(workflow["on"]["workflow_dispatch"]["inputs"])


def test_no_of_an_analysis_is_found_wherever_its_line_is():
    record = {"chapter": "canary", "checks": [{"name": "shift of the predictions", "value": 3.1, "ok": False},
                                              {"name": "errors of the canary", "value": 0, "ok": True},
                                              {"name": "order of the rows", "value": None, "ok": None}]}  # fmt: skip
    line = json.dumps(record, separators=(",", ":"))
    assert (
        canary_abort.failed_checks(f"{line}\nok  errors\n")
        == canary_abort.failed_checks(f"ok  errors\n{line}\n")
        == {"shift of the predictions": 3.1}
    )
    assert canary_abort.failed_checks("canary: it cannot be reached\n") == {}
