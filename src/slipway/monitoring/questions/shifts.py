"""Measure how far a column of a window is from the windows before it, and whether days alone explain the distance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway.core import config
from slipway.pipeline import drift

LEVELS = np.linspace(0.025, 0.975, 20)
"""The quantiles that are compared; the outermost values of a window are left to chance."""
POOLED = 4
"""The number of windows before a window that it is compared with, taken together."""
PERMUTATIONS = 999
GROUPS = 20
"""The number of groups of equally many rows in which whole days are permuted."""
LEAST_VALUES = 50
"""Fewer values than this have no distance."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Movement of one column: its distance from the windows before, the largest allowed one, and the chance of it.

    The distance is in standard deviations for a number, and the share of rows in another value for a category.
    `chance` is the p-value of a permutation of whole days. It is 1 for a distance that is allowed.
    """

    distance: float
    allowed: float
    chance: float


def thin(frame: pl.DataFrame, rows: int) -> pl.DataFrame:
    """About `rows` rows of a frame, evenly spaced."""
    return frame.gather_every(max(1, len(frame) // rows))


def measure(
    column: str,
    after: pl.DataFrame,
    before: Sequence[pl.DataFrame],
    jump: config.Jump,
    limits: config.MonitorInputs,
    *,
    seed: int,
) -> Shift | None:
    """The movement of `column` in the frame `after`, against the frames `before`, newest first; None with too few values.

    Each frame has `column` and `at`. The first POOLED frames are compared with, taken together. The usual distance is the
    largest that a frame of `before` has from the POOLED ones before it; it is known from `usual_windows` of them on.
    """
    pooled = pl.concat([frame.select("at", column) for frame in before[:POOLED]])
    length = distance(pooled[column], after[column])
    if length is None:
        return None
    if length <= jump.floor:
        return Shift(distance=length, allowed=jump.floor, chance=1.0)
    moves = _moves(column, before)
    known = len(moves) >= limits.usual_windows
    allowed = max(jump.floor, limits.jump_factor * max(moves)) if known else jump.early
    chance = chance_of_days(column, after, pooled, seed=seed) if length > allowed else 1.0
    return Shift(distance=length, allowed=allowed, chance=chance)


def _moves(column: str, windows: Sequence[pl.DataFrame]) -> list[float]:
    """The distance of each window from those before it, newest first."""
    pools = [[each[column] for each in windows[number + 1 : number + 1 + POOLED]] for number in range(len(windows) - 1)]
    moves = [distance(pl.concat(pool), frame[column]) for frame, pool in zip(windows, pools, strict=False)]
    return [move for move in moves if move is not None]


def distance(before: pl.Series, after: pl.Series) -> float | None:
    """The mean distance of LEVELS in standard deviations of `before`, or the share of rows in another value of a category."""
    before, after = finite(before), finite(after)
    if min(len(before), len(after)) < LEAST_VALUES:
        return None
    if before.dtype.is_numeric():
        old, new = before.to_numpy(), after.to_numpy()
        spread = float(old.std()) or abs(float(old[0])) or 1.0
        return float(np.abs(np.quantile(new, LEVELS) - np.quantile(old, LEVELS)).mean() / spread)
    old_shares, new_shares = value_shares(before), value_shares(after)
    return sum(abs(old_shares.get(v, 0) - new_shares.get(v, 0)) for v in old_shares | new_shares) / 2


def value_shares(values: pl.Series) -> dict[str, float]:
    """The share of each value among those that are not null."""
    return dict(values.drop_nulls().value_counts(normalize=True, name="share").iter_rows())


def finite(values: pl.Series) -> pl.Series:
    """The values without null and, for numbers, as floats without NaN and infinity."""
    if not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return values.drop_nulls()
    numbers = values.drop_nulls().cast(pl.Float64)
    return numbers.filter(numbers.is_finite())


def chance_of_days(column: str, after: pl.DataFrame, before: pl.DataFrame, *, seed: int) -> float:
    """The share of permutations of whole days that move as many rows to other groups as was measured, at least 1/1000."""
    counts, later = _day_counts(column, after, before)
    rng = np.random.default_rng(seed)
    draws = np.argsort(rng.random((PERMUTATIONS, len(later))), axis=1) < later.sum()
    chosen = np.vstack([later, draws]).astype(np.float64)
    new, old = chosen @ counts, (1 - chosen) @ counts
    with np.errstate(invalid="ignore", divide="ignore"):  # a permutation may leave one side without a row
        moved = np.abs(new / new.sum(axis=1, keepdims=True) - old / old.sum(axis=1, keepdims=True)).sum(axis=1)
    return float(np.mean(np.nan_to_num(moved) >= moved[0] - 1e-12))


def _day_counts(
    column: str, after: pl.DataFrame, before: pl.DataFrame
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """[days, groups] rows by day and group of a value, and which of the days are those of `after`."""
    both = pl.concat([before.select("at", column), after.select("at", column)])
    later = np.arange(len(both)) >= len(before)
    if both[column].dtype.is_numeric():
        values = both[column].cast(pl.Float64).to_numpy()
        edges = np.unique(np.quantile(finite(before[column]).to_numpy(), np.linspace(0, 1, GROUPS + 1)[1:-1]))
        known, group = np.isfinite(values), np.searchsorted(edges, values, side="left")
    else:
        known = both[column].is_not_null().to_numpy()
        group = both[column].rank("dense").fill_null(1).to_numpy().astype(np.int64) - 1
    day = both["at"].dt.date().to_physical().to_numpy()
    days, number = np.unique(np.stack([day, later])[:, known], axis=1, return_inverse=True)
    counts = np.zeros((days.shape[1], int(group[known].max()) + 1))
    np.add.at(counts, (number.ravel(), group[known]), 1)
    return counts, days[1].astype(bool)


def holm(chances: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values: with these, the chance of one false alarm among all names stays at the level."""
    adjusted, largest = {}, 0.0
    for number, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        largest = max(largest, min(1.0, chances[name] * (len(chances) - number)))
        adjusted[name] = largest
    return adjusted


def from_reference(groups: drift.Record, frame: pl.DataFrame) -> float | None:
    """The population stability index of an input to its record in the training reference; None if it cannot be compared."""
    moved = drift.input_drift([groups], frame, rows=len(frame) or 1)
    return float(moved[0]["shift"]) if moved else None
