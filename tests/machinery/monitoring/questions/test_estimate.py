"""The estimate without labels, and its own error."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from slipway.monitoring.questions import estimate, performance, skill
from support import sample_windows as samples

BINARY = skill.TASKS["binary"]


def test_estimate_is_near_what_labels_show():
    window = samples.window(label_delay_days=0)
    labelled = performance.labelled_windows(window, BINARY)
    record = estimate.describe(window, BINARY, [each.sums for each in labelled])
    total = labelled[0].sums.sum(axis=0)
    assert record["skill"] == pytest.approx(float(BINARY.realised(total)), abs=0.05)
    assert record["loss"] == pytest.approx(total[skill.LOSS] / total[skill.ROWS], abs=0.05)
    assert record["windows"] == 17
    assert record["skill_error"] < 0.05
    assert "in 17 windows with labels such estimates were off by 0.0" in record["sentence"]


def test_estimate_without_labels_has_no_error_yet():
    record = estimate.describe(samples.window(), BINARY, [])
    assert record["loss_error"] is None
    assert "no labels have come yet" in record["sentence"]


def test_regression_has_no_estimate():
    record = estimate.describe(samples.window(task="regression"), skill.TASKS["regression"], [])
    assert record == {
        "sentence": "There is no estimate without labels: a predicted number does not tell its own error."
    }


def test_window_without_prediction_has_no_estimate():
    window = samples.window()
    empty = replace(window, rows=window.rows.with_columns(prediction=pl.lit(None, dtype=pl.Float64)))
    assert "no prediction" in estimate.describe(empty, BINARY, [])["sentence"]


def test_one_prediction_everywhere_ranks_nothing():
    window = samples.window()
    same = replace(window, rows=window.rows.with_columns(prediction=pl.lit(0.2)))
    assert estimate.describe(same, BINARY, [])["skill"] == 0.5
