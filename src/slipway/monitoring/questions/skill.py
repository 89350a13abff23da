"""Sum a model's skill by day: how well it tells apart the rows of one day, by task, and what its probabilities expect.

Rows are compared within a day, so that a day on which everything is late is not taken for a worse model. The sums are
additive, so that a resample of days is a matrix product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slipway.pipeline import metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Skill:
    """Sums and values of the skill of one task.

    `row_sums` takes target and prediction of one day, each [rows], and returns that day's sums, [columns].
    `realised` and `expected` take sums, [..., columns], and return the skill that the labels show, and the one that the
    predictions promise; without labels in the sums only `expected` has a meaning. `expected` is None for a task whose
    predictions promise nothing. `surprise` is the mean loss minus the mean loss that the predictions expect, None where
    nothing is expected. `words` names the skill, `guess` is its value for a model that knows nothing.
    """

    words: str
    guess: float
    row_sums: Callable[[Floats, Floats], Floats]
    realised: Callable[[Floats], Floats]
    expected: Callable[[Floats], Floats] | None
    surprise: Callable[[Floats], Floats] | None


LOSS, EXPECTED_LOSS, ROWS = 4, 5, 6
"""Columns of the sums of a binary task."""


def day_sums(skill: Skill, target: Floats, prediction: Floats, day: NDArray[np.int64]) -> Floats:
    """[days, columns]: the sums of each day that has rows, in the order of the days."""
    if not len(day):
        return np.empty((0, len(skill.row_sums(np.zeros(1), np.zeros(1)))))
    order = np.argsort(day, kind="stable")
    starts = np.flatnonzero(np.diff(day[order], prepend=day[order][:1] - 1))[1:]
    parts = zip(np.split(target[order], starts), np.split(prediction[order], starts), strict=True)
    return np.array([skill.row_sums(t, p) for t, p in parts])


def binary_sums(target: Floats, prediction: Floats) -> Floats:
    """Pairs in the right order, pairs, the same two as the probabilities expect them, loss, expected loss, rows.

    A pair is a positive and a negative row of the day. Rows without label have a NaN target.
    """
    order = np.argsort(prediction, kind="stable")
    y, p = target[order], np.clip(prediction[order], 1e-7, 1 - 1e-7)
    right, pairs = _pairs_in_order(y, 1 - y, p), y.sum() * (1 - y).sum()
    own = np.sum(p * (1 - p))  # a row makes no pair with itself
    expected, expected_pairs = _pairs_in_order(p, 1 - p, p) - own / 2, p.sum() * (1 - p).sum() - own
    loss = metrics.row_losses("binary", y, p).sum()
    expected_loss = -(p * np.log(p) + (1 - p) * np.log1p(-p)).sum()
    return np.array([right, pairs, expected, expected_pairs, loss, expected_loss, len(y)])


def _pairs_in_order(positive: Floats, negative: Floats, prediction: Floats) -> float:
    """The weight of the pairs whose positive has the higher of the sorted predictions; ties count half."""
    starts = np.flatnonzero(np.diff(prediction, prepend=-np.inf))
    above, below = np.add.reduceat(positive, starts), np.add.reduceat(negative, starts)
    return float(np.sum(above * (np.cumsum(below) - below / 2)))


def regression_sums(target: Floats, prediction: Floats) -> Floats:
    """The squared errors, the squared distances from the day's mean target, and the number of rows."""
    spread = np.square(target - target.mean()).sum()
    return np.array([np.square(target - prediction).sum(), spread, len(target)])


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):  # no pair in any of the days
        return np.asarray(numerator / denominator)


TASKS: Mapping[str, Skill] = {
    "binary": Skill(
        words="AUC among the rows of a day",
        guess=0.5,
        row_sums=binary_sums,
        realised=lambda sums: _ratio(sums[..., 0], sums[..., 1]),
        expected=lambda sums: _ratio(sums[..., 2], sums[..., 3]),
        surprise=lambda sums: _ratio(sums[..., LOSS] - sums[..., EXPECTED_LOSS], sums[..., ROWS]),
    ),
    "regression": Skill(
        words="share of the variance of a day that is explained",
        guess=0.0,
        row_sums=regression_sums,
        realised=lambda sums: 1 - _ratio(sums[..., 0], sums[..., 1]),
        expected=None,
        surprise=None,
    ),
}
"""The seam for other tasks: a new one needs an entry here and its loss in `pipeline.metrics`."""


def gap(skill: Skill, sums: Floats) -> Floats:
    """The realised skill minus the expected one, or the realised one where nothing is expected; of sums [..., columns]."""
    return skill.realised(sums) - skill.expected(sums) if skill.expected else skill.realised(sums)
