"""Interval of the change of every metric between two models on the same rows, from resampling whole days.

The metrics of `pipeline.metrics` that are functions of sums by day, and the AUC, are computed for all resamples at once
from those sums. Any other metric takes a pass over the rows for each of the first `few` resamples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway.pipeline import metrics
from slipway.pipeline.metrics import Floats

RANKING = ("auc", "average_precision")
"""Metrics that need rows of both classes."""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One model's predictions, with target and number of the day of each row, all [rows]; `days` is how many there are."""

    task: str
    target: Floats
    prediction: Floats
    day: NDArray[np.int64]
    days: int

    def sums(self, *columns: Floats) -> Floats:
        """[days, columns]: the sum of each column by day."""
        return np.stack([np.bincount(self.day, weights=column, minlength=self.days) for column in columns], axis=1)


def changes(
    rows: pl.DataFrame, *, task: str, resamples: int, few: int, confidence: float, seed: int
) -> dict[str, dict[str, float]]:
    """`difference`, `low` and `high` of every metric: challenger minus reference, on the same rows.

    `rows` has the columns `day`, `target`, `prediction` and `reference_prediction`. A metric without a value, or with
    no finite resample, is left out.
    """
    day = rows["day"].rank("dense").to_numpy().astype(np.int64) - 1
    target, days = rows["target"].to_numpy(), int(day.max()) + 1
    draws = metrics.draw_days(days, resamples, seed)
    both = [
        Scored(task=task, target=target, prediction=rows[name].to_numpy(), day=day, days=days)
        for name in ("prediction", "reference_prediction")
    ]
    tail, result = (1 - confidence) / 2, {}
    for name, metric in metrics.metrics_for(task).items():
        if name in RANKING and len(np.unique(target)) < 2:
            continue
        ours, reference = (metric(model.target, model.prediction, None) for model in both)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold rows of one class only
            ours_drawn, reference_drawn = (resample(name, metric, model, draws, few) for model in both)
            drawn = ours_drawn - reference_drawn
        if len(drawn := drawn[np.isfinite(drawn)]):
            low, high = np.quantile(drawn, [tail, 1 - tail])
            result[name] = {"difference": ours - reference, "low": float(low), "high": float(high)}
    return result


def resample(name: str, metric: metrics.Metric, model: Scored, draws: NDArray[np.int64], few: int) -> Floats:
    """A model's metric in each of the draws, or in the first `few` of them where each takes a pass over the rows."""
    if name in BY_DAY:
        return BY_DAY[name](model, draws)
    if name == "average_precision":
        return average_precisions(model, draws[:few])
    return np.array(
        [metric(model.target, model.prediction, draw[model.day].astype(np.float64)) for draw in draws[:few]]
    )


def mean_loss(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The mean of the rows' loss in each draw."""
    return _means(model, draws, metrics.row_losses(model.task, model.target, model.prediction))


def mean_square(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The mean squared difference of prediction and target in each draw."""
    return _means(model, draws, np.square(model.target - model.prediction))


def mean_error(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The mean absolute difference of prediction and target in each draw."""
    return _means(model, draws, np.abs(model.target - model.prediction))


def _means(model: Scored, draws: NDArray[np.int64], values: Floats) -> Floats:
    sums = draws @ model.sums(values, np.ones_like(values))
    return np.asarray(sums[:, 0] / sums[:, 1])


def r2(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The share of the target's variance that the predictions explain in each draw."""
    centred = model.target - model.target.mean()  # the same spread, with less cancellation
    errors = np.square(model.target - model.prediction)
    error, total, square, rows = (draws @ model.sums(errors, centred, np.square(centred), np.ones_like(errors))).T
    return np.asarray(1 - error / (square - np.square(total) / rows))


def auc(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The AUC in each draw, from the pairs in the right order by the day of the positive and that of the negative."""
    order = np.argsort(model.prediction, kind="stable")
    prediction, day, positive = model.prediction[order], model.day[order], model.target[order] > 0
    above, by_day = prediction[positive], day[positive]
    right = np.empty((model.days, model.days))
    for number in range(model.days):
        below = prediction[~positive & (day == number)]
        ranks = np.searchsorted(below, above, "left") + np.searchsorted(below, above, "right")
        right[:, number] = np.bincount(by_day, weights=ranks / 2, minlength=model.days)
    positives, negatives = (draws @ np.bincount(part, minlength=model.days) for part in (by_day, day[~positive]))
    return np.asarray(np.sum((draws @ right) * draws, axis=1) / (positives * negatives))


def average_precisions(model: Scored, draws: NDArray[np.int64]) -> Floats:
    """The average precision in each draw; the rows are sorted once."""
    order = np.argsort(-model.prediction, kind="stable")
    starts = np.flatnonzero(np.diff(model.prediction[order], prepend=np.inf))
    target, day = model.target[order], model.day[order]
    values = []
    for draw in draws.astype(np.float64):
        weights = draw[day]
        positive = np.add.reduceat(weights * target, starts)
        rows_above = np.cumsum(np.add.reduceat(weights, starts))
        positives_above = np.cumsum(positive)
        precision = positives_above / np.maximum(rows_above, 1e-300)
        values.append(np.sum(positive * precision) / positives_above[-1])
    return np.array(values)


BY_DAY: Mapping[str, Callable[[Scored, NDArray[np.int64]], Floats]] = {
    "log_loss": mean_loss,
    "squared_error": mean_loss,
    "brier": mean_square,
    "mae": mean_error,
    "rmse": lambda model, draws: np.sqrt(mean_loss(model, draws)),
    "r2": r2,
    "auc": auc,
}
"""The metrics of `metrics.metrics_for` that need no pass over the rows for each draw."""
