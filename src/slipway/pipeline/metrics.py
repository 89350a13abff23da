"""Compute the weighted metrics of both tasks with NumPy alone.

scikit-learn is the reference in the tests. It is not used here, because importing it takes longer than all metrics
of a pull request together, and each stage is a separate process.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats, "Floats | None"], float]
"""A function of target, prediction and row weights (None: all 1), each [rows]."""


def row_losses(task: str, target: Floats, prediction: Floats) -> Floats:
    """The loss of each row, [rows]: log loss in nats (probabilities clipped at 1e-7), or the squared error."""
    if task == "regression":
        return np.square(target - prediction)
    p = np.clip(prediction, 1e-7, 1 - 1e-7)
    return np.asarray(-(target * np.log(p) + (1 - target) * np.log1p(-p)))


def draw_days(days: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """[resamples, days]: the number of times each day is drawn, when all days are drawn with replacement."""
    return np.random.default_rng(seed).multinomial(days, np.full(days, 1 / days), size=resamples)


def weights_by_threshold(target: Floats, prediction: Floats, weights: Floats | None) -> tuple[Floats, Floats]:
    """The weight of positives and of negatives at each distinct prediction, highest prediction first."""
    w = np.ones_like(target) if weights is None else weights
    order = np.argsort(-prediction, kind="stable")
    starts = np.flatnonzero(np.diff(prediction[order], prepend=np.inf))
    positive = np.add.reduceat((w * target)[order], starts)
    return positive, np.add.reduceat(w[order], starts) - positive


def auc(target: Floats, prediction: Floats, weights: Floats | None = None) -> float:
    """The probability that a positive row is ranked above a negative one; ties count half."""
    positive, negative = weights_by_threshold(target, prediction, weights)
    above = np.cumsum(positive) - positive / 2
    return float(np.sum(negative * above) / (positive.sum() * negative.sum()))


def average_precision(target: Floats, prediction: Floats, weights: Floats | None = None) -> float:
    """The mean precision over the steps of recall."""
    positive, negative = weights_by_threshold(target, prediction, weights)
    positives_above = np.cumsum(positive)
    # Until a row has weight, no positive is counted either, and the term is 0.
    precision = positives_above / np.maximum(positives_above + np.cumsum(negative), 1e-300)
    return float(np.sum(positive * precision) / positives_above[-1])


def roc_curve(target: Floats, prediction: Floats) -> tuple[Floats, Floats]:
    """The false and true positive rates at every threshold, from (0, 0) to (1, 1)."""
    positive, negative = weights_by_threshold(target, prediction, None)
    return _cumulative_share(negative), _cumulative_share(positive)


def precision_recall_curve(target: Floats, prediction: Floats) -> tuple[Floats, Floats]:
    """The recall, rising from 0, and the precision at each recall."""
    positive, negative = weights_by_threshold(target, prediction, None)
    positives_above = np.cumsum(positive)
    precision = positives_above / (positives_above + np.cumsum(negative))
    return _cumulative_share(positive), np.concatenate([precision[:1], precision])


def _cumulative_share(steps: Floats) -> Floats:
    return np.concatenate([[0.0], np.cumsum(steps) / steps.sum()])


def r2(target: Floats, prediction: Floats, weights: Floats | None = None) -> float:
    """The share of the target's variance that the prediction explains."""
    spread = np.average(np.square(target - np.average(target, weights=weights)), weights=weights)
    return float(1 - np.average(np.square(target - prediction), weights=weights) / spread)


def metrics_for(task: str) -> dict[str, Metric]:
    """The metrics of a task by name; the first one is the mean of the loss that `judge` compares."""

    def mean_loss(t: Floats, p: Floats, w: Floats | None) -> float:
        return float(np.average(row_losses(task, t, p), weights=w))

    def mean_error(t: Floats, p: Floats, w: Floats | None) -> float:
        return float(np.average(np.abs(t - p), weights=w))

    def brier(t: Floats, p: Floats, w: Floats | None) -> float:
        return float(np.average(np.square(t - p), weights=w))

    if task == "regression":
        root = {"rmse": lambda t, p, w: float(np.sqrt(mean_loss(t, p, w)))}
        return {"squared_error": mean_loss, "mae": mean_error, **root, "r2": r2}
    return {"log_loss": mean_loss, "auc": auc, "average_precision": average_precision, "brier": brier}
