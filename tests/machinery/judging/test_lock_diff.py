from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from slipway.core import config
from slipway.judging import lock_diff

LIMITS = config.Prove(golden=1e-5, metrics=1e-2, plots=1e-1)
METRICS, PLOT = "reports/metrics.json", "reports/plots/slices.json"


def made(**changes: str) -> lock_diff.PipelineState:
    """A claim of one data stage and one model stage; a change replaces the md5 of an output."""
    md5 = {"table": "a" * 32, "model": "b" * 32} | changes
    outs = {name: [{"path": name, "hash": "md5", "md5": md5[name], "size": 7}] for name in ("table", "model")}
    stages = {
        "ingest": {"cmd": "i", "outs": outs["table"]},
        "train": {"cmd": "t", "deps": outs["table"], "outs": outs["model"]},
    }
    return lock_diff.PipelineState(stages=stages, in_git={METRICS: {"auc": 0.7}, PLOT: [{"slice": "a", "rows": 100}]})


def red(found: list) -> list[str]:
    return [check.text for check in found if not check.ok]


@pytest.mark.parametrize(
    ("claimed", "given", "said"),
    [
        ({"auc": 0.7}, {"auc": 0.704}, []),
        ({"auc": 0.9}, {"auc": 0.7}, ["auc is 0.9, not 0.7"]),
        ({"rows": 1004}, {"rows": 1000}, []),
        ({"auc": float("nan")}, {"auc": 0.7}, ["auc is nan, not 0.7"]),
        ({"auc": None}, {"auc": 0.7}, ["auc is None, not 0.7"]),
        ({"ok": True}, {"ok": 1.001}, ["ok is True, not 1.001"]),
        ({"auc": 0.7, "more": []}, {"auc": 0.7}, ["more is [], not absent"]),
        ([{"input": "hour", "x": 1.0}], [{"input": "hour", "x": 2.0}], ["hour x is 1.0, not 2.0"]),
        ([1.0, 2.0], [1.0], ["1 is 2.0, not absent"]),
    ],
)
def test_values_may_differ_by_the_tolerance(claimed, given, said):
    assert lock_diff.differences(claimed, given, 1e-2) == said


def test_records_with_one_name_stay_two():
    twice = [{"input": "hour", "x": 1.0}, {"input": "hour", "x": 9.0}]
    assert len(lock_diff.flatten(twice)) == 4


def test_equal_claims_have_no_red_check():
    found = lock_diff.compare(made(), made(), LIMITS, name="the pipeline")
    assert [check.name for check in found if check.ok] == [check.name for check in found]
    assert len(found) == 4


def test_data_stage_may_not_differ_by_a_byte():
    found = red(lock_diff.compare(made(), made(table="c" * 32), LIMITS, name="the pipeline"))
    assert (
        found[0] == f"Stage ingest in dvc.lock differs from the pipeline: outs table md5 is {'a' * 32}, not {'c' * 32}"
    )
    assert "Stage train" in found[1]


def test_model_stage_may_have_other_bytes():
    other = made(model="c" * 32)
    assert red(lock_diff.compare(made(), other, LIMITS, name="the pipeline")) == []
    assert lock_diff.changed_model_outputs(made(), other) == {"model": "b" * 32}


def test_edited_output_is_compared_without_tolerance():
    other = lock_diff.PipelineState(stages=made().stages, in_git={METRICS: {"auc": 0.701}, PLOT: made().in_git[PLOT]})
    assert red(lock_diff.compare(made(), other, LIMITS, name="the pipeline")) == []
    found = red(lock_diff.compare(made(), other, LIMITS, name="the pipeline", edited=[METRICS]))
    assert found == ["reports/metrics.json differs from the pipeline: auc is 0.7, not 0.701"]


@pytest.mark.parametrize("lost", [METRICS, PLOT])
def test_output_that_only_one_side_has_is_red(lost):
    kept = {name: value for name, value in made().in_git.items() if name != lost}
    less = lock_diff.PipelineState(stages=made().stages, in_git=kept)
    assert lost in red(lock_diff.compare(made(), less, LIMITS, name="the pipeline"))[0]
    assert lost in red(lock_diff.compare(less, made(), LIMITS, name="the pipeline"))[0]


def test_stage_that_is_gone_is_red():
    less = lock_diff.PipelineState(stages={"train": made().stages["train"]}, in_git=made().in_git)
    assert "Stage ingest" in red(lock_diff.compare(made(), less, LIMITS, name="the pipeline"))[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: [",
        "stages: 3",
        "stages: {a: 1}",
        "stages: {a: {outs: [x]}}",
        "stages: {a: {outs: [{path: 1}]}}",
        "<<<<<<< HEAD",
        "a",
    ],
)
def test_what_is_no_lock_has_no_stages(tmp_path: Path, text: str):
    (tmp_path / "dvc.lock").write_text(text)
    assert lock_diff.read(tmp_path) == lock_diff.PipelineState(stages={}, in_git={})


def test_outputs_in_git_are_read_by_name(tmp_path: Path):
    (tmp_path / "reports/plots/a b é").mkdir(parents=True)
    (tmp_path / METRICS).write_text(json.dumps({"auc": 0.7}))
    (tmp_path / "reports/plots/a b é/x.json").write_text("no JSON")
    kept = lock_diff.read(tmp_path).in_git
    assert kept[METRICS] == {"auc": 0.7}
    assert len(kept["reports/plots/a b é/x.json"]) == 64


def test_tables_are_compared_by_value(tmp_path: Path):
    pl.DataFrame({"loss": [1.0, 2.0]}).write_parquet(tmp_path / "here")
    pl.DataFrame({"loss": [1.0, 2.5]}).write_parquet(tmp_path / "there")
    here, there = (lock_diff.read_values(tmp_path / name, ".parquet") for name in ("here", "there"))
    assert lock_diff.differences(here, there, 0.1) == ["loss 1 is 2.0, not 2.5"]
    (tmp_path / "here").write_text("no table")
    assert len(lock_diff.read_values(tmp_path / "here", ".parquet")) == 64
