from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from slipway.errors import ConfigError
from slipway.sandbox.drills import haste
from support.committed_project import ROOT


@pytest.mark.parametrize("path", haste.FILES, ids=str)
def test_every_file_of_the_project_can_be_made_shorter_once(path):
    text = (ROOT / path).read_text("utf-8")
    after = haste.hastened(path, text)
    assert after != text
    assert haste.hastened(path, after) == after


def test_load_test_is_shorter_and_has_enough_requests():
    slo = YAML(typ="safe").load(haste.shorter((ROOT / haste.FILES[0]).read_text("utf-8")))
    schedule = slo["schedules"]["cluster"]
    assert schedule["seconds"] == haste.LOAD_SECONDS
    for endpoint in slo["endpoints"].values():
        assert schedule["rate"] * schedule["seconds"] * endpoint["share"] >= endpoint["min_requests"]


def test_machines_schedule_stays():
    before, after = ((ROOT / haste.FILES[0]).read_text("utf-8"),) * 2
    assert "machine: {rate: 300, seconds: 5" in haste.shorter(after)
    assert before.count("\n") == haste.shorter(after).count("\n")


def test_staging_fails_sooner_and_nothing_else_differs():
    text = (ROOT / haste.STAGING).read_text("utf-8")
    before, after = YAML(typ="safe").load(text), YAML(typ="safe").load(haste.sooner(text))
    assert after["spec"].pop("progressDeadlineSeconds") == haste.DEADLINE_SECONDS
    assert after == before


def test_objective_without_a_cluster_is_refused():
    with pytest.raises(ConfigError, match="no line `  cluster"):
        haste.shorter("schedules:\n  machine: {rate: 1, seconds: 5}\n")


def test_patch_without_a_spec_is_refused():
    with pytest.raises(ConfigError, match="no line `spec:`"):
        haste.sooner("kind: Deployment\n")
