"""The training reference: how every input was distributed when the model learned, and how far other rows are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

PATH = Path("reports/plots/reference.json")
OTHER = "other"
"""All values of a category that are not among its most frequent ones."""

Record = Mapping[str, Any]


def describe(
    frame: pl.DataFrame, categories: Sequence[str], numbers: Sequence[str], *, bins: int, rows: int
) -> list[dict[str, Any]]:
    """Input by input the shares in `bins` groups of equally many rows, seen in about `rows` of them.

    A number's `edges` part its `shares`; a category's `values` are its `bins` × 3 most frequent ones and OTHER.
    `missing` is a share of all rows.
    """
    seen = _thinned(frame, rows)
    inputs = []
    for name in categories:
        counts = seen[name].drop_nulls().value_counts(sort=True, name="n").sort("n", name, descending=[True, False])
        values = counts[name].head(3 * bins).to_list()
        inputs.append(_entry(seen, {"input": name, "values": [*values, OTHER]}))
    for name in numbers:
        known = _known(seen[name])
        edges = np.unique(np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])) if len(known) else np.array([])
        inputs.append(_entry(seen, {"input": name, "edges": [float(f"{edge:.6g}") for edge in edges]}))
    return inputs


def window(frame: pl.DataFrame) -> dict[str, Any]:
    """Rows, first and last day of a frame."""
    return {"rows": len(frame), "first": str(frame["day"].min()), "last": str(frame["day"].max())}


def _thinned(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Every so-many-th row, about `rows` of them: the same ones every time."""
    return frame.gather_every(max(1, len(frame) // rows))


def _known(column: pl.Series) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pl.Float64).to_numpy()
    return values[np.isfinite(values)]


def _entry(frame: pl.DataFrame, of: Record) -> dict[str, Any]:
    """The shares of `frame` in the groups of an input, and its share of missing values."""
    column = frame[of["input"]]
    if "values" in of:
        known = column.drop_nulls()
        counts = dict(known.value_counts(name="n").iter_rows())
        found = [counts.get(value, 0) for value in of["values"][:-1]]
        found.append(len(known) - sum(found))
    else:
        known = _known(column)
        found = np.bincount(np.searchsorted(of["edges"], known, side="left"), minlength=len(of["edges"]) + 1).tolist()
    shares = [round(n / max(len(known), 1), 6) for n in found]
    return {**of, "shares": shares, "missing": round(1 - len(known) / max(len(frame), 1), 6)}


def population_stability_index(before: Sequence[float], after: Sequence[float], floor: float = 1e-4) -> float:
    """The population stability index of two lists of shares: 0 is equal, above .25 is usually called a shift."""
    b, a = np.maximum(before, floor), np.maximum(after, floor)  # an empty group would be infinitely far
    return float(np.sum((a - b) * np.log(a / b)))


def input_drift(before: Sequence[Record], frame: pl.DataFrame, *, rows: int) -> list[dict[str, Any]]:
    """How far the inputs of `frame` are from the reference `before`, the farthest first; those both have."""
    seen, found = _thinned(frame, rows), []
    for of in before:
        if of["input"] not in seen.columns:
            continue
        now = _entry(seen, of)
        found.append({"input": of["input"], "shift": round(population_stability_index(of["shares"], now["shares"]), 4),
                      "missing": [of["missing"], now["missing"]]})  # fmt: skip
    return sorted(found, key=lambda row: -float(row["shift"]))


def predictions(before: NDArray[np.float64], after: NDArray[np.float64], bins: int) -> dict[str, Any]:
    """Two models' predictions of the same rows: their means, and how far the second's spread is from the first's."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    old, new = (
        (np.bincount(np.searchsorted(edges, p), minlength=len(edges) + 1) / len(p)).tolist() for p in (before, after)
    )
    return {
        "mean": [float(before.mean()), float(after.mean())],
        "shift": round(population_stability_index(old, new), 4),
    }
