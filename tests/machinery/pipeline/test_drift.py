"""How inputs are distributed, and how far others are from that."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from slipway.pipeline import drift

RNG = np.random.default_rng(5)
FRAME = pl.DataFrame({
    "day": [date(2024, 1, 1 + i % 28) for i in range(4000)],
    "heat": RNG.normal(10, 3, 4000),
    "kind": RNG.choice(["a", "b", "c"], 4000, p=[0.6, 0.3, 0.1]),
})  # fmt: skip


def describe(frame: pl.DataFrame = FRAME) -> list[dict]:
    return drift.describe_inputs(frame, ["kind"], ["heat"], bins=5, rows=4000)


def moved(frame: pl.DataFrame) -> dict[str, float]:
    return {row["input"]: row["shift"] for row in drift.input_drift(describe(), frame, rows=4000)}


def test_groups_hold_equally_many_rows_and_all_of_them():
    kind, heat = describe()
    assert heat["shares"] == pytest.approx([0.2] * 5, abs=0.001)
    assert kind["values"] == ["a", "b", "c", "other"]
    assert sum(kind["shares"]) == pytest.approx(1)


def test_same_rows_have_not_moved():
    assert moved(FRAME) == {"heat": 0, "kind": 0}
    assert max(moved(FRAME.sample(2000, seed=1)).values()) < 0.02


def test_rows_that_moved_are_far():
    assert moved(FRAME.with_columns(pl.col("heat") + 3))["heat"] > 0.25
    other = FRAME.with_columns(kind=pl.lit("new"))
    assert moved(other)["kind"] > 1
    assert moved(other)["heat"] == 0


def test_missing_values_are_a_share_of_their_own():
    holes = FRAME.with_columns(heat=pl.when(pl.int_range(pl.len()) % 4 == 0).then(None).otherwise("heat"))
    row = next(row for row in drift.input_drift(describe(), holes, rows=4000) if row["input"] == "heat")
    assert row["missing"] == [0, 0.25]
    assert row["shift"] < 0.01


@pytest.mark.parametrize("value", [None, 1.0])
def test_input_without_a_spread_can_be_described(value):
    flat = FRAME.with_columns(heat=pl.lit(value, pl.Float64))
    of = describe(flat)[1]
    assert len(of["shares"]) == len(of["edges"]) + 1
    assert drift.input_drift([of], flat, rows=100)[0]["shift"] == 0


def test_input_that_is_gone_is_left_out():
    assert [row["input"] for row in drift.input_drift(describe(), FRAME.drop("kind"), rows=100)] == ["heat"]


def test_only_so_many_rows_are_looked_at():
    seen = drift.describe_inputs(FRAME, [], ["heat"], bins=5, rows=10)
    assert seen != describe()[1:]
    assert drift.describe_window(FRAME) == {"rows": 4000, "first": "2024-01-01", "last": "2024-01-28"}


def test_predictions_are_compared_on_the_same_rows():
    before = RNG.uniform(0, 1, 2000)
    assert drift.compare_predictions(before, before, 10) == {"mean": [before.mean()] * 2, "shift": 0}
    assert drift.compare_predictions(before, before**3, 10)["shift"] > 0.5


def test_input_that_became_another_kind_is_not_compared():
    """A number that is a category now, or the other way round: neither has groups that the other fits."""
    swapped = FRAME.with_columns(heat=pl.col("heat").cast(pl.String), kind=pl.lit(1.0))
    assert moved(swapped) == {}
