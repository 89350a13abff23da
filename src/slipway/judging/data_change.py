"""Compare a change's training data and inputs with those of its base commit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from slipway.core import files, git
from slipway.core.process import UndecodableOutput
from slipway.pipeline import drift, evaluate


def compare_data(base: str, train: pl.DataFrame, test: pl.DataFrame, *, rows: int, root: Path) -> dict[str, Any]:
    """The training window of the base and of this commit, and the shift of every input since the base and to the test.

    `train` in the result is a pair of windows; the base's is None when it has no reference. `rows` is the size of the
    sample that shifts are computed on.
    """
    reference, at_base = files.read_json(root / drift.PATH), reference_at(base, root)
    test_shifts = {row["input"]: row["shift"] for row in drift.input_drift(reference, test, rows=rows)}
    train_shifts = {row["input"]: row for row in drift.input_drift(at_base, train, rows=rows)}
    inputs = [{"input": name, "test": shift, "train": None, "missing": None} for name, shift in test_shifts.items()]
    for row in inputs:
        if since_base := train_shifts.get(row["input"]):
            row |= {"train": since_base["shift"], "missing": since_base["missing"]}
    gone = [entry["input"] for entry in at_base if entry["input"] not in test_shifts]
    return {
        "train": [_train_at(base, root), drift.describe_window(train)],
        "inputs": inputs,
        "gone": gone,
    }


def reference_at(base: str, root: Path) -> list[dict[str, Any]]:
    """The training reference at the commit `base`; empty when it has none, or one that this code cannot read."""
    try:
        entries = list(_json_at(base, drift.PATH, root))
        readable = all(
            {"input", "shares", "missing"} <= set(entry) and {"values", "edges"} & set(entry) for entry in entries
        )
    except TypeError:
        return []
    return entries if readable else []


def _train_at(base: str, root: Path) -> Any:
    """The training window in the base's metrics; None when they have none."""
    measured = _json_at(base, evaluate.METRICS, root)
    return measured.get("train") if isinstance(measured, dict) else None


def _json_at(base: str, path: Path, root: Path) -> Any:
    """The JSON of a file at a commit; an empty mapping when it is absent or not JSON."""
    try:
        return json.loads(git.file_at(base, path.as_posix(), root=root) or "{}")
    except (ValueError, RecursionError, UndecodableOutput):
        return {}
