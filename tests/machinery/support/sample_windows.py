"""Windows of a made-up prediction log in memory, sound ones and ones with a fault put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from slipway.core import config
from slipway.monitoring.window import Reference, Window
from slipway.pipeline import drift
from slipway.problem import Problem, load

ROWS = 700
"""Rows of a window: a hundred a day."""
WEEK = timedelta(days=7)
END = datetime(2024, 7, 1, tzinfo=UTC)


class Inputs(BaseModel):
    """The inputs of the made-up problem."""

    model_config = ConfigDict(extra="forbid")

    kind: Annotated[str, Field(min_length=1, description="kind", examples=["a"])]
    heat: Annotated[
        float | None,
        Field(ge=-100, le=200, description="heat", examples=[50.0], json_schema_extra={"unit": "°F"}),
    ]
    rain: Annotated[
        float | None,
        Field(ge=0, le=100, description="rain", examples=[0.0], json_schema_extra={"unit": "inches"}),
    ]


def spec(task: str = "binary") -> Problem:
    """The declaration of flights with these inputs, and with another task."""
    return replace(load("flights"), inputs=Inputs, task=task)


def rows(week: int, *, seed: int = 1) -> pl.DataFrame:
    """A sound week; week 0 is the newest. `chance` is the probability of the label, and the prediction."""
    rng = np.random.default_rng([seed, week])
    start = END - (week + 1) * WEEK
    chance = rng.beta(2, 5, ROWS)
    return pl.DataFrame({
        "id": [f"{week}-{number}" for number in range(ROWS)],
        "at": [start + number * WEEK / ROWS for number in range(ROWS)],
        "ms": np.full(ROWS, 1.5),
        "prediction": chance,
        "kind": rng.choice(["a", "b", "c", "d"], ROWS, p=[0.5, 0.3, 0.15, 0.05]),
        "heat": np.round(rng.normal(60, 10, ROWS) + rng.normal(0, 2)),
        "rain": np.where(rng.random(ROWS) < 0.8, 0.0, np.round(rng.exponential(0.2, ROWS), 2)),
        "label": (rng.random(ROWS) < chance).astype(float),
    })  # fmt: skip


def reference(training: pl.DataFrame | None = None) -> Reference:
    """The reference of a model that was trained on sound weeks."""
    frame = pl.concat([rows(number) for number in range(30, 40)]) if training is None else training
    counts, edges = np.histogram(frame["prediction"].to_numpy(), bins=25)
    bins = [{"prediction": float(p), "rows": int(n)} for p, n in zip((edges[:-1] + edges[1:]) / 2, counts, strict=True)]
    inputs = drift.describe_inputs(frame, ["kind"], ["heat", "rain"], bins=10, rows=len(frame))
    return Reference(inputs=inputs, predictions=bins, metrics={})


def window(
    newest: pl.DataFrame | None = None,
    *,
    weeks: int = 16,
    earlier: Sequence[pl.DataFrame] | None = None,
    task: str = "binary",
    label_delay_days: int = 28,
) -> Window:
    """The newest week with `weeks` sound ones before it, and the labels that are due by its end."""
    newest = rows(0) if newest is None else newest
    earlier = [rows(number + 1) for number in range(weeks)] if earlier is None else earlier
    delay = timedelta(days=label_delay_days)
    labels = pl.concat([newest, *earlier]).select("id", "label", known_at=pl.col("at") + delay)
    settings = config.Monitor(label_delay_days=label_delay_days)
    return Window(spec=spec(task), settings=settings, start=END - WEEK, end=END, rows=newest.drop("label"),
                  earlier=[each.drop("label") for each in earlier], reference=reference(),
                  labels=labels.filter(pl.col("known_at") <= END))  # fmt: skip


def failed(checks: Sequence[object]) -> list[str]:
    """The names of the checks that failed."""
    return [check.name for check in checks if check.ok is False]  # type: ignore[attr-defined]
