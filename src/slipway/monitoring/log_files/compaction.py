"""Turn closed files of the prediction log into parquet: complete first, then the lines are removed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

from slipway.core import files
from slipway.errors import ConfigError
from slipway.serving.prediction_log import log_file
from slipway.serving.prediction_log.lines import VERSION

OWN: dict[str, Any] = {"id": pl.String, "at": pl.Datetime("us", "UTC"), "model": pl.String, "ms": pl.Float64,
       "prediction": pl.Float64, "status": pl.Int64}  # fmt: skip
"""Columns of every file; the inputs follow."""
HEAD = "slipway"
"""Key of the first line in the parquet file's metadata."""


def run(folder: Path) -> str:
    """Compact the closed files in `folder`/predictions, and return a sentence; ConfigError without that folder.

    Half a line, a line of another version and a second line with the same id are left out and counted. Safe to repeat.
    """
    predictions = folder / "predictions"
    if not predictions.is_dir():
        raise ConfigError(
            f"{predictions} does not exist", expected="the folder of a prediction log", value=str(folder),
            hint="ask a service that logs (slipway serve), or name the folder: slipway log compact FOLDER",
        )  # fmt: skip
    counts: Counter[str] = Counter()
    for path in sorted(predictions.glob("*.jsonl")):
        if log_file.is_closed(path):
            counts["files"] += 1
            counts += compact(path)
    left_out = ", ".join(f"{counts[name]:,} {name}" for name in ("unreadable", "of another version", "duplicate"))
    return f"{counts['files']:,} files, {counts['lines']:,} lines are parquet; left out: {left_out}"


def compact(path: Path) -> Counter[str]:
    """Write the file as parquet next to it, then remove it; return the numbers of lines."""
    records, head, counts = read(path)
    with files.atomic_write(path.with_suffix(".parquet")) as partial:
        frame(records).write_parquet(partial, compression="zstd", metadata={HEAD: json.dumps(head)})
    path.unlink(missing_ok=True)
    return counts


def read(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any], Counter[str]]:
    """Return the predictions and failures of a file, its first line, and the numbers of lines kept and left out."""
    records: dict[str, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    counts: Counter[str] = Counter()
    for line in path.read_bytes().splitlines():
        record = parse(line)
        if record is None:
            counts["unreadable"] += 1
        elif record.get("v") != VERSION:
            counts["of another version"] += 1
        elif "id" not in record:
            head = head or record
        elif record["id"] in records:
            counts["duplicate"] += 1
        else:
            records[record["id"]] = record
    counts["lines"] = len(records)
    return list(records.values()), head, counts


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line; None for half a line, or for another kind of value."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(record, dict) and isinstance(record.get("id", ""), str)
    return record if is_whole and isinstance(record.get("inputs", {}), dict) else None


def frame(records: list[dict[str, Any]]) -> pl.DataFrame:
    """Return one row a record: the log's own columns, then one for each input."""
    names = dict.fromkeys(name for record in records for name in record.get("inputs", ()))
    columns = [pl.Series(name, [_number(record.get(name), name) for record in records], strict=False) for name in OWN]
    own = pl.DataFrame(columns).with_columns(
        pl.col("at")
        .cast(pl.String)
        .str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False),
        *(pl.col(name).cast(kind, strict=False) for name, kind in OWN.items() if name != "at"),
    )
    inputs = [_input(name, [record.get("inputs", {}).get(name) for record in records]) for name in names]
    return own.with_columns(inputs)


def _number(value: Any, name: str) -> Any:
    return value if OWN[name] == pl.String or name == "at" or isinstance(value, int | float) else None


def _input(name: str, values: list[Any]) -> pl.Series:
    """Return a column of texts, numbers or truth values; numbers are floats, whether JSON wrote 5 or 5.0."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {bool}:
        return pl.Series(name, values, dtype=pl.Boolean)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)
