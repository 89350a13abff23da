"""What changed in the data since the base, by input."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from slipway.core import files, git
from slipway.judging import data_change
from slipway.pipeline import drift, features, ingest, train
from support.committed_project import begin


def commit(folder: Path) -> str:
    git.run("add", "-A", "-f", root=folder)
    git.run("commit", "-q", "-m", "Change", root=folder)
    return git.commit_hash(root=folder)


@pytest.fixture
def measured(project_copy: Path, run) -> Path:
    """A finished project, its reference and metrics committed."""
    run(project_copy, "evaluate")
    begin(project_copy)
    commit(project_copy)
    return project_copy


def data(folder: Path, frame: pl.DataFrame, test: pl.DataFrame) -> dict:
    return data_change.compare_data("HEAD", frame, test, rows=1000, root=folder)


def test_input_that_moved_since_the_base_is_found(measured, params):
    frame = ingest.read_parquet(measured / features.FRAME)
    seen, test = (train.rows_of_window(frame, params.data, which) for which in ("train", "test"))
    still = {row["input"]: row for row in data(measured, seen, test)["inputs"]}
    assert max(row["train"] for row in still.values()) < 0.01
    name = next(of["input"] for of in files.read_json(measured / drift.PATH) if "edges" in of)
    hot = seen.with_columns((pl.col(name) + 1000).alias(name))
    moved = {row["input"]: row for row in data(measured, hot, test)["inputs"]}
    assert moved[name]["train"] > 1
    assert {n for n, row in moved.items() if row["train"] != still[n]["train"]} == {name}


def test_windows_of_both_are_told(measured, params):
    frame = ingest.read_parquet(measured / features.FRAME)
    seen, test = (train.rows_of_window(frame, params.data, which) for which in ("train", "test"))
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
    frame = ingest.read_parquet(measured / features.FRAME)
    found = data_change.compare_data(base, frame, frame, rows=1000, root=measured)
    assert {row["train"] for row in found["inputs"]} == {None}
    assert all(row["test"] is not None for row in found["inputs"])
