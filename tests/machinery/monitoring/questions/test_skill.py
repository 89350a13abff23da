"""Sums of days, and the skill that they make."""

from __future__ import annotations

import numpy as np
import pytest

from slipway.monitoring.questions import skill
from slipway.pipeline import metrics

RNG = np.random.default_rng(3)
BINARY, REGRESSION = skill.TASKS["binary"], skill.TASKS["regression"]


def probabilities(rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    p = RNG.beta(2, 5, rows)
    return (RNG.random(rows) < p).astype(float), p


def test_skill_of_one_day_is_the_auc():
    target, p = probabilities()
    p = np.round(p, 2)  # with ties
    sums = skill.day_sums(BINARY, target, p, np.zeros(len(p), dtype=np.int64))
    assert float(BINARY.realised(sums.sum(axis=0))) == pytest.approx(metrics.auc(target, p))


def test_true_probabilities_expect_what_happens():
    target, p = probabilities(40_000)
    total = skill.day_sums(BINARY, target, p, np.arange(len(p)) % 7).sum(axis=0)
    assert float(skill.gap(BINARY, total)) == pytest.approx(0, abs=0.01)
    assert total[skill.LOSS] / total[skill.ROWS] == pytest.approx(
        total[skill.EXPECTED_LOSS] / total[skill.ROWS], abs=0.01
    )


def test_bad_day_is_no_worse_model():
    target, p = probabilities()
    day = (np.arange(len(p)) % 2).astype(np.int64)
    late = np.where((day == 1) & (RNG.random(len(p)) < 0.5), 1.0, target)  # on one day half of all are late
    sums = skill.day_sums(BINARY, late, p, day)
    assert abs(float(BINARY.realised(sums[0])) - metrics.auc(target[day == 0], p[day == 0])) < 1e-9


def test_days_are_kept_apart_and_in_order():
    sums = skill.day_sums(REGRESSION, np.array([1.0, 5.0, 3.0]), np.array([1.0, 5.0, 2.0]), np.array([9, 4, 9]))
    assert sums.tolist() == [[0, 0, 1], [1, 2, 2]]


def test_no_rows_make_no_days():
    empty = np.array([])
    assert len(skill.day_sums(BINARY, empty, empty, np.array([], dtype=np.int64))) == 0


def test_regression_explains_the_variance_of_a_day():
    target = RNG.normal(20, 5, 2000)
    sums = skill.day_sums(REGRESSION, target, target + RNG.normal(0, 5, 2000), np.arange(2000) % 5)
    assert float(REGRESSION.realised(sums.sum(axis=0))) == pytest.approx(0, abs=0.1)
    assert (
        float(skill.gap(REGRESSION, skill.day_sums(REGRESSION, target, target, np.arange(2000) % 5).sum(axis=0))) == 1
    )


def test_rows_of_one_class_have_no_skill():
    sums = skill.day_sums(BINARY, np.zeros(5), np.full(5, 0.2), np.zeros(5, dtype=np.int64))
    assert np.isnan(BINARY.realised(sums.sum(axis=0)))
