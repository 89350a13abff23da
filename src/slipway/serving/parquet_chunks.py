"""Read parquet in chunks and validate a whole chunk at once against `models/contract.json`.

A chunk is valid exactly when `validation` accepts each of its rows; error messages are the same.
"""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from slipway.errors import DataError
from slipway.serving.onnx_model import Model
from slipway.serving.validation import BadRequest, Reader, kind_of, range_of

CHUNK = 32_768
"""Rows that are read, predicted and written at a time. More rows need more memory and are not faster."""
ANSWER = "prediction"
Arrays = tuple[NDArray[np.object_], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Parquet files of one schema with their numbers of rows, read as one table in the order of their names."""

    files: list[tuple[Path, int]]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """Number of rows in all files."""
        return sum(rows for _, rows in self.files)

    def identity(self) -> list[list[Any]]:
        """Return path, size and modification time (ns) of each file; an input with another list is a different input."""
        stats = [(path, path.stat()) for path, _ in self.files]
        return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]

    def where(self, row: int) -> str:
        """Describe the `row`-th row of all (from 0) by its file and its row there."""
        ends = list(itertools.accumulate(rows for _, rows in self.files))
        number = bisect.bisect_right(ends, row)
        return f"{self.files[number][0]}, row {row - (ends[number] - self.files[number][1])} (from 0)"


def open_source(path: Path) -> Source:
    """Open `path`, a parquet file or a folder of them; DataError when it cannot be read or has no rows."""
    names = sorted(each for each in path.glob("*.parquet") if each.name[0] not in "._") if path.is_dir() else [path]
    if not names:
        raise DataError(f"the folder {path} contains no .parquet file", hint="name a parquet file, or a folder of them")
    footers = [(each, *_footer(each)) for each in names]
    _, first, _ = footers[0]
    for each, schema, _ in footers:
        if not schema.equals(first):
            raise DataError(
                f"{each} has other columns or types than {names[0]}",
                hint="score these files one at a time, or give them the same columns",
            )
    table = Source(files=[(each, rows) for each, _, rows in footers], schema=first)
    if not table.rows:
        raise DataError(f"{path} has no rows, so there is nothing to score", hint="name a file with rows")
    return table


def _footer(path: Path) -> tuple[pa.Schema, int]:
    """Read schema and number of rows of a file."""
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", hint="name a parquet file, or a folder of them") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}", hint="name a parquet file") from None


def read_chunks(source: Source, *, skip: int = 0) -> Iterator[pa.Table]:
    """Yield tables of CHUNK rows, the last one shorter, from the `skip`-th row on; DataError when a file is broken."""
    buffer: list[pa.RecordBatch] = []
    count = 0
    for batch in _batches(source, skip):
        buffer, count = [*buffer, batch], count + len(batch)
        if count >= CHUNK:  # a batch is never longer
            table = pa.Table.from_batches(buffer, source.schema)
            yield table.slice(0, CHUNK)
            buffer, count = table.slice(CHUNK).to_batches(), count - CHUNK
    if count:
        yield pa.Table.from_batches(buffer, source.schema)


def _batches(source: Source, skip: int) -> Iterator[pa.RecordBatch]:
    """Yield the batches after the first `skip` rows; row groups before that are not read."""
    for path, _ in source.files:
        try:
            with pq.ParquetFile(
                path, buffer_size=1 << 20, pre_buffer=False
            ) as file:  # pre-buffering would keep everything in memory
                groups: list[int] = []
                for number in range(file.num_row_groups):
                    rows = file.metadata.row_group(number).num_rows
                    if groups or skip < rows:
                        groups.append(number)
                    else:
                        skip -= rows
                for batch in file.iter_batches(CHUNK, row_groups=groups):
                    if skip < len(batch):
                        yield batch.slice(skip)
                    skip = max(0, skip - len(batch))
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path} is damaged: {error}", hint="create the file again") from None


class ChunkValidator:
    """Applies the service's checks of a row to a whole chunk, and converts the chunk to the model's arrays."""

    def __init__(self, model: Model) -> None:
        self._contract = model.contract
        self._texts, self._numbers = model.categories, model.numbers
        self.inputs = [*model.categories, *model.numbers]
        properties: Mapping[str, Any] = model.contract["inputs"]["properties"]
        self._nodes = {name: kind_of(properties[name]) for name in self.inputs}
        self._broken = [_broken(name, *self._nodes[name]) for name in self.inputs]
        trained = ((name, pl.Series(name, model.contract["known"][name], pl.String)) for name in self._texts)
        self._unknown = [(~pl.col(name).is_in(values.implode())).sum().alias(name) for name, values in trained]

    def check_columns(self, schema: pa.Schema, *, where: Path) -> None:
        """Raise DataError when an input is missing or has a wrong type, or a column is already called `prediction`."""
        hint = "the inputs that the model expects are listed in models/contract.json, under inputs"
        if absent := [name for name in self.inputs if name not in schema.names]:
            message = f"{where} lacks the column {', '.join(absent)}; it has {', '.join(schema.names)}"
            raise DataError(message, hint=hint)
        if wrong := [name for name in self.inputs if not _fits(schema.field(name).type, self._nodes[name][0])]:
            details = "; ".join(
                f"column {name} has type {schema.field(name).type}; expected: {self._nodes[name][0]['type']}"
                for name in wrong
            )
            raise DataError(f"{where}: {details}", hint=hint)
        if ANSWER in schema.names:
            raise DataError(
                f"{where} already has a column {ANSWER}, the name of the output", hint="rename or remove that column"
            )

    def frame(self, table: pa.Table) -> pl.DataFrame:
        """Return the inputs of a chunk: texts as String, numbers as Float32 or Float64."""
        inputs = pl.DataFrame(pl.from_arrow(table.select(self.inputs)))
        integers = [n for n in self._numbers if inputs.schema[n] not in (pl.Float32, pl.Float64)]
        return inputs.with_columns(pl.col(self._texts).cast(pl.String), pl.col(integers).cast(pl.Float64))

    def first_error(self, frame: pl.DataFrame) -> tuple[int, int, str] | None:
        """Return the first invalid row, the number of invalid rows and the first one's errors; None if all are valid."""
        if not any(frame.select(broken.any() for broken in self._broken).row(0)):
            return None
        rows = frame.select(pl.any_horizontal(self._broken)).to_series().arg_true()
        try:
            Reader(self._contract).check(frame.row(rows[0], named=True))
        except BadRequest as refusal:
            return rows[0], len(rows), "; ".join(error["message"] for error in refusal.errors)
        raise AssertionError(f"row {rows[0]} breaks the contract here and keeps it in slipway.serving.validation")

    def count_unknown(self, frame: pl.DataFrame) -> dict[str, int]:
        """Count the values per category that training did not have; categories without such values are left out."""
        counts = frame.select(self._unknown).row(0, named=True) if self._unknown else {}
        return {name: count for name, count in counts.items() if count}

    def arrays(self, frame: pl.DataFrame) -> Arrays:
        """Convert a frame to the arguments of `Model.predict`."""
        texts = frame.select(pl.col(self._texts).fill_null("")).to_numpy().astype(object)
        numbers = frame.select(pl.col(self._numbers).cast(pl.Float32)).to_numpy()
        return texts.reshape(len(frame), len(self._texts)), numbers.reshape(len(frame), len(self._numbers))


def _broken(name: str, node: Mapping[str, Any], nullable: bool) -> pl.Expr:
    """Return the expression that is true where a value is invalid; NaN is above every limit and so invalid."""
    column = pl.col(name)
    if node["type"] == "string":
        valid = column.str.len_chars().is_between(node.get("minLength", 0), node.get("maxLength", 2**31))
    else:
        valid = column.is_between(*range_of(node))
    if node["type"] == "integer":
        valid &= column % 1 == 0
    return (~valid).fill_null(not nullable).alias(name)


def _fits(dtype: pa.DataType, node: Mapping[str, Any]) -> bool:
    """Return whether a column of this type can hold the values of the node; a column of nulls always can."""
    if pa.types.is_null(dtype):
        return True
    if node["type"] == "string":
        dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
        return any(
            is_type(dtype) for is_type in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        )
    return bool(pa.types.is_floating(dtype) or pa.types.is_integer(dtype))


def file_metadata(**values: Any) -> dict[str, str]:
    """Return metadata for a parquet file: `values` as JSON under the key `slipway`."""
    return {"slipway": json.dumps(values, sort_keys=True)}
