"""Look up the inputs that a live caller cannot know in a small SQLite file made from the table.

The answers equal those of `flights.features`, for any moment of the last 56 days of the table.
The service imports this module, so Polars is imported by `write` alone.
"""

from __future__ import annotations

import atexit
import sqlite3
from collections.abc import Sequence
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

DAYS = 56
"""Days of the table that a question can be about: eight weeks keep the file below 5 MB."""
NEW_YORK = ZoneInfo("America/New_York")
EPOCH = date(1970, 1, 1)
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
RATES = {  # as in flights.features, which a service cannot import
    "rate_carrier": ["carrier", "origin"],
    "rate_dest": ["dest"],
    "rate_hour": ["origin", "hour"],
    "rate_flight": ["flight"],
}

# Times are whole minutes and days whole days since 1970 UTC. WITHOUT ROWID, a table is its own index,
# and the index `departure` holds the columns of the primary key too.
SCHEMA = """
PRAGMA page_size = 4096;
CREATE TABLE known (first INTEGER, last INTEGER);
CREATE TABLE route (origin, carrier, dest, distance REAL, block REAL,
                    PRIMARY KEY (origin, carrier, dest)) WITHOUT ROWID;
CREATE TABLE plane (tailnum PRIMARY KEY, year REAL, seats REAL) WITHOUT ROWID;
CREATE TABLE weather (origin, at INTEGER, temp REAL, dewp REAL, humid REAL, wind_speed REAL, wind_gust REAL,
                      precip REAL, pressure REAL, visib REAL, PRIMARY KEY (origin, at)) WITHOUT ROWID;
CREATE TABLE flight (origin, sched INTEGER, carrier, number INTEGER, dest, tailnum, block REAL, left INTEGER,
                     PRIMARY KEY (origin, sched, carrier, number)) WITHOUT ROWID;
CREATE INDEX departure ON flight (left) WHERE left IS NOT NULL;
CREATE TABLE key (name PRIMARY KEY, id INTEGER) WITHOUT ROWID;
CREATE TABLE daily (id INTEGER, day INTEGER, late INTEGER, n INTEGER, PRIMARY KEY (id, day)) WITHOUT ROWID;
"""


def _text(description: str, example: str) -> Any:
    return Field(default=None, min_length=1, max_length=16, description=description, examples=[example])


class Question(BaseModel):
    """A flight as a traveller knows it; its departure must be on one of the days that the lookup covers."""

    model_config = ConfigDict(extra="forbid")

    carrier: Carrier
    origin: Origin
    dest: Dest
    sched_dep: datetime = Field(
        description="scheduled departure; a time without an offset is New York time",
        examples=["2013-10-31T17:00:00-04:00"],
    )
    tailnum: Annotated[str | None, _text("tail number of the plane; by default that of the timetable", "N14228")]
    flight: Annotated[str | None, _text("airline and flight number; by default that of the timetable", "UA1545")]


def write(table: pl.DataFrame, path: Path) -> None:
    """Write the SQLite file (4.7 MB) to `path`; the same table gives the same bytes."""
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.executescript(SCHEMA)
        base.execute("BEGIN")
        for name, rows in _contents(table).items():
            places = ", ".join("?" * rows.width)
            base.executemany(f"INSERT INTO {name} VALUES ({places})", rows.iter_rows())  # noqa: S608
        base.execute("COMMIT")
        base.execute("VACUUM")


