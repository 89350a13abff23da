"""What a change changes against its base commit: limits, which do not count yet; parameters; data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl

from slipway.core import files, git
from slipway.pipeline import drift, evaluate


def data(base: str, train: pl.DataFrame, test: pl.DataFrame, *, rows: int, root: Path) -> dict[str, Any]:
    """The training window against the base's, and how far every input moved: in training, and from there to the test.

    `train` holds the base's window (None when it left no reference) and this one's.
    """
    own, old = files.read_json(root / drift.PATH), known(base, root)
    asked = {row["input"]: row["shift"] for row in drift.input_drift(own, test, rows=rows)}
    learned = {row["input"]: row for row in drift.input_drift(old, train, rows=rows)}
    inputs = [{"input": name, "test": shift, "train": None, "missing": None} for name, shift in asked.items()]
    for row in inputs:
        if now := learned.get(row["input"]):
            row |= {"train": now["shift"], "missing": now["missing"]}
    gone = [of["input"] for of in old if of["input"] not in asked]
    return {
        "train": [_at(base, evaluate.METRICS, root).get("train"), drift.window(train)],
        "inputs": inputs,
        "gone": gone,
    }


def known(base: str, root: Path) -> list[dict[str, Any]]:
    """The training reference that the commit `base` holds; empty when it holds none, or one of another form."""
    try:
        found = list(_at(base, drift.PATH, root))
        whole = all({"input", "shares", "missing"} <= set(of) and {"values", "edges"} & set(of) for of in found)
    except TypeError:
        return []
    return found if whole else []


def _at(base: str, path: Path, root: Path) -> Any:
    """The JSON of a file at a commit; empty when there is none that can be read."""
    try:
        return json.loads(git.file_at(base, path.as_posix(), root=root) or "{}")
    except ValueError:
        return {}
