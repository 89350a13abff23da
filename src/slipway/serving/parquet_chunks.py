"""Read parquet in chunks and validate a whole chunk at once against `models/contract.json`.

A chunk is valid exactly when `validation` accepts each of its rows; error messages are the same.
"""

from __future__ import annotations

import bisect
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from slipway.contract import polars_rules
from slipway.contract.words import Rule, describe
from slipway.core import files
from slipway.errors import DataError
from slipway.serving.onnx_model import Model
from slipway.serving.validation import BadRequest, Reader

CHUNK = 32_768
"""Rows that are read, predicted and written at a time. More rows need more memory and are not faster."""
ANSWER = "prediction"
ENDINGS = (".parquet", ".parq", ".pq")
"""Endings of parquet files, in lower case; a file in a folder is read when its name has one of them in any case."""
MARKERS = (
    "_success",
    "_metadata",
    "_common_metadata",
    ".ds_store",
    "thumbs.db",
    "desktop.ini",
    ".gitignore",
    ".gitkeep",
)
"""Names, in lower case, of files without rows that other programs leave next to parquet files; also any `.crc`."""
NAMED = 5
"""The number of files that a message names."""
Arrays = tuple[NDArray[np.object_], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Source:
    """Parquet files of one schema with their numbers of rows, read as one table in the order of their paths."""

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
    """Open `path`, a parquet file or a folder of them; DataError when some of it cannot be read, or it has no rows."""
    names = list_folder(path) if path.is_dir() else [path]
    footers = [(each, *_footer(each)) for each in names]
    _, first, _ = footers[0]
    for each, schema, _ in footers:
        if not schema.equals(first):
            raise DataError(
                f"{each} has other columns or types than {names[0]}",
                hint="score these files one at a time, or give them the same columns",
            )
    if repeated := sorted(name for name, count in Counter(first.names).items() if count > 1):
        raise DataError(
            f"{names[0]} has {len(repeated)} columns more than once: {', '.join(repeated[:NAMED])}",
            expected="a different name for each column", hint="rename or drop the other column of that name",
        )  # fmt: skip
    _refuse_partitions(path, names, first)
    table = Source(files=[(each, rows) for each, _, rows in footers], schema=first)
    if not table.rows:
        raise DataError(f"{path} has no rows, so there is nothing to score", hint="name a file with rows")
    return table


def list_folder(folder: Path) -> list[Path]:
    """All parquet files below a folder, sorted by their path; DataError that names everything else, except MARKERS.

    Files that begin with a dot or an underscore, and links to folders, are named as well: they may hold rows.
    """

    def stop(error: OSError) -> None:
        raise DataError(
            f"the folder {error.filename} cannot be listed: {error.strerror}", hint=f"chmod -R u+rX {folder}"
        ) from None

    names: list[Path] = []
    others: list[Path] = []
    for home, folders, entries in os.walk(folder, onerror=stop):
        place = Path(home)
        links = [each for each in folders if (place / each).is_symlink()]
        for path in (place / each for each in (*entries, *links)):
            if path.name.lower() in MARKERS or path.name.lower().endswith(".crc"):
                continue
            hidden = any(part[0] in "._" for part in path.relative_to(folder).parts)
            readable = path.name.lower().endswith(ENDINGS) and path.is_file()
            (names if readable and not hidden else others).append(path)
    if not names:
        raise DataError(
            f"the folder {folder} contains no parquet file", hint="name a parquet file, or a folder of them"
        )
    if others:
        shown = ", ".join(path.relative_to(folder).as_posix() for path in sorted(others)[:NAMED])
        raise DataError(
            f"the folder {folder} holds {len(others):,} files that would not be read: {shown}"
            + (" …" if len(others) > NAMED else ""),
            expected=f"names that end with {', '.join(ENDINGS)} and do not begin with a dot or an underscore",
            hint="move these files out of the folder, or rename them if they hold rows",
        )
    return sorted(names)


def _refuse_partitions(folder: Path, names: list[Path], schema: pa.Schema) -> None:
    """Raise DataError when folders are named `column=value` and the files lack that column: it would be lost."""
    parts = {part for path in names if path != folder for part in path.relative_to(folder).parts[:-1]}
    if absent := sorted(
        column for part in parts if "=" in part and (column := part.partition("=")[0]) not in schema.names
    ):
        raise DataError(
            f"the folder {folder} is partitioned: the column {', '.join(dict.fromkeys(absent))} is in names of folders only",
            expected="all columns in the files themselves",
            hint="write the rows to one file that has this column, e.g. with polars: "
            f"pl.scan_parquet('{folder}', hive_partitioning=True).sink_parquet('rows.parquet')",
        )


def _footer(path: Path) -> tuple[pa.Schema, int]:
    """Read schema and number of rows of a file."""
    try:
        with pq.ParquetFile(path) as file:
            return file.schema_arrow, file.metadata.num_rows
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", hint="name a parquet file, or a folder of them") from None
    except PermissionError as error:
        raise files.cannot_read(path, error) from None
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
        self._rules = {name: Rule.of(properties[name]) for name in self.inputs}
        self._broken = [polars_rules.broken(name, rule) for name, rule in self._rules.items()]
        trained = ((name, pl.Series(name, model.contract["known"][name], pl.String)) for name in self._texts)
        self._unknown = [(~pl.col(name).is_in(values.implode())).sum().alias(name) for name, values in trained]

    def check_columns(self, schema: pa.Schema, *, where: Path) -> None:
        """Raise DataError when an input is missing or has a wrong type, or a column is already called `prediction`."""
        hint = "the inputs that the model expects are listed in models/contract.json, under inputs"
        if absent := [name for name in self.inputs if name not in schema.names]:
            message = f"{where} lacks the column {', '.join(absent)}; it has {', '.join(schema.names)}"
            raise DataError(message, hint=hint)
        if wrong := [name for name in self.inputs if not _fits(schema.field(name).type, self._rules[name])]:
            details = "; ".join(
                f"column {name} has type {schema.field(name).type}; expected: {self._rules[name].type}"
                for name in wrong
            )
            raise DataError(f"{where}: {details}", hint=hint)
        if ANSWER in schema.names:
            raise DataError(
                f"{where} already has a column {ANSWER}, the name of the output", hint="rename or remove that column"
            )

    def frame(self, table: pa.Table) -> pl.DataFrame:
        """Return the inputs of a chunk: texts as String, numbers as Float32 or Float64, true or false as Boolean."""
        inputs = pl.DataFrame(pl.from_arrow(table.select(self.inputs)))
        booleans = [n for n in self._numbers if self._rules[n].type == "true or false"]
        integers = [n for n in self._numbers if n not in booleans and not inputs.schema[n].is_float()]
        return inputs.with_columns(
            pl.col(self._texts).cast(pl.String), pl.col(integers).cast(pl.Float64), pl.col(booleans).cast(pl.Boolean)
        )

    def first_error(self, frame: pl.DataFrame) -> tuple[int, int, str] | None:
        """Return the first invalid row, the number of invalid rows and the first one's errors; None if all are valid."""
        if not any(frame.select(broken.any() for broken in self._broken).row(0)):
            return None
        rows = frame.select(pl.any_horizontal(self._broken)).to_series().arg_true()
        row = polars_rules.row(frame, rows[0])
        try:
            Reader(self._contract).check(row)
        except BadRequest as refusal:
            return rows[0], len(rows), "; ".join(error["message"] for error in refusal.errors)
        # a limit of more than seven digits, in a Float32 column: both are the same number in 32 bits
        broken = frame[rows[0]].select(self._broken).row(0, named=True)
        name = next(name for name, is_broken in broken.items() if is_broken)
        return rows[0], len(rows), f"{name} is {row[name]}; expected {describe(self._rules[name])}"

    def count_unknown(self, frame: pl.DataFrame) -> dict[str, int]:
        """Count the values per category that training did not have; categories without such values are left out."""
        counts = frame.select(self._unknown).row(0, named=True) if self._unknown else {}
        return {name: count for name, count in counts.items() if count}

    def arrays(self, frame: pl.DataFrame) -> Arrays:
        """Convert a frame to the arguments of `Model.predict`."""
        texts = frame.select(pl.col(self._texts).fill_null("")).to_numpy().astype(object)
        numbers = frame.select(pl.col(self._numbers).cast(pl.Float32)).to_numpy()
        return texts.reshape(len(frame), len(self._texts)), numbers.reshape(len(frame), len(self._numbers))


def _fits(dtype: pa.DataType, rule: Rule) -> bool:
    """Return whether a column of this type can hold the values of a rule; a column of nulls always can."""
    if pa.types.is_null(dtype):
        return True
    if rule.type == "text":
        dtype = dtype.value_type if pa.types.is_dictionary(dtype) else dtype
        return any(
            is_type(dtype) for is_type in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
        )
    if rule.type == "true or false":
        return bool(pa.types.is_boolean(dtype))
    return bool(pa.types.is_floating(dtype) or pa.types.is_integer(dtype))


def file_metadata(**values: Any) -> dict[str, str]:
    """Return metadata for a parquet file: `values` as JSON under the key `slipway`."""
    return {"slipway": json.dumps(values, sort_keys=True)}