def _contents(table: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Every table of SCHEMA, its columns and rows in a fixed order."""
    import polars as pl

    last: date = table["day"].max()  # type: ignore[assignment]
    first = last - timedelta(days=DAYS - 1)
    midnight = datetime(first.year, first.month, first.day, tzinfo=NEW_YORK).astimezone(UTC)
    # The first question has its cutoff two hours before midnight, and its window starts two hours earlier.
    near = table.filter(pl.max_horizontal("sched_dep", "departed_at") >= midnight - timedelta(hours=4))
    route = table.group_by("origin", "carrier", "dest").agg(
        pl.col("distance").median(), pl.col("block_minutes").median()
    )
    weather = near.filter(pl.col("weather_at").is_not_null()).unique(["origin", "weather_at"])
    number = pl.col("flight").str.strip_prefix(pl.col("carrier")).cast(pl.Int64)
    columns = ["origin", "sched_dep", "carrier", "flight", "dest", "tailnum", "block_minutes", "departed_at"]
    flight = near.with_columns(number, _minute("sched_dep"), _minute("departed_at")).select(columns)
    plane = table.filter(pl.col("tailnum").is_not_null()).unique("tailnum")
    daily = _daily(table.filter(pl.col("day") >= first - timedelta(days=29)))
    key = daily.select("name").unique().sort("name").with_row_index("id").select("name", "id")
    return {
        "known": pl.DataFrame({"first": [(first - EPOCH).days], "last": [(last - EPOCH).days]}),
        "route": route.sort("origin", "carrier", "dest"),
        "plane": plane.select("tailnum", "plane_year", "seats").sort("tailnum"),
        "weather": weather.select("origin", _minute("weather_at"), *WEATHER).sort("origin", "weather_at"),
        "flight": flight.sort("origin", "sched_dep", "carrier", "flight"),
        "key": key,
        "daily": daily.join(key, on="name").select("id", "day", "late", "n").sort("id", "day"),
    }


def _daily(table: pl.DataFrame) -> pl.DataFrame:
    """Count late arrivals (`late`) and arrivals (`n`) by `day` for each key (`name`) of RATES."""
    import polars as pl

    hour = pl.col("sched_dep").dt.convert_time_zone("America/New_York").dt.hour()
    arrived = table.filter(pl.col("late").is_not_null()).with_columns(pl.col("day").cast(pl.Int32), hour=hour)
    return pl.concat(
        arrived.group_by("day", name=pl.concat_str(pl.lit(rate), *columns, separator=" ")).agg(
            late=pl.col("late").sum().cast(pl.Int64), n=pl.len()
        )
        for rate, columns in RATES.items()
    )


def _minute(name: str) -> pl.Expr:
    import polars as pl

    return pl.col(name).dt.epoch("s") // 60


@lru_cache(maxsize=8)
def _open(path: Path) -> sqlite3.Connection:
    base = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    atexit.register(base.close)
    return base


def answer(path: Path, question: Question) -> dict[str, Any]:
    """The row of `Inputs` for `question`, from data that is known two hours before its departure.

    DataError if the day or the route is not in the file; its message lists those that are.
    """
    local = _local(question.sched_dep)
    sched, day = int(local.timestamp() // 60), (local.date() - EPOCH).days
    try:
        base = _open(path.resolve())
        _inside(base, day)
        row: dict[str, Any] = question.model_dump(include={"carrier", "origin", "dest"})
        row |= {"weekday": float(local.isoweekday()), "minute": local.hour * 60.0 + local.minute}
        row |= _planned(base, question, sched)
        row |= _weather(base, question.origin, sched - 120)
        row |= _recent(base, question, sched)
        key = {**row, "hour": local.hour}
        row |= {rate: _rate(base, [rate, *(key[name] for name in by)], day) for rate, by in RATES.items()}
    except sqlite3.Error as error:
        raise DataError(f"{path} cannot be read: {error}", hint="run `make repro`") from None
    return {name: row[name] for name in Inputs.model_fields}


def _local(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=NEW_YORK)
    try:
        return moment.astimezone(NEW_YORK)
    except OverflowError:  # the first or the last hours of the calendar
        raise DataError(f"sched_dep is {moment}, which cannot be converted to New York time") from None


def _inside(base: sqlite3.Connection, day: int) -> None:
    first, last = base.execute("SELECT first, last FROM known").fetchone()
    if not first <= day <= last:
        requested, begin, end = (EPOCH + timedelta(days=number) for number in (day, first, last))
        raise DataError(f"sched_dep is on {requested} in New York; expected a day from {begin} to {end}")


def _planned(base: sqlite3.Connection, question: Question, sched: int) -> dict[str, Any]:
    """Timetable and plane: of two flights in one minute the lower number, without a flight the route's median minutes."""
    route_key = (question.origin, question.carrier, question.dest)
    query = "SELECT distance, block FROM route WHERE origin = ? AND carrier = ? AND dest = ?"
    route = base.execute(query, route_key).fetchone()
    if route is None:
        raise _unknown(base, question)
    planned = base.execute(
        "SELECT block, carrier || number AS name, tailnum FROM flight"
        " WHERE origin = ? AND carrier = ? AND dest = ? AND sched = ? AND name = ifnull(?, name)",
        (*route_key, sched, question.flight),
    ).fetchone()
    block, flight, tailnum = planned or (route[1], None, None)
    tailnum = question.tailnum or tailnum
    plane = base.execute("SELECT year, seats FROM plane WHERE tailnum = ?", (tailnum,)).fetchone()
    year, seats = plane or (None, None)
    facts = {"distance": route[0], "block_minutes": block, "plane_year": year, "seats": seats}
    return {**facts, "flight": question.flight or flight}


def _unknown(base: sqlite3.Connection, question: Question) -> DataError:
    """The error about the first of origin, carrier and destination that the file lacks; it lists those that it has."""
    values: list[str] = []
    for name, where in {"origin": "1", "carrier": "origin = ?", "dest": "origin = ? AND carrier = ?"}.items():
        rows = base.execute(f"SELECT DISTINCT {name} FROM route WHERE {where} ORDER BY 1", values)  # noqa: S608
        choices, value = [text for (text,) in rows], getattr(question, name)
        if value not in choices:
            break
        values.append(value)
    group = {"origin": "", "carrier": " (airlines that fly from {})", "dest": " (airports that {1} serves from {0})"}
    return DataError(f"{name} is {value!r}; expected one of {', '.join(choices)}{group[name].format(*values)}")


def _weather(base: sqlite3.Connection, origin: str, cutoff: int) -> dict[str, Any]:
    """The newest observation at `cutoff`, at most three hours old; None for each value if there is none."""
    query = f"SELECT {', '.join(WEATHER)} FROM weather WHERE origin = ? AND at BETWEEN ? AND ?"  # noqa: S608
    values = base.execute(query + " ORDER BY at DESC LIMIT 1", (origin, cutoff - 180, cutoff)).fetchone()
    return dict(zip(WEATHER, values or [None] * len(WEATHER), strict=True))


def _recent(base: sqlite3.Connection, question: Question, sched: int) -> dict[str, Any]:
    """Operations of the two hours before the cutoff, and how busy the schedule is."""
    cutoff = sched - 120
    parameters = {"origin": question.origin, "carrier": question.carrier, "after": cutoff - 120, "cutoff": cutoff}
    query = """
        SELECT count(*) FILTER (WHERE here) AS departed,
               avg(delay) FILTER (WHERE here) AS delay,
               avg(delay >= 15) FILTER (WHERE here) AS late_share,
               avg(delay) FILTER (WHERE here AND carrier = :carrier) AS delay_carrier,
               avg(delay) AS delay_city
        FROM (SELECT left - sched AS delay, carrier, origin = :origin AS here
              FROM flight WHERE left > :after AND left <= :cutoff)"""
    cursor = base.execute(query, parameters)
    row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    due = "SELECT count(*) FROM flight WHERE origin = :origin AND sched > :after AND sched <= :until"
    (hour,) = base.execute(due, {**parameters, "after": sched - 60, "until": sched}).fetchone()
    (waiting,) = base.execute(f"{due} AND ifnull(left > :until, 1)", {**parameters, "until": cutoff}).fetchone()
    return row | {"departed": float(row["departed"]), "scheduled": float(hour), "waiting": float(waiting)}


def _rate(base: sqlite3.Connection, key: Sequence[object], day: int) -> float | None:
    """Share of late arrivals over 28 days, the newest two days before `day`."""
    query = "SELECT sum(late) * 1.0 / sum(n) FROM key JOIN daily USING (id) WHERE name = ?"
    window = (" ".join(map(str, key)), day - 29, day - 2)
    share: float | None = base.execute(query + " AND day BETWEEN ? AND ?", window).fetchone()[0]
    return share
