"""features: each against plain Python, on rows of the sample, and nothing that becomes known later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from flights import features
from flights.problem import PROBLEM
from slipway.pipeline import features as chapter

Row = dict[str, Any]
HOURS = timedelta(hours=1)


@pytest.fixture(scope="module")
def frame(sample: pl.DataFrame) -> pl.DataFrame:
    return chapter.build_features(PROBLEM, sample)


@pytest.fixture(scope="module")
def some(sample: pl.DataFrame, frame: pl.DataFrame) -> list[tuple[Row, Row]]:
    """A handful of rows of the table with their features, among them the first and the last."""
    labelled = sample.join(frame.select("row_id"), on="row_id", how="semi", maintain_order="left")
    places = [0, 40, len(labelled) - 1, *np.random.default_rng(5).integers(0, len(labelled), 9)]
    rows = labelled[np.array(places)].to_dicts()
    made = {row["row_id"]: row for row in frame.filter(pl.col("row_id").is_in([r["row_id"] for r in rows])).to_dicts()}
    return [(row, made[row["row_id"]]) for row in rows]


def near(table: pl.DataFrame, row: Row, **equal: object) -> list[Row]:
    """The rows of the table within two days before the row's departure, as plain mappings."""
    moment = pl.col("sched_dep").is_between(row["sched_dep"] - timedelta(days=2), row["sched_dep"])
    return table.filter(moment, **equal).select("sched_dep", "departed_at", "dep_delay").to_dicts()


def close(value: float | None, expected: float | None) -> bool:
    return value is expected if value is None or expected is None else abs(value - expected) < 1e-4


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def test_real_features_do_not_leak(sample: pl.DataFrame) -> None:
    assert chapter.find_leaks(PROBLEM, sample, moments=1, seed=3) == []


def test_the_departure_delay_would_leak(sample: pl.DataFrame) -> None:
    def leaking(table: pl.DataFrame) -> pl.DataFrame:
        delays = table.select("row_id", delay=pl.col("dep_delay").cast(pl.Float32))
        return PROBLEM.features(table).drop("delay").join(delays, on="row_id", how="left", maintain_order="left")

    assert chapter.find_leaks(replace(PROBLEM, features=leaking), sample, moments=1, seed=3) == ["delay"]


def test_frame_holds_labelled_flights_in_order(sample: pl.DataFrame, frame: pl.DataFrame) -> None:
    assert frame["row_id"].equals(sample.filter(pl.col("late").is_not_null())["row_id"])


def test_clock_is_new_york_s(some: list[tuple[Row, Row]]) -> None:
    for row, made in some:
        assert made["day"] == row["day"]
        assert made["weekday"] == row["day"].isoweekday()
        assert f"{int(made['minute']) // 60:02}{int(made['minute']) % 60:02}" == row["row_id"][-4:]


@pytest.mark.parametrize(
    ("name", "columns", "value"),
    [
        ("delay", ["origin"], lambda row: row["dep_delay"]),
        ("delay_carrier", ["origin", "carrier"], lambda row: row["dep_delay"]),
        ("delay_city", [], lambda row: row["dep_delay"]),
        ("late_share", ["origin"], lambda row: row["dep_delay"] >= 15),
    ],
)
def test_operations_are_means_over_the_two_hours_before_asking(
    sample: pl.DataFrame,
    some: list[tuple[Row, Row]],
    name: str,
    columns: list[str],
    value: Callable[[Row], float],
) -> None:
    for row, made in some:
        asked = row["sched_dep"] - 2 * HOURS
        others = near(sample, row, **{column: row[column] for column in columns})
        gone = [o for o in others if o["departed_at"] and asked - 2 * HOURS < o["departed_at"] <= asked]
        assert close(made[name], mean([value(other) for other in gone])), row["row_id"]


def test_counts_are_those_of_the_origin(sample: pl.DataFrame, some: list[tuple[Row, Row]]) -> None:
    for row, made in some:
        asked, others = row["sched_dep"] - 2 * HOURS, near(sample, row, origin=row["origin"])
        gone = [o for o in others if o["departed_at"] and asked - 2 * HOURS < o["departed_at"] <= asked]
        due = [o for o in others if asked - 2 * HOURS < o["sched_dep"] <= asked]
        waiting = [o for o in due if o["departed_at"] is None or o["departed_at"] > asked]
        hour = [o for o in others if o["sched_dep"] > row["sched_dep"] - HOURS]
        assert (made["departed"], made["waiting"], made["scheduled"]) == (len(gone), len(waiting), len(hour))


@pytest.mark.parametrize("name", list(features.RATES))
def test_rates_are_late_shares_of_28_complete_days(
    sample: pl.DataFrame, some: list[tuple[Row, Row]], name: str
) -> None:
    hour = pl.col("sched_dep").dt.convert_time_zone("America/New_York").dt.hour()
    keyed = sample.with_columns(hour=hour)
    for row, made in some:
        key = {column: {**row, "hour": int(made["minute"]) // 60}[column] for column in features.RATES[name]}
        arrived = keyed.filter(pl.col("late").is_not_null(), **key).select("day", "late").rows()
        past = [late for day, late in arrived if 2 <= (row["day"] - day).days < 30]
        assert close(made[name], mean(past)), (row["row_id"], name)
