"""Distances from the windows before, and what permutations of days make of them."""

from __future__ import annotations

import polars as pl
import pytest

from slipway.core import config
from slipway.monitoring.questions import shifts
from support import sample_windows as samples

LIMITS = config.MonitorInputs()
BEFORE = [samples.rows(number) for number in range(1, 13)]


def measure(after: pl.DataFrame, before: list[pl.DataFrame] = BEFORE, column: str = "heat") -> shifts.Shift | None:
    jump = LIMITS.category if column == "kind" else LIMITS.number
    return shifts.measure(column, after, before, jump, LIMITS, seed=1)


def test_sound_week_moves_within_limits():
    for column in ("heat", "rain", "kind"):
        shift = measure(samples.rows(0), column=column)
        assert shift is not None
        assert shift.distance <= shift.allowed


def test_distance_is_in_standard_deviations():
    before = samples.rows(1)["heat"]
    assert shifts.distance(before, before + before.std() * 2) == pytest.approx(2, abs=0.01)


def test_distance_of_categories_is_a_share():
    before, after = pl.Series("k", ["a"] * 60 + ["b"] * 40), pl.Series("k", ["a"] * 30 + ["c"] * 70)
    assert shifts.distance(before, after) == pytest.approx(0.7)


def test_few_values_have_no_distance():
    assert shifts.distance(pl.Series("x", [1.0] * 49), pl.Series("x", [1.0] * 500)) is None
    assert measure(samples.rows(0).with_columns(heat=pl.lit(None, dtype=pl.Float64))) is None


def test_values_that_are_no_number_do_not_count():
    values = pl.Series("x", [1.0, float("nan"), float("inf"), None, 2.0])
    assert shifts.finite(values).to_list() == [1.0, 2.0]


def test_jump_is_beyond_the_usual_moves():
    shift = measure(samples.rows(0).with_columns(pl.col("heat") + 20))
    assert shift is not None
    assert shift.distance > shift.allowed
    assert shift.chance <= 0.01


def test_short_history_allows_more():
    shift = measure(samples.rows(0).with_columns(pl.col("heat") + 20), BEFORE[:4])
    assert shift is not None
    assert shift.allowed == LIMITS.number.early


def test_one_odd_day_is_likely_by_chance():
    odd = samples.rows(0).with_columns(
        prediction=pl.when(pl.int_range(pl.len()) < 100).then(0.99).otherwise("prediction")
    )
    before = pl.concat(BEFORE[:4])
    assert shifts.chance_of_days("prediction", odd, before, seed=1) > 0.05
    assert shifts.chance_of_days("prediction", odd.with_columns(pl.col("prediction") / 2), before, seed=1) <= 0.01


def test_one_value_everywhere_moves_by_nothing():
    same = [each.with_columns(heat=pl.lit(3.0)) for each in BEFORE]
    shift = measure(same[0], same)
    assert shift is not None
    assert shift.distance == 0


def test_holm_multiplies_the_smallest_most():
    assert shifts.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert shifts.holm({}) == {}


def test_sample_is_evenly_spaced():
    assert len(shifts.thin(samples.rows(0), 100)) == 100
    assert len(shifts.thin(samples.rows(0), 10_000)) == samples.ROWS
