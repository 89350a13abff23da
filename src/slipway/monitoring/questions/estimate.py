"""Estimate performance without labels from the probabilities themselves, with the error that past estimates had."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from slipway.monitoring.questions import skill
from slipway.monitoring.questions.skill import Floats, Skill
from slipway.monitoring.window import Window


def describe(window: Window, task: Skill, labelled: Sequence[Floats]) -> dict[str, Any]:
    """The expected loss and skill of the window, and the mean error of such estimates in the `labelled` windows' sums.

    The estimate never decides. A model whose probabilities are wrong expects wrongly, and its error shows that.
    """
    if task.expected is None:
        return {"sentence": "There is no estimate without labels: a predicted number does not tell its own error."}
    rows = window.rows.select("prediction", day=pl.col("at").dt.date().to_physical()).filter(
        pl.col("prediction").is_finite()
    )
    if not len(rows):
        return {"sentence": "There is no estimate: the window has no prediction."}
    prediction = rows["prediction"].cast(pl.Float64).to_numpy()
    day = rows["day"].cast(pl.Int64).to_numpy()
    total = skill.day_sums(task, prediction, prediction, day).sum(axis=0)  # each row as its own expected label
    loss, ranking = float(total[skill.EXPECTED_LOSS] / total[skill.ROWS]), float(task.expected(total))
    totals = [sums.sum(axis=0) for sums in labelled if len(sums)]
    loss_errors = [abs(each[skill.LOSS] - each[skill.EXPECTED_LOSS]) / each[skill.ROWS] for each in totals]
    ranking_errors = [abs(float(skill.gap(task, each))) for each in totals]
    record: dict[str, Any] = {
        "loss": round(loss, 4),
        "skill": round(ranking, 4) if np.isfinite(ranking) else None,
        "windows": len(totals),
        "loss_error": round(float(np.mean(loss_errors)), 4) if totals else None,
        "skill_error": round(float(np.mean(ranking_errors)), 4) if totals else None,
    }
    error = (
        f"in {len(totals)} windows with labels such estimates were off by {record['loss_error']:.3f} and "
        f"{record['skill_error']:.3f} on average"
        if totals
        else "no labels have come yet to measure its error"
    )
    return record | {
        "sentence": f"Without labels, the predictions expect a mean loss of {loss:.3f} and {_indefinite(task.words)} of "
        f"{ranking:.3f}; {error}."
    }


def _indefinite(words: str) -> str:
    return f"{'an' if words[0] in 'AEIOUaeiou' else 'a'} {words}"
