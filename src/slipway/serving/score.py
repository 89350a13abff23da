"""Batch scoring: parquet in, parquet out, with the ONNX graph that is served.

The input is cut into chunks. Each chunk is validated, predicted and stored as a part in a folder next to the output.
When all parts exist they are joined, and one rename makes the output appear. A run that was killed continues from its
parts.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rich.progress import Progress

from slipway.core import files
from slipway.core.console import stderr
from slipway.errors import ConfigError, DataError
from slipway.serving import parquet_chunks
from slipway.serving.onnx_model import FOLDER, Model
from slipway.serving.parquet_chunks import ANSWER, CHUNK, ChunkValidator, Source

PROGRESS_SECONDS = 10.0
NO_PREDICTION = (
    "no output was written. The model is at fault, not the row: `export` of this version refuses such a model. "
    "Run `make repro`, or leave the row out"
)


@dataclass(frozen=True, kw_only=True)
class Job:
    """Scores one source with one model; the parts are files in `home`."""

    source: Source
    model: Model
    validator: ChunkValidator
    home: Path

    def _path(self, number: int) -> Path:
        return self.home / f"{number}.arrow"

    def part(self, number: int) -> pa.Table | None:
        """Read the stored part of the `number`-th chunk; None when it is missing, broken or too short."""
        try:
            with pa.OSFile(str(self._path(number))) as file:
                table = pa.ipc.open_file(file).read_all()
        except (pa.ArrowException, OSError):
            return None
        return table if len(table) == min(CHUNK, self.source.rows - number * CHUNK) else None

    def work(self, number: int, table: pa.Table) -> pa.Table:
        """Validate and predict the `number`-th chunk, store the part and return it; DataError names the first wrong row."""
        frame = self.validator.frame(table)
        if error := self.validator.first_error(frame):
            row, count, message = error
            raise DataError(
                f"{self.source.where(number * CHUNK + row)}: {message} (first of {count:,} invalid rows among {len(table):,})",
                hint="correct the rows and run the command again; no output was written",
            )
        predictions = self._predict(number, *self.validator.arrays(frame))
        part = table.drop_columns(self.validator.inputs).append_column(ANSWER, pa.array(predictions, pa.float32()))
        part = part.replace_schema_metadata(parquet_chunks.file_metadata(unknown=self.validator.count_unknown(frame)))
        with files.atomic_write(self._path(number)) as partial, pa.ipc.new_file(str(partial), part.schema) as writer:
            writer.write_table(part)
        return part

    def _predict(
        self, number: int, categories: NDArray[np.object_], numbers: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Predict the `number`-th chunk; DataError names the first row without a finite prediction."""
        try:
            predictions = self.model.predict(categories, numbers)
        except DataError as error:
            row = self._first_failing_row(categories, numbers)
            raise DataError(f"{self.source.where(number * CHUNK + row)}: {error}", hint=NO_PREDICTION) from None
        if not np.isfinite(predictions).all():
            row = int((~np.isfinite(predictions)).argmax())
            message = f"{self.source.where(number * CHUNK + row)}: the row is valid, but the model predicts {predictions[row]}"
            raise DataError(message, expected="a finite number", hint=NO_PREDICTION)
        return predictions

    def _first_failing_row(self, categories: NDArray[np.object_], numbers: NDArray[np.float32]) -> int:
        """Return the position of the first row for which the model raises an error, by halving."""
        low, high = 0, len(numbers)
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self.model.predict(categories[low:middle], numbers[low:middle])
            except DataError:
                high = middle
            else:
                low = middle
        return low


def run(
    input_path: Path, out: Path, *, overwrite: bool = False, folder: Path = FOLDER, workers: int | None = None
) -> str:
    """Predict every row of `input_path` → `out`: its columns that are not inputs, and `prediction`, in the same order.

    `folder` holds the model. `workers` chunks are predicted at once, by default one per core of this process.
    Returns a summary in one line. DataError for wrong data, ConfigError when `out` cannot be written.
    """
    started = time.monotonic()
    model = Model(folder)
    source, validator = parquet_chunks.open_source(input_path), ChunkValidator(model)
    validator.check_columns(source.schema, where=source.files[0][0])
    _check_output(input_path, out, overwrite=overwrite)
    hashes = {name: files.sha256(folder / name) for name in ("model.onnx", "contract.json")}
    with _lock_output(out) as home:
        _prepare_parts(home, {**hashes, "input": source.identity(), "rows a part": CHUNK})
        job = Job(source=source, model=model, validator=validator, home=home)
        with _keep_parts(out, home):
            tags = parquet_chunks.file_metadata(model_sha256=hashes["model.onnx"])
            unknown = _write(job, out, tags, workers or usable_cores())
        shutil.rmtree(home)
    counts = ", ".join(f"{count:,} of {name}" for name, count in sorted(unknown.items()))
    summary = f"{source.rows:,} rows → {out} in {time.monotonic() - started:.1f} s"
    return summary + (f"; values that training did not have: {counts}" if counts else "")


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_output(input_path: Path, out: Path, *, overwrite: bool) -> None:
    """Raise ConfigError when `out` cannot or must not be written."""
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} does not exist", hint=f"mkdir -p {out.parent}")
    if out.is_dir():
        raise ConfigError(f"the output {out} is a folder", hint="name the parquet file to write")
    if input_path.resolve() in (out.resolve(), *(out.resolve().parents if input_path.is_dir() else ())):
        raise ConfigError(f"the output {out} is part of the input {input_path}", hint="write to another file or folder")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} already exists", hint="add --overwrite to replace it, or name another file")


