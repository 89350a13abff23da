"""The question whether the predictions moved."""

from __future__ import annotations

import polars as pl
import pytest

from slipway.monitoring.questions import predictions
from support import sample_windows as samples


def ask(prediction: pl.Expr, **options: object) -> predictions.Answer:
    return predictions.ask(samples.window(samples.rows(0).with_columns(prediction=prediction), **options))  # type: ignore[arg-type]


def test_sound_predictions_pass():
    answer = ask(pl.col("prediction"))
    assert {check.ok for check in answer.checks} == {True}
    assert answer.sentence.startswith("Predictions are as before: their mean is 0.2")
    assert answer.notes["psi"] < 0.1


@pytest.mark.parametrize(
    ("prediction", "names", "words"),
    [
        (pl.lit(0.27), ["most frequent prediction"], "100.0% of the predictions are the same value"),
        (pl.col("prediction") / 3, ["jump of the predictions"], "jumped by 1."),
        (1 - pl.col("prediction"), ["jump of the predictions"], "jumped by"),
        (pl.when(pl.col("id") != "0-5").then("prediction").otherwise(float("nan")), ["predictions that are no number"],
         "0.14% of the predictions are no number"),
        (pl.lit(None, dtype=pl.Float64), ["predictions that are no number", "most frequent prediction"], "100.00%"),
    ],
)  # fmt: skip
def test_broken_predictions_fail(prediction: pl.Expr, names: list[str], words: str):
    answer = ask(prediction)
    assert samples.failed(answer.checks)[: len(names)] == names
    assert answer.sentence.startswith("Predictions moved: ")
    assert words in answer.sentence


def test_first_window_is_judged_alone():
    answer = ask(pl.col("prediction") / 3, weeks=0)
    assert [check.name for check in answer.checks] == ["predictions that are no number", "most frequent prediction"]


def test_few_rows_are_unsure():
    answer = predictions.ask(samples.window(samples.rows(0).head(20)))
    assert [check.ok for check in answer.checks] == [None]


def test_distance_to_reference_grows_with_the_shift():
    bins, values = samples.reference().predictions, samples.rows(0)["prediction"]
    near = predictions.distance_to_reference(bins, values)
    far = predictions.distance_to_reference(bins, values / 3)
    assert near is not None
    assert far is not None
    assert near < 0.1 < 0.25 < far


def test_nothing_to_compare_has_no_distance():
    assert predictions.distance_to_reference([], samples.rows(0)["prediction"]) is None
    assert predictions.distance_to_reference(samples.reference().predictions, pl.Series([], dtype=pl.Float64)) is None
