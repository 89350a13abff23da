"""Answer whether the predictions moved: answers that are no number, one answer for all rows, or a jump of their distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from slipway.core.verdict import Check
from slipway.monitoring.questions import shifts
from slipway.monitoring.questions.inputs import few_rows
from slipway.monitoring.window import Answer, Window
from slipway.pipeline import drift


def ask(window: Window) -> Answer:
    """Check that the predictions are numbers, differ between rows, and are where they were in the windows before."""
    settings, limits = window.settings, window.settings.inputs
    if len(window.rows) < settings.min_rows:
        return few_rows(window, "predictions")
    rows = _predictions(window.rows, limits.sample_rows)
    history = [_predictions(each, limits.sample_rows) for each in window.earlier if len(each) >= settings.min_rows]
    values = shifts.finite(rows["prediction"])
    checks = [_check_numbers(window.rows["prediction"]), _check_variety(values, settings.predictions.one_value_share)]
    jump, enough = settings.predictions.jump, len(history) >= limits.min_windows
    shift = shifts.measure("prediction", rows, history, jump, limits, seed=0) if enough else None
    psi = distance_to_reference(window.reference.predictions, values)
    if shift:
        jumped = shift.distance > shift.allowed and shift.chance <= limits.chance
        text = f"The predictions {'jumped' if jumped else 'moved'} by {shift.distance:.2f} standard deviations"
        checks.append(
            Check(name="jump of the predictions", value=round(shift.distance, 4), limit=f"≤ {shift.allowed:.3g}",
                  ok=not jumped, text=f"{text} against the windows before")
        )  # fmt: skip
    means = [_mean(rows["prediction"]), *(_mean(each["prediction"]) for each in history)]
    notes = {"table": [{"window": n, "mean": mean} for n, mean in enumerate(means)], "psi": psi}
    return Answer(sentence=_sentence(checks, means), checks=checks, rows=len(window.rows), notes=notes)


def distance_to_reference(bins: Sequence[Mapping[str, Any]], values: pl.Series) -> float | None:
    """The population stability index of the predictions to those on the test window, in ten groups; None without either.

    `bins` holds the middle of each bin as `prediction`, and its `rows`.
    """
    if len(bins) < 2 or not len(values):
        return None
    middles = np.array([each["prediction"] for each in bins], dtype=np.float64)
    rows = np.array([each["rows"] for each in bins], dtype=np.float64)
    counts, _ = np.histogram(values.to_numpy(), bins=[-np.inf, *(middles[:-1] + middles[1:]) / 2, np.inf])
    group = np.minimum((np.cumsum(rows) - rows / 2) / rows.sum() * 10, 9).astype(int)
    before, after = (np.bincount(group, weights=each / each.sum(), minlength=10) for each in (rows, counts))
    return round(drift.population_stability_index(before.tolist(), after.tolist()), 4)


def _predictions(frame: pl.DataFrame, count: int) -> pl.DataFrame:
    return shifts.thin(frame.select("at", "prediction"), count)


def _mean(values: pl.Series) -> float | None:
    numbers = shifts.finite(values)
    return round(float(numbers.mean()), 4) if len(numbers) else None  # type: ignore[arg-type]


def _check_numbers(values: pl.Series) -> Check:
    """Fails when any prediction is missing, NaN or infinite."""
    share = 1 - len(shifts.finite(values)) / len(values)
    return Check(name="predictions that are no number", value=round(share, 6), limit="≤ 0", ok=share == 0,
                 text=f"{share:.2%} of the predictions are no number")  # fmt: skip


def _check_variety(values: pl.Series, allowed: float) -> Check:
    """Fails when nearly all predictions are one value."""
    share = int(values.value_counts()["count"].max()) / len(values) if len(values) else 1.0  # type: ignore[arg-type]
    return Check(name="most frequent prediction", value=round(share, 4), limit=f"< {allowed}",
                 ok=share < allowed, text=f"{share:.1%} of the predictions are the same value")  # fmt: skip


def _sentence(checks: Sequence[Check], means: Sequence[float | None]) -> str:
    failed = [check.text for check in checks if check.ok is False]
    if failed:
        return f"Predictions moved: {'; '.join(failed)}."
    return f"Predictions are as before: their mean is {means[0]:.3g}."