@contextlib.contextmanager
def _lock_output(out: Path) -> Iterator[Path]:
    """Yield the folder of the parts of `out`, locked for this process; the kernel releases the lock when it ends."""
    home = files.make_folder(out.with_name(f".{out.name}.parts"))
    with files.writing(home / "lock"):
        file = (home / "lock").open("w")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "wait until the other `slipway score` ends, or stop it"
            raise ConfigError(f"another process is writing {out}", hint=hint) from None
        yield home


@contextlib.contextmanager
def _keep_parts(out: Path, home: Path) -> Iterator[None]:
    """Keep the parts when the run stops, unless the data are wrong; raise ConfigError when the disk is full."""
    try:
        yield
    except DataError:
        shutil.rmtree(home)
        raise
    except (OSError, files.CannotWrite) as error:
        failure = error if isinstance(error, files.CannotWrite) else files.write_failure(error, out)
        message = failure.message if failure else f"{out} cannot be written: {error}"
        hint = failure.hint if failure else "correct that, and run the command again"
        raise ConfigError(message, hint=f"{hint}; it continues where this run stopped") from None


def _prepare_parts(home: Path, manifest: dict[str, Any]) -> None:
    """Delete parts that were made from another input or model, and print which of them differs."""
    path = home / "manifest.json"
    old = files.read_json(path, hint=f"remove {home}") if path.exists() else manifest
    if differing := ", ".join(key for key in manifest if old.get(key) != manifest[key]):
        stderr.print(f"score: {differing} changed since the last run; starting from the first row", soft_wrap=True)
        for part in home.glob("*.arrow"):
            part.unlink()
    files.write_json(path, manifest)


def _write(job: Job, out: Path, tags: dict[str, str], workers: int) -> Counter[str]:
    """Join all parts into `out`, which one rename makes appear; return the counts of values unknown to the model."""
    unknown: Counter[str] = Counter()
    joined = job.home / "whole"
    with contextlib.closing(_parts(job, workers)) as parts:
        first = next(parts)
        with progress(job.source.rows) as advance, pq.ParquetWriter(joined, first.schema.with_metadata(tags)) as writer:
            for part in itertools.chain([first], parts):
                unknown.update(json.loads(part.schema.metadata[b"slipway"])["unknown"])
                writer.write_table(part.replace_schema_metadata(tags))
                advance(len(part))
    joined.replace(out)
    return unknown


def _parts(job: Job, workers: int) -> Generator[pa.Table, None, None]:
    """Yield the stored parts, then the missing ones, which `workers` threads make; the first wrong row raises DataError."""
    stored = 0
    while (part := job.part(stored)) is not None:
        yield part
        stored += 1
    if stored:
        rows = min(stored * CHUNK, job.source.rows)
        stderr.print(f"score: {rows:,} of {job.source.rows:,} rows were scored by an earlier run")
    pending: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, table in enumerate(parquet_chunks.read_chunks(job.source, skip=stored * CHUNK), stored):
                pending.append(pool.submit(job.work, number, table))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def progress(total: int, *, every: float = PROGRESS_SECONDS) -> Iterator[Callable[[int], None]]:
    """Yield a function to call with each number of finished rows.

    It moves a bar on a terminal; elsewhere it prints a line at most every `every` seconds.
    """
    if stderr.is_terminal:
        with Progress(console=stderr, transient=True) as bar:
            task = bar.add_task("score", total=total)
            yield lambda rows: bar.advance(task, rows)
        return
    finished, printed_at = 0, time.monotonic()

    def advance(rows: int) -> None:
        nonlocal finished, printed_at
        finished += rows
        if time.monotonic() - printed_at >= every:
            printed_at = time.monotonic()
            stderr.print(f"score: {finished:,} of {total:,} rows ({finished / total:.0%})")

    yield advance
