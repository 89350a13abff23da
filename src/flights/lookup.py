"""The facts a live caller cannot know: a small SQLite file from the table, and a row of inputs from a question.

The answers are the numbers of `flights.features`, for any moment of the last 60 days of the table.
The service imports this module, so it needs no Polars until `write` is called.
"""

from __future__ import annotations

import atexit
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field

from flights.contract import Carrier, Dest, Inputs, Origin
from slipway.errors import DataError

if TYPE_CHECKING:
    import polars as pl

DAYS = 60
"""How many of the table's last days can be asked about."""
NEW_YORK = ZoneInfo("America/New_York")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")

# All moments are whole minutes since 1970 UTC, all days whole days. Without rowids a table is its own index.
SCHEMA = f"""
PRAGMA page_size = 4096; PRAGMA journal_mode = OFF;
CREATE TABLE known (first INTEGER, last INTEGER);
CREATE TABLE route (origin, carrier, dest, distance REAL, block REAL, PRIMARY KEY (origin, carrier, dest)) WITHOUT ROWID;
CREATE TABLE plane (tailnum PRIMARY KEY, year REAL, seats REAL) WITHOUT ROWID;
CREATE TABLE weather (origin, at INTEGER, {", ".join(f"{name} REAL" for name in WEATHER)}, PRIMARY KEY (origin, at)) WITHOUT ROWID;
CREATE TABLE flight (origin, sched INTEGER, flight, carrier, dest, tailnum, block INTEGER, left INTEGER, delay INTEGER,
                     PRIMARY KEY (origin, sched, flight)) WITHOUT ROWID;
CREATE INDEX departure ON flight (origin, left, carrier, delay) WHERE left IS NOT NULL;
CREATE TABLE key (name PRIMARY KEY, id INTEGER) WITHOUT ROWID;
CREATE TABLE daily (id INTEGER, day INTEGER, late INTEGER, n INTEGER, PRIMARY KEY (id, day)) WITHOUT ROWID;
"""


class Question(BaseModel):
    """A flight as a person asks for it; its departure within the days that the lookup knows."""

    model_config = ConfigDict(extra="forbid")

    carrier: Carrier
    origin: Origin
    dest: Dest
    sched_dep: Annotated[
        datetime,
        Field(description="scheduled departure; New York time unless it has an offset", examples=["2013-10-31T17:00"]),
    ]
    tailnum: Annotated[
        str | None, Field(description="tail number; without it that of the timetable", examples=["N14228"])
    ] = None
    flight: Annotated[
        str | None, Field(description="airline and number; without it that of the timetable", examples=["UA1545"])
    ] = None


def write(table: pl.DataFrame, path: Path) -> None:
    """Make the SQLite file (about 4 MB) at `path`; the same table gives the same bytes."""
    import polars as pl

    last: date = table["day"].max()  # type: ignore[assignment]
    first = last - timedelta(days=DAYS - 1)
    start = pl.lit(datetime(first.year, first.month, first.day, tzinfo=NEW_YORK).astimezone(UTC)) - pl.duration(hours=4)
    near = table.filter(pl.max_horizontal("sched_dep", "departed_at") >= start)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.executescript(SCHEMA + "BEGIN;")
        _fill(base, "known", [(_day(first), _day(last))])
        _fill(base, "route", table.group_by("origin", "carrier", "dest").agg(
            pl.col("distance").last(), pl.col("block_minutes").median()).sort("origin", "carrier", "dest").rows())  # fmt: skip
        planes = table.filter(pl.col("tailnum").is_not_null()).unique("tailnum").sort("tailnum")
        _fill(base, "plane", planes.select("tailnum", "plane_year", "seats").rows())
        weather = near.filter(pl.col("weather_at").is_not_null()).unique(["origin", "weather_at"])
        _fill(base, "weather", weather.select("origin", _minute("weather_at"), *WEATHER).sort("origin", "weather_at").rows())
        whole = [pl.col(name).cast(pl.Int64) for name in ("block_minutes", "dep_delay")]
        flights = near.select(
            "origin", _minute("sched_dep"), "flight", "carrier", "dest", "tailnum", whole[0], _minute("departed_at"), whole[1]
        )
        _fill(base, "flight", flights.sort("origin", "sched_dep", "flight").rows())
        for name, rows in _daily(table.filter(pl.col("day") > first - timedelta(days=30))).items():
            _fill(base, name, rows.rows())
        base.executescript("COMMIT; VACUUM;")


