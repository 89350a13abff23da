"""Turn closed files of the prediction log into parquet: complete first, then the lines are removed.

A file is read twice, in pieces: first for the types of its columns, then for its rows. So memory has a bound.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from slipway import problem
from slipway.core import files
from slipway.errors import ConfigError
from slipway.serving.prediction_log import log_file
from slipway.serving.prediction_log.lines import VERSION

Type = pl.DataType | type[pl.DataType]
OWN: dict[str, Type] = {"id": pl.String, "at": pl.Datetime("us", "UTC"), "model": pl.String, "ms": pl.Float64,
       "prediction": pl.Float64, "status": pl.Int64}  # fmt: skip
"""Columns of every file; the inputs follow."""
HEAD, LOST = "slipway", "slipway_lost"
"""Keys of the parquet file's metadata: the first line, and the number of lines that the service lost, as text."""
PIECE_ROWS = 20_000
"""Rows that are held at once."""


@dataclass
class Contents:
    """The first line of a file, its lost lines, the JSON types of its inputs, and the numbers of lines kept and left out."""

    head: dict[str, Any] = field(default_factory=dict)
    lost: int = 0
    kinds: dict[str, set[type]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)


def run(folder: Path, spec: problem.Problem) -> str:
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
            counts += compact(path, spec)
    left_out = ", ".join(f"{counts[name]:,} {name}" for name in ("unreadable", "of another version", "duplicate"))
    return f"{counts['files']:,} files, {counts['lines']:,} lines are parquet; left out: {left_out}"


def compact(path: Path, spec: problem.Problem) -> Counter[str]:
    """Write the file as parquet next to it, then remove it; return the numbers of lines."""
    contents = Contents()
    for record in records(path, contents):
        for name, value in record.get("inputs", {}).items():
            contents.kinds.setdefault(name, set()).add(type(value))
    types = input_types(contents, spec)
    metadata = {HEAD: json.dumps(contents.head), LOST: str(contents.lost)}
    with (
        files.atomic_write(path.with_suffix(".parquet")) as partial,
        files.scratch_folder(".compact-", where=path.parent) as scratch,
    ):
        parts = _write_parts(path, types, scratch)
        rows = pl.concat([pl.scan_parquet(part) for part in parts]) if parts else frame([], types).lazy()
        rows.sink_parquet(partial, compression="zstd", metadata=metadata)
    path.unlink(missing_ok=True)
    return contents.counts


def _write_parts(path: Path, types: dict[str, Type], folder: Path) -> list[Path]:
    parts: list[Path] = []
    rows: list[dict[str, Any]] = []

    def write() -> None:
        parts.append(folder / f"{len(parts):06d}.parquet")
        frame(rows, types).write_parquet(parts[-1], compression="lz4")
        rows.clear()

    for record in records(path, Contents()):
        rows.append(record)
        if len(rows) >= PIECE_ROWS:
            write()
    if rows:
        write()
    return parts


def records(path: Path, contents: Contents) -> Iterator[dict[str, Any]]:
    """Yield the predictions and failures of a file, one for each id; the rest of it goes to `contents`."""
    ids: set[str] = set()
    counts = contents.counts
    with path.open("rb") as lines:
        for line in lines:
            record = parse(line)
            if record is None:
                counts["unreadable"] += 1
            elif record.get("v") != VERSION:
                counts["of another version"] += 1
            elif "id" not in record:
                lost = record.get("lost")
                contents.lost += lost if isinstance(lost, int) else 0
                contents.head = contents.head or ({} if lost is not None else record)
            elif record["id"] in ids:
                counts["duplicate"] += 1
            else:
                ids.add(record["id"])
                counts["lines"] += 1
                yield record


def parse(line: bytes) -> dict[str, Any] | None:
    """Return the object of a line; None for half a line, or for another kind of value."""
    try:
        record = msgspec.json.decode(line)
    except (ValueError, RecursionError):
        return None
    is_whole = isinstance(record, dict) and isinstance(record.get("id", ""), str)
    return record if is_whole and isinstance(record.get("inputs", {}), dict) else None


def input_types(contents: Contents, spec: problem.Problem) -> dict[str, Type]:
    """Return the type of each input: the contract's, so that a column without a value keeps it too.

    An input that the contract does not have (a line of another release), or with values that do not fit, has the type of
    its values. A hashed field is a text, and a dropped field has no column.
    """
    head = contents.head
    dropped, hashed = (
        set(names) if isinstance(names := head.get(key), list) else set() for key in ("dropped", "hashed")
    )
    types: dict[str, Type] = {}
    for column in problem.columns(spec.inputs):
        name, kinds = column.name, contents.kinds.get(column.name, set()) - {type(None)}
        fitting: tuple[type, Type] = _FITTING.get(column.type, (str, pl.String))
        if name in hashed or (kinds and not all(issubclass(kind, fitting[0]) for kind in kinds)):
            types[name] = pl.String if name in hashed else _type_of(kinds)
        elif name not in dropped or kinds:
            types[name] = fitting[1]
    others = {name: _type_of(kinds - {type(None)}) for name, kinds in contents.kinds.items() if name not in types}
    return types | others


_FITTING: dict[type, tuple[Any, Type]] = {
    bool: (bool, pl.Boolean), int: (int | float, pl.Float64), float: (int | float, pl.Float64),
}  # fmt: skip


def _type_of(kinds: set[type]) -> Type:
    """Return the type of a column with values of these types; numbers are floats, whether JSON wrote 5 or 5.0."""
    if kinds == {bool}:
        return pl.Boolean
    return pl.Float64 if kinds and kinds <= {int, float} else pl.String


def frame(rows: list[dict[str, Any]], types: dict[str, Type]) -> pl.DataFrame:
    """Return one row a record: the log's own columns, then one for each input."""
    columns = [_own(name, [row.get(name) for row in rows]) for name in OWN]
    inputs = [_input(name, kind, [row.get("inputs", {}).get(name) for row in rows]) for name, kind in types.items()
              if name not in OWN]  # fmt: skip
    return pl.DataFrame([*columns, *inputs])


def _own(name: str, values: list[Any]) -> pl.Series:
    kind = OWN[name]
    if name == "at":
        texts = pl.Series(name, [value if isinstance(value, str) else None for value in values], dtype=pl.String)
        return texts.str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False)
    if kind == pl.String:
        return pl.Series(name, [value if isinstance(value, str) else None for value in values], dtype=kind)
    numbers = [float(value) if isinstance(value, int | float) else None for value in values]
    return pl.Series(name, numbers, dtype=pl.Float64).cast(kind, strict=False)


def _input(name: str, kind: Type, values: list[Any]) -> pl.Series:
    if kind == pl.Float64:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=kind)
    if kind == pl.Boolean:
        return pl.Series(name, values, dtype=kind)
    texts = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pl.Series(name, texts, dtype=pl.String)
