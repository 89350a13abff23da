"""The prediction log of a process: the request path appends bytes, and a thread writes them.

The buffer has a bound, and requests that do not fit are counted as lost: no request waits, and none fails, because of the log.
"""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from slipway.errors import ConfigError
from slipway.serving.prediction_log import lines
from slipway.serving.prediction_log.lines import Lines, Privacy, Request
from slipway.serving.prediction_log.log_file import LogFile
from slipway.serving.prediction_log.settings import HINT, Settings

FLUSH_SECONDS = 0.25
"""Seconds between two writes; a killed process loses at most what came since the last one."""
BUFFER_BYTES = 32 << 20
CHUNK_BYTES = 64 << 10
"""Bytes of one write; between two of them requests get their turn."""

log = logging.getLogger("bentoml.slipway")


class Counts(Protocol):
    """Metrics that the writer keeps up to date."""

    def written(self, lines: int) -> None:
        """Add lines that stand in a file."""

    def lost(self, lines: int) -> None:
        """Add lines that stand in none."""

    def begun(self) -> None:
        """Add a file."""


class PredictionLog:
    """The log of one process. `add` is for one thread, the event loop's; the rest happens in a thread of its own."""

    def __init__(self, settings: Settings, contract: Mapping[str, Any], model: str, counts: Counts) -> None:
        self._per_mille, self._counts = settings.per_mille, counts
        self._folder = settings.folder / "predictions"
        privacy = Privacy.of(contract["inputs"]["properties"], settings.salt)
        self._lines = Lines(model, contract["problem"], settings.per_mille, privacy)
        self._file = LogFile(
            self._folder, file_bytes=settings.file_bytes, file_seconds=settings.file_seconds,
            total_bytes=settings.total_bytes,
        )  # fmt: skip
        self._pending: deque[Request] = deque()
        self._bytes_in, self._bytes_out = 0, 0  # each is changed by one thread
        self._refused, self._refused_before = 0, 0
        self._lost, self._in_file, self._is_failing, self._wake = 0, 0, False, threading.Event()
        check_folder(self._folder)
        self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)
        self._thread.start()

    def takes(self, request_id: str) -> bool:
        """Return whether the request is in the sample; ask before a `Request` is made, which costs more."""
        return self._per_mille == 1000 or zlib.crc32(request_id.encode()) % 1000 < self._per_mille

    def add(self, request: Request) -> None:
        """Log a request, if it is in the sample; counted as lost when the buffer is full."""
        if not self.takes(request.id):
            return
        size = len(request.body) + len(request.answer) + 200
        if self._bytes_in - self._bytes_out + size > BUFFER_BYTES:
            self._refused += lines.count(request)
            return
        self._bytes_in += size
        self._pending.append(request)

    def close(self) -> None:
        """Write what is pending, and end the file and the thread; safe to call twice."""
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._wake.wait(FLUSH_SECONDS):
            self._flush()
        self._flush()
        self._end_file()

    def _end_file(self) -> None:
        """Close the file; when somebody has removed it, the lines in it are lost."""
        if self._file.is_removed:
            self._lose(self._in_file)
        self._file.close()
        self._in_file = 0

    def _flush(self) -> None:
        refused, chunk, size = self._refused, [], 0
        self._lose(refused - self._refused_before)
        self._refused_before = refused
        if self._file.is_due:
            self._end_file()
        for _ in range(len(self._pending)):
            request = self._pending.popleft()
            try:
                new = self._lines.of(request)
            except Exception as error:  # nothing in a request may end the thread
                log.warning("a request is missing in the prediction log: %s", type(error).__name__)
                self._lose(lines.count(request))
                new = []
            self._bytes_out += len(request.body) + len(request.answer) + 200
            chunk += new
            size += sum(map(len, new))
            if size >= CHUNK_BYTES:
                self._write(chunk)
                chunk, size = [], 0
                time.sleep(0)
        if chunk or (self._lost and self._file.is_open):
            self._write(chunk)

    def _write(self, chunk: list[bytes]) -> None:
        """Append lines to the file, in a new one where needed; those that cannot be written are lost."""
        reported = self._lost
        try:
            if self._file.is_due:
                self._end_file()
                reported = self._lost
            if not self._file.is_open:
                self._file.begin(self._lines.head(time.time_ns()))
                self._counts.begun()
            first = [self._lines.lost(reported, time.time_ns())] if reported else []
            text = b"".join([*first, *chunk])
            written = self._file.write(text)
            missing = text.count(b"\n", written)
            self._lost -= reported if reported and written else 0
            missing -= bool(reported and not written)  # the line about the loss is none of the predictions
            problem = None if written == len(text) else "it takes no more bytes"
        except OSError as error:
            missing, problem = len(chunk), error.strerror or str(error)
        self._lose(missing)
        if len(chunk) > missing:
            self._in_file += len(chunk) - missing
            self._counts.written(len(chunk) - missing)
        self._tell(problem)

    def _lose(self, count: int) -> None:
        if count:
            self._lost += count
            self._counts.lost(count)

    def _tell(self, problem: str | None) -> None:
        """Log the first failure of several, and their end."""
        if problem and not self._is_failing:
            log.warning("the prediction log in %s cannot be written and loses lines: %s", self._folder, problem)
        elif not problem and self._is_failing:
            log.warning("the prediction log in %s is written again", self._folder)
        self._is_failing = problem is not None


def check_folder(folder: Path) -> None:
    """Make the folder; ConfigError when no file can be made in it."""
    probe = folder / f".probe-{threading.get_native_id()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError(
            f"SLIPWAY_LOG: no file can be made in {folder}: {error.strerror}", expected="a folder that can be written",
            hint=HINT,
        ) from None  # fmt: skip
