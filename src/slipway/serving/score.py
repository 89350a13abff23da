"""`score`: parquet in, parquet out, through the graph that is served.

The input is cut into chunks. Each is held against the contract, predicted and kept as a part in a folder beside the
output; when all are there they become the output in one rename. Whoever was killed finds its parts and goes on.
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

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from slipway.core import files
from slipway.core.console import talk
from slipway.errors import ConfigError, DataError
from slipway.serving import parquet_chunks
from slipway.serving.onnx_model import FOLDER, Model
from slipway.serving.parquet_chunks import ANSWER, CHUNK, ChunkValidator, Source

SAID_EVERY_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One source through one model, with the parts in `home`."""

    source: Source
    model: Model
    gate: ChunkValidator
    home: Path

    def _path(self, number: int) -> Path:
        return self.home / f"{number}.arrow"

    def part(self, number: int) -> pa.Table | None:
        """What was kept of the `number`-th chunk; None when that is not there and whole."""
        try:
            with pa.OSFile(str(self._path(number))) as file:
                found = pa.ipc.open_file(file).read_all()
        except (pa.ArrowException, OSError):
            return None
        return found if len(found) == min(CHUNK, self.source.rows - number * CHUNK) else None

    def work(self, number: int, table: pa.Table) -> pa.Table:
        """Check and predict the `number`-th chunk, keep the part and return it; DataError tells the first row that is wrong."""
        frame = self.gate.frame(table)
        if breach := self.gate.breach(frame):
            row, count, told = breach
            raise DataError(
                f"{self.source.where(number * CHUNK + row)}: {told} (the first of {count} such rows within {len(table)})",
                hint="correct the data; nothing is written before every row keeps models/contract.json",
            )
        answers = self.model.predict(*self.gate.arrays(frame))
        kept = table.drop_columns(self.gate.inputs).append_column(ANSWER, pa.array(answers, pa.float32()))
        kept = kept.replace_schema_metadata(parquet_chunks.tags(unknown=self.gate.unknown(frame)))
        with files.atomic_write(self._path(number)) as partial, pa.ipc.new_file(str(partial), kept.schema) as writer:
            writer.write_table(kept)
        return kept


def run(given: Path, out: Path, *, overwrite: bool = False, folder: Path = FOLDER, workers: int | None = None) -> str:
    """Predict every row of `given` → `out`: its columns that are no inputs, and `prediction`, in the same order.

    `workers` chunks are predicted at once, by default one a core of this process.
    """
    started = time.monotonic()
    model = Model(folder)
    source, gate = parquet_chunks.source(given), ChunkValidator(model)
    gate.columns(source.schema, where=source.files[0][0])
    _free(given, out, overwrite=overwrite)
    of = {name: files.sha256(folder / name) for name in ("model.onnx", "contract.json")}
    with _alone(out) as home:
        _begin(home, {**of, "input": source.identity(), "rows a part": CHUNK})
        job = Job(source=source, model=model, gate=gate, home=home)
        with _kept(out, home):
            tags, workers = parquet_chunks.tags(model_sha256=of["model.onnx"]), workers or cores()
            unknown = _write(job, out, tags, workers)
        shutil.rmtree(home)
    never = ", ".join(f"{count:,} of {name}" for name, count in sorted(unknown.items()))
    told = f"{source.rows:,} rows → {out} in {time.monotonic() - started:.1f} s"
    return told + (f"; never seen in training: {never}" if never else "")


def cores() -> int:
    """Those that this process may use, where the system tells."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _free(given: Path, out: Path, *, overwrite: bool) -> None:
    """ConfigError when `out` cannot be written, or must not."""
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} does not exist", hint=f"mkdir -p {out.parent}")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder", hint="name the parquet file to write")
    if (out.parent if given.is_dir() else out).resolve() == given.resolve():
        raise ConfigError(f"{out} is a part of the input {given}", hint="write to another place")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists", hint="add --overwrite to replace it, or name another file")


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[Path]:
    """The folder of the parts of `out`, for one process at a time; the lock is the kernel's and dies with it."""
    home = files.make_folder(out.with_name(f".{out.name}.parts"))
    with (home / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{out} is being written by another process", hint="wait for it, or stop it") from None
        yield home


@contextlib.contextmanager
def _kept(out: Path, home: Path) -> Iterator[None]:
    """Parts outlive whatever stops the work, but not wrong data."""
    try:
        yield
    except DataError:
        shutil.rmtree(home)
        raise
    except OSError as error:
        raise ConfigError(
            f"{out} cannot be written: {error}", hint="make room; the same command goes on where this one stopped"
        ) from None


def _begin(home: Path, manifest: dict[str, Any]) -> None:
    """Parts that were made of anything else are thrown away, and it is said what is another one now."""
    path = home / "manifest.json"
    old = files.read_json(path, hint=f"remove {home}") if path.exists() else manifest
    if other := ", ".join(key for key in manifest if old.get(key) != manifest[key]):
        talk.print(f"score: begun before with another {other}: starting anew", soft_wrap=True)
        for part in home.glob("*.arrow"):
            part.unlink()
    files.write_json(path, manifest)


def _write(job: Job, out: Path, tags: dict[str, str], workers: int) -> Counter[str]:
    """All parts in their order as one file that appears whole → how many values the model had never seen."""
    unknown: Counter[str] = Counter()
    whole = job.home / "whole"
    with contextlib.closing(_parts(job, workers)) as parts:
        first = next(parts)
        with progress(job.source.rows) as told, pq.ParquetWriter(whole, first.schema.with_metadata(tags)) as writer:
            for part in itertools.chain([first], parts):
                unknown.update(json.loads(part.schema.metadata[b"slipway"])["unknown"])
                writer.write_table(part.replace_schema_metadata(tags))
                told(len(part))
    whole.replace(out)
    return unknown


def _parts(job: Job, workers: int) -> Generator[pa.Table, None, None]:
    """The parts that are there, then the others, made some at a time; the first wrong row ends it."""
    begun = 0
    while (part := job.part(begun)) is not None:
        yield part
        begun += 1
    if begun:
        talk.print(f"score: {min(begun * CHUNK, job.source.rows):,} of {job.source.rows:,} rows were there already")
    pending: deque[Future[pa.Table]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for number, table in enumerate(parquet_chunks.chunks(job.source, skip=begun * CHUNK), begun):
                pending.append(pool.submit(job.work, number, table))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def progress(total: int, *, every: float = SAID_EVERY_SECONDS) -> Iterator[Callable[[int], None]]:
    """To be told of rows that are done: a bar on a terminal, elsewhere a line every so many seconds."""
    if talk.is_terminal:
        with Progress(console=talk, transient=True) as bar:
            task = bar.add_task("score", total=total)
            yield lambda rows: bar.advance(task, rows)
        return
    done, said = 0, time.monotonic()

    def tell(rows: int) -> None:
        nonlocal done, said
        done += rows
        if time.monotonic() - said >= every:
            said = time.monotonic()
            talk.print(f"score: {done:,} of {total:,} rows ({done / total:.0%})")

    yield tell
