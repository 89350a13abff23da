"""Rows by the million: parquet in chunks, and `models/contract.json` asked of a whole chunk at once.

What a chunk may hold is what `request` lets through, value by value; its sentences are said here too.
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
"""Rows read, predicted and written at a time: more is no faster, only larger."""
ANSWER = "prediction"
Arrays = tuple[NDArray[np.object_], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Parquet files of one schema, each with its number of rows, read as one table in the order of their names."""

    files: list[tuple[Path, int]]
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """In all files."""
        return sum(rows for _, rows in self.files)

    def identity(self) -> list[list[Any]]:
        """Name, bytes and time of change of each file: another list is another input."""
        stats = [(path, path.stat()) for path, _ in self.files]
        return [[str(path.resolve()), stat.st_size, stat.st_mtime_ns] for path, stat in stats]

    def where(self, row: int) -> str:
        """The `row`-th row of all (from 0), named for a person."""
        ends = list(itertools.accumulate(rows for _, rows in self.files))
        number = bisect.bisect_right(ends, row)
        return f"{self.files[number][0]}, row {row - (ends[number] - self.files[number][1])} (from 0)"


def source(path: Path) -> Source:
    """What is at `path`, a parquet file or a folder of them; DataError when there is nothing that can be read."""
    names = sorted(each for each in path.glob("*.parquet") if each.name[0] not in "._") if path.is_dir() else [path]
    if not names:
        raise DataError(f"{path} holds no *.parquet", hint="name a parquet file, or a folder of them")
    opened = [(each, *_footer(each)) for each in names]
    _, first, _ = opened[0]
    for each, schema, _ in opened:
        if not schema.equals(first):
            raise DataError(
                f"{each} has other columns or types than {names[0]}", hint="score them one by one, or make them alike"
            )
    found = Source(files=[(each, rows) for each, _, rows in opened], schema=first)
    if not found.rows:
        raise DataError(f"{path} has no rows", hint="nothing is to be scored")
    return found


def _footer(path: Path) -> tuple[pa.Schema, int]:
    """Schema and number of rows of a file."""
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", hint="name a parquet file, or a folder of them") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read as parquet: {error}", hint="name a parquet file") from None


def chunks(source: Source, *, skip: int = 0) -> Iterator[pa.Table]:
    """Tables of CHUNK rows, the last one shorter, from the `skip`-th row on; DataError when a file is broken."""
    rest: list[pa.RecordBatch] = []
    have = 0
    for batch in _batches(source, skip):
        rest, have = [*rest, batch], have + len(batch)
        if have >= CHUNK:  # a batch is never longer
            table = pa.Table.from_batches(rest, source.schema)
            yield table.slice(0, CHUNK)
            rest, have = table.slice(CHUNK).to_batches(), have - CHUNK
    if have:
        yield pa.Table.from_batches(rest, source.schema)


def _batches(source: Source, skip: int) -> Iterator[pa.RecordBatch]:
    """What is in the files after `skip` rows; row groups before that are not read."""
    for path, _ in source.files:
        try:
            with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:  # else all that was read stays
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
            raise DataError(f"{path} is broken: {error}", hint="write it anew") from None


class ChunkValidator:
    """What the service asks of a row, asked of a chunk; and the chunk as the model's arrays."""

    def __init__(self, model: Model) -> None:
        self._contract = model.contract
        self._texts, self._numbers = model.categories, model.numbers
        self.inputs = [*model.categories, *model.numbers]
        properties: Mapping[str, Any] = model.contract["inputs"]["properties"]
        self._nodes = {name: kind_of(properties[name]) for name in self.inputs}
        self._broken = [_broken(name, *self._nodes[name]) for name in self.inputs]
        known = ((name, pl.Series(name, model.contract["known"][name], pl.String)) for name in self._texts)
        self._unknown = [(~pl.col(name).is_in(values.implode())).sum().alias(name) for name, values in known]

    def columns(self, schema: pa.Schema, *, where: Path) -> None:
        """DataError when an input is missing or of a wrong type, or when the answer's name is taken."""
        hint = "the contract is models/contract.json; the service's page lists its fields"
        if absent := [name for name in self.inputs if name not in schema.names]:
            told = ", ".join(absent)
            raise DataError(f"{where}: column {told} is missing; it has {', '.join(schema.names)}", hint=hint)
        if wrong := [name for name in self.inputs if not _fits(schema.field(name).type, self._nodes[name][0])]:
            told = "; ".join(
                f"column {name} has type {schema.field(name).type}, limit: {self._nodes[name][0]['type']}"
                for name in wrong
            )
            raise DataError(f"{where}: {told}", hint=hint)
        if ANSWER in schema.names:
            raise DataError(f"{where} has a column {ANSWER} already", hint="rename it, or leave it out")

    def frame(self, table: pa.Table) -> pl.DataFrame:
        """The inputs of a chunk: texts as String, numbers as Float32 or Float64."""
        found = pl.DataFrame(pl.from_arrow(table.select(self.inputs)))
        whole = [n for n in self._numbers if found.schema[n] not in (pl.Float32, pl.Float64)]
        return found.with_columns(pl.col(self._texts).cast(pl.String), pl.col(whole).cast(pl.Float64))

    def breach(self, frame: pl.DataFrame) -> tuple[int, int, str] | None:
        """The first row that breaks the contract, how many do, and what is wrong with the first; None when none does."""
        if not any(frame.select(broken.any() for broken in self._broken).row(0)):
            return None
        rows = frame.select(pl.any_horizontal(self._broken)).to_series().arg_true()
        try:
            Reader(self._contract).check(frame.row(rows[0], named=True))
        except BadRequest as broken:
            return rows[0], len(rows), "; ".join(error["message"] for error in broken.errors)
        raise AssertionError(f"row {rows[0]} breaks the contract here and keeps it in slipway.serving.validation")

    def unknown(self, frame: pl.DataFrame) -> dict[str, int]:
        """How many values of each category the model was never trained on; columns without any are left out."""
        counts = frame.select(self._unknown).row(0, named=True) if self._unknown else {}
        return {name: count for name, count in counts.items() if count}

    def arrays(self, frame: pl.DataFrame) -> Arrays:
        """The chunk as `Model.predict` takes it."""
        texts = frame.select(pl.col(self._texts).fill_null("")).to_numpy().astype(object)
        numbers = frame.select(pl.col(self._numbers).cast(pl.Float32)).to_numpy()
        return texts.reshape(len(frame), len(self._texts)), numbers.reshape(len(frame), len(self._numbers))


def _broken(name: str, node: Mapping[str, Any], nullable: bool) -> pl.Expr:
    """Whether a value breaks its node; NaN lies above every limit, so it does."""
    column = pl.col(name)
    if node["type"] == "string":
        within = column.str.len_chars().is_between(node.get("minLength", 0), node.get("maxLength", 2**31))
    else:
        within = column.is_between(*range_of(node))
    if node["type"] == "integer":
        within &= column % 1 == 0
    return (~within).fill_null(not nullable).alias(name)


def _fits(dtype: pa.DataType, node: Mapping[str, Any]) -> bool:
    """Whether a column of this type can hold what the node allows; one of nulls alone can."""
    if pa.types.is_null(dtype):
        return True
    if node["type"] == "string":
        dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
        return any(is_(dtype) for is_ in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
    return bool(pa.types.is_floating(dtype) or pa.types.is_integer(dtype))


def tags(**values: Any) -> dict[str, str]:
    """What is told of a parquet file in its own metadata."""
    return {"slipway": json.dumps(values, sort_keys=True)}
