"""The question whether the inputs moved, on sound and broken windows."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from slipway.monitoring.questions import inputs
from support import sample_windows as samples


def ask(*changes: pl.Expr, **options: object) -> inputs.Answer:
    return inputs.ask(samples.window(samples.rows(0).with_columns(*changes), **options))  # type: ignore[arg-type]


def test_sound_inputs_pass_with_a_sentence():
    answer = ask()
    assert {check.ok for check in answer.checks} == {True}
    assert answer.sentence == "Inputs are sound: none is broken, none jumped."
    assert {row["input"] for row in answer.notes["table"]} == {"kind", "heat", "rain"}


def test_broken_input_is_named_in_words():
    answer = ask((pl.col("heat") - 32) * 5 / 9)
    assert samples.failed(answer.checks) == ["sensor heat"]
    assert answer.sentence == "Inputs moved: `heat` is in another unit (°C instead of °F)."
    assert (answer.notes["table"][0]["input"], answer.notes["table"][0]["fault"]) == ("heat", "unit")


def test_jump_is_told_apart_from_a_fault():
    answer = ask(pl.col("heat") + 25)
    assert samples.failed(answer.checks) == ["jump of heat"]
    assert "`heat` jumped by 2." in answer.sentence
    assert "standard deviations against the windows before" in answer.sentence


def test_jump_of_a_category_is_a_share():
    answer = ask(pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("d")).otherwise("kind").alias("kind"))
    assert samples.failed(answer.checks) == ["jump of kind"]
    assert "of the rows" in answer.sentence


def test_slow_drift_is_shown_and_passes():
    warmer = [samples.rows(n).with_columns(pl.col("heat") + 3 * (16 - n)) for n in range(17)]
    answer = inputs.ask(samples.window(warmer[0], earlier=warmer[1:]))
    assert samples.failed(answer.checks) == []
    assert "1 of 3 drifted from the training data" in answer.sentence
    assert {row["input"]: row["psi"] > 1 for row in answer.notes["table"]} == {
        "kind": False,
        "heat": True,
        "rain": False,
    }


def test_return_to_the_training_data_is_no_jump():
    cold = [samples.rows(n).with_columns(pl.col("heat") - 40) for n in range(1, 17)]
    answer = inputs.ask(samples.window(samples.rows(0), earlier=cold))
    assert samples.failed(answer.checks) == []


def test_first_window_has_no_jumps():
    answer = ask(pl.col("heat") + 25, weeks=0)
    assert [check.name for check in answer.checks] == ["broken sensors"]
    assert answer.checks[0].ok


def test_few_rows_are_unsure():
    answer = inputs.ask(samples.window(samples.rows(0).head(20)))
    assert [check.ok for check in answer.checks] == [None]
    assert answer.sentence == "Unsure: 20 rows are too few to judge the inputs."


@pytest.mark.parametrize("value", [None, 1.0])
def test_every_number_missing_or_alike(value: float | None):
    answer = ask(pl.lit(value, dtype=pl.Float64).alias("heat"), pl.lit(value, dtype=pl.Float64).alias("rain"))
    assert samples.failed(answer.checks) == ["sensor heat", "sensor rain"]


def test_input_without_reference_is_left_out():
    window = samples.window()
    known = [groups for groups in window.reference.inputs if groups["input"] != "rain"]
    answer = inputs.ask(replace(window, reference=replace(window.reference, inputs=known)))
    assert {row["input"] for row in answer.notes["table"]} == {"kind", "heat"}


def test_windows_without_rows_are_left_out():
    earlier = [samples.rows(1).head(0), *(samples.rows(n) for n in range(2, 12))]
    assert samples.failed(inputs.ask(samples.window(earlier=earlier)).checks) == []
