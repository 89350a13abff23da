"""Describe the distribution of every input in the training data, and measure the distance of other rows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

PATH = Path("reports/plots/reference.json")
OTHER = "other"
"""Stands for all values of a category that are not among its most frequent ones."""

Record = Mapping[str, Any]


def describe_inputs(
    frame: pl.DataFrame, categories: Sequence[str], numbers: Sequence[str], *, bins: int, rows: int
) -> list[dict[str, Any]]:
    """One record for each input: its shares in `bins` groups of equally many rows, from a sample of about `rows` rows.

    A number has `edges` between its `shares`. A category has `values`: its `bins` × 3 most frequent ones and OTHER.
    `missing` is a share of all rows.
    """
    sample = _sample(frame, rows)
    inputs = []
    for name in categories:
        counts = sample[name].drop_nulls().value_counts(sort=True, name="n").sort("n", name, descending=[True, False])
        values = counts[name].head(3 * bins).to_list()
        inputs.append(_measure_input(sample, {"input": name, "values": [*values, OTHER]}))
    for name in numbers:
        numeric = _finite_values(sample[name])
        edges = np.unique(np.quantile(numeric, np.linspace(0, 1, bins + 1)[1:-1])) if len(numeric) else np.array([])
        inputs.append(_measure_input(sample, {"input": name, "edges": [float(f"{edge:.6g}") for edge in edges]}))
    return inputs


def describe_window(frame: pl.DataFrame) -> dict[str, Any]:
    """The number of rows, and the first and last day of a frame."""
    return {"rows": len(frame), "first": str(frame["day"].min()), "last": str(frame["day"].max())}


def _sample(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """About `rows` rows, evenly spaced, so that the sample is always the same."""
    return frame.gather_every(max(1, len(frame) // rows))


def _finite_values(column: pl.Series) -> NDArray[np.float64]:
    values: NDArray[np.float64] = column.cast(pl.Float64).to_numpy()
    return values[np.isfinite(values)]


def _measure_input(frame: pl.DataFrame, groups: Record) -> dict[str, Any]:
    """The record of an input with the shares of `frame` in its groups, and its share of missing values."""
    column = frame[groups["input"]]
    if "values" in groups:
        values = column.drop_nulls()
        counts = dict(values.value_counts(name="n").iter_rows())
        group_counts = [counts.get(value, 0) for value in groups["values"][:-1]]
        group_counts.append(len(values) - sum(group_counts))
    else:
        values = _finite_values(column)
        group_counts = np.bincount(
            np.searchsorted(groups["edges"], values, side="left"), minlength=len(groups["edges"]) + 1
        ).tolist()
    shares = [round(n / max(len(values), 1), 6) for n in group_counts]
    return {**groups, "shares": shares, "missing": round(1 - len(values) / max(len(frame), 1), 6)}


def population_stability_index(before: Sequence[float], after: Sequence[float], floor: float = 1e-4) -> float:
    """The population stability index of two lists of shares: 0 means equal, above 0.25 is usually called a shift."""
    b, a = np.maximum(before, floor), np.maximum(after, floor)  # an empty group would make the index infinite
    return float(np.sum((a - b) * np.log(a / b)))


def input_drift(before: Sequence[Record], frame: pl.DataFrame, *, rows: int) -> list[dict[str, Any]]:
    """The distance of each input of `frame` from the reference `before`, largest first; inputs that both have as one kind."""
    sample, drifts = _sample(frame, rows), []
    for groups in before:
        if groups["input"] not in sample.columns or not _is_comparable(groups, sample[groups["input"]]):
            continue
        current = _measure_input(sample, groups)
        shift = population_stability_index(groups["shares"], current["shares"])
        drifts.append({"input": groups["input"], "shift": round(shift, 4),
                      "missing": [groups["missing"], current["missing"]]})  # fmt: skip
    return sorted(drifts, key=lambda row: -float(row["shift"]))


def _is_comparable(groups: Record, column: pl.Series) -> bool:
    """False for a number that was a category in the reference, or the other way round."""
    return (
        column.dtype.is_numeric() or column.dtype == pl.Boolean if "edges" in groups else not column.dtype.is_numeric()
    )


def compare_predictions(before: NDArray[np.float64], after: NDArray[np.float64], bins: int) -> dict[str, Any]:
    """Compare two models' predictions of the same rows: their means, and the distance between their distributions."""
    edges = np.unique(np.quantile(before, np.linspace(0, 1, bins + 1)[1:-1]))
    old, new = (
        (np.bincount(np.searchsorted(edges, p), minlength=len(edges) + 1) / len(p)).tolist() for p in (before, after)
    )
    return {
        "mean": [float(before.mean()), float(after.mean())],
        "shift": round(population_stability_index(old, new), 4),
    }
