"""The change of every metric, with its interval from whole days."""

from __future__ import annotations

import time
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from slipway.judging import judge, paired_metrics
from slipway.pipeline import metrics


def pairs(*, task: str = "binary", rows: int = 2000, days: int = 20, noise: float = 1.2) -> pl.DataFrame:
    """Two models' predictions; the reference's are noisier. They have ties, as those of trees do."""
    rng = np.random.default_rng(1)
    truth = rng.normal(0, 1, rows)
    own, other = np.round(truth + rng.normal(0, 0.3, rows), 1), np.round(truth + rng.normal(0, noise, rows), 1)
    target = truth
    if task == "binary":
        own, other = (1 / (1 + np.exp(-values)) for values in (own, other))
        target = (rng.random(rows) < 1 / (1 + np.exp(-truth))).astype(float)
    at = [date(2024, 1, 1) + timedelta(days=int(i)) for i in np.sort(rng.integers(0, days, rows))]
    return pl.DataFrame({"day": at, "target": target, "prediction": own, "reference_prediction": other})


def changes(rows: pl.DataFrame, task: str = "binary", *, resamples: int = 400) -> dict[str, dict[str, float]]:
    return paired_metrics.changes(rows, task=task, resamples=resamples, few=100, confidence=0.95, seed=1)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_each_draw_is_the_metric_of_that_draw(task):
    rows = pairs(task=task)
    day = rows["day"].rank("dense").to_numpy().astype(int) - 1
    draws = metrics.draw_days(20, 5, 3)
    target, prediction = rows["target"].to_numpy(), rows["prediction"].to_numpy()
    model = paired_metrics.Scored(task=task, target=target, prediction=prediction, day=day, days=20)
    for name, metric in metrics.metrics_for(task).items():
        expected = [metric(target, prediction, draw[day].astype(float)) for draw in draws]
        assert paired_metrics.resample(name, metric, model, draws, few=5) == pytest.approx(expected, rel=1e-9), name


def test_headline_has_the_interval_of_the_judge():
    rows = pairs()
    target, own, other = (rows[name].to_numpy() for name in ("target", "prediction", "reference_prediction"))
    losses = metrics.row_losses("binary", target, own) - metrics.row_losses("binary", target, other)
    overall = judge.paired_bootstrap(
        rows.with_columns(difference=pl.Series(losses)), resamples=400, confidence=0.95, seed=1
    )
    found = changes(rows)["log_loss"]
    assert [found["difference"], found["low"], found["high"]] == pytest.approx(
        [overall.difference, overall.low, overall.high]
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_better_model_is_better_by_every_metric(task):
    for name, change in changes(pairs(task=task), task).items():
        assert change["low"] <= change["difference"] <= change["high"]
        assert (change["low"] > 0) if name in ("auc", "average_precision", "r2") else (change["high"] < 0), name


def test_equal_models_have_no_change():
    same = pairs().with_columns(reference_prediction="prediction")
    assert all(value == 0 for change in changes(same).values() for value in change.values())


def test_metric_that_is_not_known_takes_few_draws(monkeypatch):
    seen = []

    def widest(target, prediction, weights):
        seen.append(weights)
        return float(np.max(np.abs(target - prediction)))

    monkeypatch.setattr(metrics, "metrics_for", lambda _: {"widest": widest})
    assert set(changes(pairs())) == {"widest"}
    assert len(seen) == 2 * (1 + 100)


def test_rows_of_one_class_have_no_ranking():
    assert set(changes(pairs().with_columns(target=1.0))) == {"log_loss", "brier"}


def test_draws_without_a_positive_are_left_out():
    rows = pairs(days=4).with_columns(target=(pl.col("day") == date(2024, 1, 1)).cast(pl.Float64))
    assert np.isfinite(list(changes(rows)["auc"].values())).all()


def test_eighty_thousand_rows_take_little_time():
    rows = pairs(rows=80_000, days=30)
    started = time.process_time()
    paired_metrics.changes(rows, task="binary", resamples=2000, few=200, confidence=0.95, seed=1)
    assert time.process_time() - started < 5
