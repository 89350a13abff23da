from __future__ import annotations

import numpy as np
import pytest

from slipway.pipeline import metrics


@pytest.fixture(params=[1, 2, 3])
def rows(request):
    """Target, prediction with ties, and weights with zeros, as a bootstrap draws them."""
    rng = np.random.default_rng(request.param)
    prediction = rng.integers(1, 40, 500) / 40
    target = (rng.uniform(size=500) < prediction).astype(float)
    return target, prediction, rng.integers(0, 4, 500).astype(float)


@pytest.mark.parametrize("weighted", [True, False])
def test_binary_metrics_are_scikit_learns(rows, weighted):
    from sklearn import metrics as reference

    target, prediction, drawn = rows
    w = drawn if weighted else None
    found = {name: metric(target, prediction, w) for name, metric in metrics.metrics_for("binary").items()}
    assert found == pytest.approx({
        "log_loss": reference.log_loss(target, prediction, sample_weight=w),
        "auc": reference.roc_auc_score(target, prediction, sample_weight=w),
        "average_precision": reference.average_precision_score(target, prediction, sample_weight=w),
        "brier": reference.brier_score_loss(target, prediction, sample_weight=w),
    }, abs=1e-12)  # fmt: skip


@pytest.mark.parametrize("weighted", [True, False])
def test_regression_metrics_are_scikit_learns(rows, weighted):
    from sklearn import metrics as reference

    target, prediction, drawn = rows
    w = drawn if weighted else None
    found = {name: metric(target, prediction, w) for name, metric in metrics.metrics_for("regression").items()}
    assert found == pytest.approx({
        "squared_error": reference.mean_squared_error(target, prediction, sample_weight=w),
        "mae": reference.mean_absolute_error(target, prediction, sample_weight=w),
        "rmse": reference.root_mean_squared_error(target, prediction, sample_weight=w),
        "r2": reference.r2_score(target, prediction, sample_weight=w),
    }, abs=1e-12)  # fmt: skip


def test_roc_encloses_the_auc(rows):
    target, prediction, _ = rows
    fpr, tpr = metrics.roc_curve(target, prediction)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(metrics.auc(target, prediction))


def test_precision_falls_to_the_base_rate(rows):
    target, prediction, _ = rows
    recall, precision = metrics.precision_recall_curve(target, prediction)
    assert np.all(np.diff(recall) >= 0)
    assert precision[-1] == pytest.approx(target.mean())


def test_perfect_and_reversed_ranking():
    target = np.array([0.0, 0, 1, 1])
    assert metrics.auc(target, np.array([0.1, 0.2, 0.8, 0.9])) == 1
    assert metrics.auc(target, np.array([0.9, 0.8, 0.2, 0.1])) == 0


def test_log_loss_is_finite_for_certain_errors():
    assert metrics.row_losses("binary", np.array([1.0]), np.array([0.0]))[0] == pytest.approx(16.118, abs=1e-3)


def test_squared_error_is_the_loss_of_a_regression():
    assert metrics.row_losses("regression", np.array([3.0]), np.array([1.0])).tolist() == [4.0]
