"""dvc.yaml is complete: a stage names its fingerprint instead of code, and declares all params it reads."""

from __future__ import annotations

import pytest
from ruamel.yaml import YAML

from slipway.pipeline import stages
from support.paths import ROOT

STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))


def sections(stage: str) -> list[str]:
    """The sections of params.yaml that a stage declares."""
    return [key for key in STAGES[stage]["params"] if isinstance(key, str)]


def test_fingerprints_are_current() -> None:
    assert stages.stale(ROOT) == [], "run: make lock"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_names_its_fingerprint_and_no_code(stage: str) -> None:
    assert [key for key in STAGES[stage]["params"] if not isinstance(key, str)] == [
        {"requirements/stages.yaml": [stage]}
    ]
    assert [dep for dep in STAGES[stage].get("deps", ()) if dep.startswith(("src/", "requirements/"))] == []


@pytest.mark.parametrize("stage", STAGES)
def test_stage_declares_all_params_it_reads(stage: str) -> None:
    declared = {key.split(".")[0] for key in sections(stage)}
    assert stages.reach(ROOT, stage, PARAMS["problem"]).sections - declared == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_exist(stage: str) -> None:
    for key in sections(stage):
        place = PARAMS
        for part in key.split("."):
            assert part in place, f"{key} is not in params.yaml"
            place = place[part]


def test_reach_sees_the_params_that_are_read() -> None:
    assert {"problem", "data", "ingest"} <= stages.reach(ROOT, "ingest", PARAMS["problem"]).sections


def test_stages_write_nothing_twice() -> None:
    outs = [
        name
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for name in _names(stage.get(kind, []))
    ]
    assert sorted(outs) == sorted(set(outs))


def _names(outs: list[str | dict[str, object]]) -> list[str]:
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]
