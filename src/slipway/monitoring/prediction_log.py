"""Read the prediction log: JSON lines and parquet files mixed, in bounded pieces, with every bad line counted."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl

from slipway import problem
from slipway.core import files
from slipway.errors import ConfigError, DataError

VERSION = 1
PIECE_BYTES = 1 << 25
"""Bytes of JSON lines that are parsed at once."""
CLOCK_SKEW = timedelta(minutes=5)
TIME = pl.Datetime("us", "UTC")
Types = dict[str, pl.DataType | type[pl.DataType]]
HEAD: Types = {
    "id": pl.String,
    "at": TIME,
    "model": pl.String,
    "ms": pl.Float32,
    "status": pl.Int64,
    "prediction": pl.Float64,
}


@dataclass
class Log:
    """The rows of a window, one for each request id, in the order of the files, and what was left out.

    `rows` has id, at, model, ms, status, prediction and a column for each input. `counts` names each kind of line that was
    not used, `lost` is how many lines the service could not write.
    """

    rows: pl.DataFrame
    counts: Counter[str] = field(default_factory=Counter)
    lost: int = 0


def input_types(spec: problem.Problem) -> Types:
    """The type in which each input is read: text for a category, a float for a number."""
    categories, numbers = problem.names(spec.inputs, "category"), problem.names(spec.inputs, "number")
    return {**dict.fromkeys(categories, pl.String), **dict.fromkeys(numbers, pl.Float32)}


def log_files(folder: Path) -> list[Path]:
    """The files of the log by name; one that is compacted already counts once, as parquet."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file", expected="a folder", hint="name the folder of the log with --log")
    place = folder / "predictions"
    compacted = {path.stem: path for path in place.glob("*.parquet")}
    plain = {path.stem: path for path in place.glob("*.jsonl")}
    return [path for _, path in sorted((plain | compacted).items())]


def read(folder: Path, spec: problem.Problem, *, start: datetime, end: datetime, inputs_from: datetime) -> Log:
    """The rows with `start` ≤ at < `end`; inputs are read only from `inputs_from` on, and are null before.

    Bad lines are counted, and none is an error. A file that goes away meanwhile was compacted or removed: it is left out.
    """
    log = Log(pl.DataFrame(schema=HEAD | input_types(spec)))
    pieces = []
    for path in log_files(folder):
        try:
            read_pieces = _parquet_pieces if path.suffix == ".parquet" else _json_pieces
            for piece in read_pieces(path, spec, log):
                rows = _rows_in_window(piece, log, start, end)
                blank = [pl.when(pl.col("at") >= inputs_from).then(name).alias(name) for name in input_types(spec)]
                pieces.append(rows.with_columns(blank))
        except FileNotFoundError:
            log.counts["files that went away while they were read"] += 1
        except OSError as error:
            raise files.cannot_read(path, error) from None
    if pieces:
        rows = pl.concat(pieces)
        unique = rows.unique("id", keep="first", maintain_order=True)
        log.counts["repeated ids (the first line counts)"] += len(rows) - len(unique)
        log.rows = unique
    log.counts = +log.counts
    return log


def _rows_in_window(piece: pl.DataFrame, log: Log, start: datetime, end: datetime) -> pl.DataFrame:
    log.counts["lines without id or time"] += len(piece) - len(piece := piece.drop_nulls(["id", "at"]))
    log.counts["lines from after the window's end"] += int((piece["at"] > end + CLOCK_SKEW).sum())
    return piece.filter(pl.col("at").is_between(start, end, closed="left"))


def _parquet_pieces(path: Path, spec: problem.Problem, log: Log) -> Iterator[pl.DataFrame]:
    """The rows of a compacted file; a column of the contract that it lacks is null."""
    try:
        schema = pl.read_parquet_schema(path)
        types = HEAD | input_types(spec)
        columns = [
            pl.col(name).cast(kind, strict=False) if name in schema else pl.lit(None, dtype=kind).alias(name)
            for name, kind in types.items()
        ]
        lost = pl.read_parquet_metadata(path).get("slipway_lost", "")
        log.lost += int(lost) if lost.isdecimal() else 0
        yield pl.scan_parquet(path).select(columns).collect(engine="streaming")
    except (pl.exceptions.PolarsError, ValueError):
        log.counts[f"unreadable files ({path.name})"] += 1


def _json_pieces(path: Path, spec: problem.Problem, log: Log) -> Iterator[pl.DataFrame]:
    """The rows of a file of JSON lines, piece by piece; half a line at its end is counted."""
    with path.open("rb") as file:
        rest = b""
        while block := file.read(PIECE_BYTES):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield _parsed_rows(lines + newline, spec, log)
        log.counts["half lines at the end of a file"] += bool(rest.strip())


def _line_schema(spec: problem.Problem) -> dict[str, Any]:
    texts = {"id": pl.String, "at": pl.String, "model": pl.String, "problem": pl.String}
    numbers = {"v": pl.Int64, "ms": pl.Float32, "prediction": pl.Float64, "status": pl.Int64, "lost": pl.Int64}
    return texts | numbers | {"inputs": pl.Struct(dict(input_types(spec)))}


def _parsed_rows(lines: bytes, spec: problem.Problem, log: Log) -> pl.DataFrame:
    frames = list(_parse(lines, _line_schema(spec), log))
    piece = pl.concat(frames) if frames else pl.DataFrame(schema=_line_schema(spec))
    log.counts["lines of another version"] += int((piece["v"].fill_null(0) != VERSION).sum())
    piece = piece.filter(pl.col("v") == VERSION)
    log.lost += int(piece["lost"].sum() or 0)
    if foreign := piece.filter(pl.col("problem") != spec.name)["problem"].unique().to_list():
        message = f"the log is of the problem {foreign[0]}, but params.yaml has {spec.name}"
        raise DataError(
            message, expected=f"a log of {spec.name}", value=foreign[0], hint="slipway monitor --log FOLDER"
        )
    rows = piece.filter(pl.col("problem").is_null() & pl.col("lost").is_null())
    required = [column.name for column in problem.columns(spec.inputs) if not column.nullable]
    rows = rows.with_columns(pl.col("at").str.to_datetime(time_unit="us", time_zone="UTC", strict=False))
    rows = rows.unnest("inputs").select(*HEAD, *input_types(spec))
    answered = rows["status"].is_null()
    broken = answered & rows.select(pl.any_horizontal(pl.col(required).is_null())).to_series()
    log.counts["lines that break the contract"] += int(broken.sum())
    return rows


def _parse(lines: bytes, schema: dict[str, Any], log: Log) -> Iterator[pl.DataFrame]:
    """Parse lines at once; if one of them is broken, halve them until it stands alone, and count it."""
    if not lines.strip():
        return
    try:
        yield pl.read_ndjson(io.BytesIO(lines), schema=schema, ignore_errors=True)
    except pl.exceptions.PolarsError:
        cut = lines.find(b"\n", len(lines) // 2) + 1
        cut = cut if cut < len(lines) else lines.rfind(b"\n", 0, len(lines) - 1) + 1
        if not cut:
            log.counts["broken lines"] += 1
            return
        yield from _parse(lines[:cut], schema, log)
        yield from _parse(lines[cut:], schema, log)