def _daily(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Late arrivals and arrivals by day, for every key that `flights.features` takes a rate by."""
    import polars as pl

    hour = pl.col("sched_dep").dt.convert_time_zone("America/New_York").dt.hour()
    labelled = table.filter(pl.col("late").is_not_null()).with_columns(hour=hour)
    counts = pl.concat(
        labelled.group_by(name=pl.format(kind + " {}" * len(columns), *columns), day="day")
        .agg(late=pl.col("late").sum().cast(pl.Int64), n=pl.len())
        .with_columns(pl.col("day").cast(pl.Int32))
        for kind, columns in RATES.items()
    )
    key = counts.select(pl.col("name").unique().sort()).with_row_index("id").select("name", "id")
    daily = counts.join(key, on="name").select("id", "day", "late", "n").sort("id", "day")
    return {"key": key, "daily": daily}


RATES = {
    "rate_carrier": ["carrier", "origin"],
    "rate_dest": ["dest"],
    "rate_hour": ["origin", "hour"],
    "rate_flight": ["flight"],
}


def _minute(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).dt.epoch("s") // 60


def _day(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def _fill(base: sqlite3.Connection, name: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        base.executemany(f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows)  # noqa: S608


@lru_cache(maxsize=8)
def _open(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    atexit.register(base.close)
    return base


def answer(path: Path, question: Question) -> dict[str, Any]:
    """The row of `Inputs` for `question`, as known two hours before its departure.

    DataError when the day or the route is not in the file, saying what is.
    """
    moment = question.sched_dep
    local = moment.replace(tzinfo=NEW_YORK) if moment.tzinfo is None else moment.astimezone(NEW_YORK)
    sched = int(local.timestamp() // 60)
    try:
        base = _open(path.resolve())
        _inside(base, local.date())
        row = {"carrier": question.carrier, "origin": question.origin, "dest": question.dest}
        row |= {"weekday": float(local.isoweekday()), "minute": local.hour * 60.0 + local.minute}
        row |= _planned(base, question, sched)
        row |= _weather(base, question.origin, sched - 120)
        row |= _recent(base, question, sched)
        row |= _rates(base, row | {"hour": local.hour}, _day(local.date()))
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be asked: {error}", hint="run `make repro`") from None
    return {name: row[name] for name in Inputs.model_fields}


def _inside(base: sqlite3.Connection, day: date) -> None:
    first, last = base.execute("SELECT first, last FROM known").fetchone()
    if not first <= _day(day) <= last:
        begin, end = (date(1970, 1, 1) + timedelta(days=number) for number in (first, last))
        raise DataError(f"sched_dep is on {day} in New York, known are the days from {begin} to {end}")


def _planned(base: sqlite3.Connection, question: Question, sched: int) -> dict[str, Any]:
    """Timetable and plane; for a flight that is not in the timetable the route's usual minutes."""
    asked = (question.origin, question.carrier, question.dest)
    route = base.execute("SELECT distance, block FROM route WHERE origin=? AND carrier=? AND dest=?", asked).fetchone()
    if route is None:
        raise _unknown(base, question)
    planned = base.execute(
        "SELECT block, flight, tailnum FROM flight WHERE origin=? AND sched=? AND carrier=? AND dest=? AND flight=ifnull(?, flight)",
        (question.origin, sched, question.carrier, question.dest, question.flight),
    ).fetchone() or (route[1], None, None)  # fmt: skip
    tailnum = question.tailnum or planned[2]
    plane = base.execute("SELECT year, seats FROM plane WHERE tailnum=?", (tailnum,)).fetchone() or (None, None)
    return {
        "distance": route[0], "block_minutes": float(planned[0]), "flight": question.flight or planned[1],
        "plane_year": plane[0], "seats": plane[1],
    }  # fmt: skip


def _unknown(base: sqlite3.Connection, question: Question) -> DataError:
    given: list[str] = []
    for name in ("origin", "carrier", "dest"):
        where = "".join(f" AND {column}=?" for column in ("origin", "carrier")[: len(given)])
        found = base.execute(f"SELECT DISTINCT {name} FROM route WHERE 1{where} ORDER BY 1", given).fetchall()  # noqa: S608
        known, value = [text for (text,) in found], getattr(question, name)
        if value not in known:
            break
        given.append(value)
    after = f" for {' '.join(given)}" if given else ""
    return DataError(f"{name} is {value!r}, known{after}: {', '.join(known)}")


def _weather(base: sqlite3.Connection, origin: str, asked: int) -> dict[str, Any]:
    found = base.execute(
        f"SELECT {', '.join(WEATHER)} FROM weather WHERE origin=? AND at BETWEEN ? AND ? ORDER BY at DESC LIMIT 1",  # noqa: S608
        (origin, asked - 180, asked),
    ).fetchone()
    return dict(zip(WEATHER, found or [None] * len(WEATHER), strict=True))


def _recent(base: sqlite3.Connection, question: Question, sched: int) -> dict[str, Any]:
    """Operations of the two hours before asking, and how busy the schedule is."""
    asked = sched - 120
    window = {"origin": question.origin, "carrier": question.carrier, "after": asked - 120, "asked": asked, "sched": sched}

    def one(query: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] = base.execute(query, window).fetchone()
        return row

    gone = "FROM flight WHERE left > :after AND left <= :asked AND origin"
    departed, delay, share = one(f"SELECT count(*), avg(delay), avg(delay >= 15) {gone} = :origin")  # noqa: S608
    (carrier,) = one(f"SELECT avg(delay) {gone} = :origin AND carrier = :carrier")  # noqa: S608
    (city,) = one(f"SELECT avg(delay) {gone} IN (SELECT DISTINCT origin FROM route)")  # noqa: S608
    due = "SELECT count(*) FROM flight WHERE origin = :origin AND sched"
    (scheduled,) = one(f"{due} > :sched - 60 AND sched <= :sched")
    (waiting,) = one(f"{due} > :after AND sched <= :asked AND ifnull(left, :asked + 1) > :asked")
    return {
        "scheduled": float(scheduled), "departed": float(departed), "waiting": float(waiting),
        "delay": delay, "late_share": share, "delay_carrier": carrier, "delay_city": city,
    }  # fmt: skip


def _rates(base: sqlite3.Connection, row: dict[str, Any], day: int) -> dict[str, Any]:
    """Share of late arrivals from 29 to 2 days before `day`, 28 days."""
    def rate(kind: str, columns: Iterable[str]) -> float | None:
        name = " ".join([kind, *(str(row[column]) for column in columns)])
        (share,) = base.execute(
            "SELECT sum(late) * 1.0 / sum(n) FROM key JOIN daily USING (id) WHERE name=? AND day > ? AND day <= ?",
            (name, day - 30, day - 2),
        ).fetchone()
        return share  # type: ignore[no-any-return]

    return {kind: rate(kind, columns) for kind, columns in RATES.items()}
