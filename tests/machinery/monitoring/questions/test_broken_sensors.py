"""Each fault of a sensor by its own name, and sound columns that look like one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from slipway.core import config
from slipway.monitoring.questions import broken_sensors
from support import sample_windows as samples

LIMITS = config.MonitorInputs()
HISTORY = [samples.rows(number) for number in range(1, 9)]
GROUPS = {groups["input"]: groups for groups in samples.reference().inputs}
UNITS = {"heat": "°F", "rain": "inches", "kind": ""}
NEWEST = pl.col("at") > samples.END - samples.WEEK * 2.9 / 7


def fault(
    column: str, change: pl.Expr, history: list[pl.DataFrame] = HISTORY, week: int = 0
) -> broken_sensors.Fault | None:
    changed = samples.rows(week).with_columns(change.alias(column))
    return broken_sensors.find_fault(GROUPS[column], UNITS[column], changed, history, LIMITS)


FAULTS = [
    ("heat", pl.lit(None, dtype=pl.Float64), "stopped", "stopped: 100% of its values are missing, 0% before"),
    ("heat", pl.when(~NEWEST).then("heat"), "stopped", "0% before, in the last 2 days"),
    ("heat", pl.when(pl.int_range(pl.len()) % 2 == 0).then("heat"), "missing", "is missing in 50% of the rows"),
    ("heat", pl.lit(float("nan")), "stopped", "stopped"),
    ("kind", pl.lit(None, dtype=pl.String), "stopped", "stopped"),
    ("heat", pl.lit(61.0), "stuck", "is stuck: 100% of its values are 61"),
    ("heat", pl.when(NEWEST).then(61.0).otherwise("heat"), "stuck", "is stuck"),
    ("kind", pl.lit("b"), "stuck", "is stuck: 100% of its values are b"),
    ("rain", pl.lit(0.3), "stuck", "is stuck"),
    ("heat", (pl.col("heat") - 32) * 5 / 9, "unit", "is in another unit (°C instead of °F)"),
    ("rain", pl.col("rain") * 25.4, "unit", "is in another unit (mm instead of inches)"),
    ("heat", pl.col("heat") * 1000, "unit", "is in another unit (a thousand times what it was)"),
    ("kind", pl.col("kind").replace("b", "B"), "spelling", "and b is gone (30.6% before)"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "change", "kind", "words"), FAULTS)
def test_fault_has_its_own_words(column: str, change: pl.Expr, kind: str, words: str):
    result = fault(column, change)
    assert result is not None
    assert (result.kind, result.column) == (kind, column)
    assert words in result.sentence


@pytest.mark.parametrize("column", ["heat", "rain", "kind"])
def test_sound_column_has_no_fault(column: str):
    for week in range(3):
        assert fault(column, pl.col(column), week=week) is None
        assert fault(column, pl.col(column), [], week=week) is None


SOUND = [
    ("rain", pl.lit(0.0)),  # a dry week: most training rows are dry
    ("heat", pl.col("heat") + 15),  # a warm week
    ("heat", pl.when(pl.int_range(pl.len()) % 5 > 0).then("heat")),
    ("kind", pl.when(pl.col("kind") != "d").then("kind").otherwise(pl.lit("a"))),  # one value less, none new
    ("kind", pl.when(pl.int_range(pl.len()) % 20 > 0).then("kind").otherwise(pl.lit("e"))),  # one more, none gone
]  # fmt: skip


@pytest.mark.parametrize(("column", "change"), SOUND)
def test_change_of_the_world_is_no_fault(column: str, change: pl.Expr):
    assert fault(column, change) is None


def test_column_that_was_constant_is_not_stuck():
    constant = [each.with_columns(heat=pl.lit(75.0)) for each in HISTORY]
    assert fault("heat", pl.lit(80.0), constant) is None


def test_first_window_can_be_stopped_or_converted():
    stopped = fault("heat", pl.lit(None, dtype=pl.Float64), [])
    converted = fault("heat", (pl.col("heat") - 32) * 5 / 9, [])
    assert [each and each.kind for each in (stopped, converted)] == ["stopped", "unit"]
    assert fault("heat", pl.lit(61.0), []) is None  # a month is constant too


def test_few_rows_show_no_fault():
    few = samples.rows(0).head(50).with_columns(heat=pl.lit(None, dtype=pl.Float64))
    assert broken_sensors.find_fault(GROUPS["heat"], "°F", few, HISTORY, LIMITS) is None


def test_reference_without_values_is_no_fault():
    empty = samples.reference(samples.rows(3).with_columns(heat=pl.lit(None, dtype=pl.Float64))).inputs
    groups = next(each for each in empty if each["input"] == "heat")
    assert broken_sensors.find_fault(groups, "°F", samples.rows(0), [], LIMITS) is None


def test_conversions_invert_each_other():
    value: Callable[[str, str], tuple[float, float]] = lambda unit, other: broken_sensors.CONVERSIONS[unit][other]  # noqa: E731
    for unit, others in broken_sensors.CONVERSIONS.items():
        for other in others:
            if unit in broken_sensors.CONVERSIONS.get(other, {}):
                (slope, offset), (back, shift) = value(unit, other), value(other, unit)
                assert np.isclose(slope * back, 1, rtol=1e-4)
                assert np.isclose(back * offset + shift, 0, atol=0.1)


def test_rare_input_without_a_value_has_stopped():
    rare = [each.with_columns(heat=pl.when(pl.int_range(pl.len()) % 20 == 0).then("heat")) for each in HISTORY]
    result = fault("heat", pl.lit(None, dtype=pl.Float64), rare)
    assert result is not None
    assert result.sentence == "stopped: all of its values are missing, at most 95% before"
    assert fault("heat", pl.lit(None, dtype=pl.Float64), rare[:3]) is None


@pytest.mark.parametrize(("column", "change", "kind"), [FAULTS[n][:3] for n in (0, 5, 9, 12)])
def test_fault_that_lasts_is_named_again(column: str, change: pl.Expr, kind: str):
    broken = [samples.rows(week).with_columns(change.alias(column)) for week in range(3)]
    history = [*broken[1:], *HISTORY[2:]]
    assert broken_sensors.find_fault(GROUPS[column], UNITS[column], broken[0], history, LIMITS) is None
    result = broken_sensors.find_lasting_fault(GROUPS[column], UNITS[column], broken[0], history, LIMITS)
    assert result is not None
    assert result.kind == kind
    assert result.sentence.startswith("still ")


@pytest.mark.parametrize("count", [0, 2, 8])
def test_sound_column_has_no_lasting_fault(count: int):
    for column in ("heat", "rain", "kind"):
        arguments = GROUPS[column], UNITS[column], samples.rows(0), HISTORY[:count], LIMITS
        assert broken_sensors.find_lasting_fault(*arguments) is None
