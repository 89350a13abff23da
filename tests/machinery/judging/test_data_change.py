"""Limits of the base hold, and what changed is said: parameters by key, data by input."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from slipway.core import base_limits, config, files, git
from slipway.errors import ConfigError
from slipway.judging import data_change
from slipway.pipeline import drift, features, ingest, train
from support.committed_project import begin

OWN = config.Prove(golden=9, metrics=9, plots=9)


def commit(folder: Path) -> str:
    git.run("add", "-A", "-f", root=folder)
    git.run("commit", "-q", "-m", "Change", root=folder)
    return git.commit(root=folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    begin(tmp_path)
    return tmp_path


@pytest.fixture
def measured(project_copy: Path, run) -> Path:
    """A finished project, its reference and metrics committed."""
    run(project_copy, "evaluate")
    begin(project_copy)
    commit(project_copy)
    return project_copy


def test_no_change_is_judged_by_its_own_limits(folder):
    (folder / "params.yaml").write_text("prove: {golden: 1, metrics: 2, plots: 3}\n")
    base = commit(folder)
    (folder / "params.yaml").write_text("prove: {golden: 9, metrics: 9, plots: 9}\n")
    assert base_limits.limits_at_base(base, "prove", OWN, root=folder) == config.Prove(golden=1, metrics=2, plots=3)


def test_own_limits_hold_where_the_base_has_none(folder):
    (folder / "params.yaml").write_text("seed: 1\n")
    assert base_limits.limits_at_base(commit(folder), "prove", OWN, root=folder) == OWN
    (folder / "params.yaml").unlink()
    assert base_limits.limits_at_base(commit(folder), "prove", OWN, root=folder) == OWN


@pytest.mark.parametrize(
    ("text", "said"), [("prove: {golden: 0}", "cannot read section prove"), ("a: [", "is not YAML")]
)
def test_limits_of_the_base_that_cannot_be_read_are_no_limits(folder, text, said):
    (folder / "params.yaml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        base_limits.limits_at_base(commit(folder), "prove", OWN, root=folder)


def test_changed_parameters_are_named_by_dotted_key(folder):
    (folder / "params.yaml").write_text("judge: {margin: 0.01}\nprove: {plots: 1}\nseed: 1\n")
    base = commit(folder)
    (folder / "params.yaml").write_text("judge: {margin: 0.5}\nprove: {plots: 1}\nseed: 1\nnew: 2\n")
    assert base_limits.changed_params(base, root=folder) == (["judge.margin: 0.01 → 0.5"], ["new: None → 2"])


def data(folder: Path, frame: pl.DataFrame, test: pl.DataFrame) -> dict:
    return data_change.compare_data("HEAD", frame, test, rows=1000, root=folder)


def test_input_that_moved_since_the_base_is_found(measured, params):
    frame = ingest.read(measured / features.FRAME)
    seen, test = (train.window(frame, params.data, which) for which in ("train", "test"))
    still = {row["input"]: row for row in data(measured, seen, test)["inputs"]}
    assert max(row["train"] for row in still.values()) < 0.01
    name = next(of["input"] for of in files.read_json(measured / drift.PATH) if "edges" in of)
    hot = seen.with_columns((pl.col(name) + 1000).alias(name))
    moved = {row["input"]: row for row in data(measured, hot, test)["inputs"]}
    assert moved[name]["train"] > 1
    assert {n for n, row in moved.items() if row["train"] != still[n]["train"]} == {name}


def test_windows_of_both_are_told(measured, params):
    frame = ingest.read(measured / features.FRAME)
    seen, test = (train.window(frame, params.data, which) for which in ("train", "test"))
    before, now = data(measured, seen[5:], test)["train"]
    assert (before["rows"], now["rows"]) == (len(seen), len(seen) - 5)
    assert before["first"] == str(seen["day"].min())


@pytest.mark.parametrize("text", [None, "{", "3", "[3]", '[{"input": "a"}]'])
def test_base_without_a_reference_leaves_shift_unknown(measured, text):
    whole = (measured / drift.PATH).read_text("utf-8")
    if text is None:
        (measured / drift.PATH).unlink()
    else:
        (measured / drift.PATH).write_text(text)
    base = commit(measured)
    (measured / drift.PATH).write_text(whole, "utf-8")
    assert data_change.reference_at(base, measured) == []
    frame = ingest.read(measured / features.FRAME)
    found = data_change.compare_data(base, frame, frame, rows=1000, root=measured)
    assert {row["train"] for row in found["inputs"]} == {None}
    assert all(row["test"] is not None for row in found["inputs"])
