"""One file of the prediction log after another: opened, rotated, and the oldest removed.

A process locks the file that it writes (`flock`), so that others see which files are closed: also after it was killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

STAMP = "%Y%m%dT%H%M%S%fZ"
NAME = re.compile(r"(\d{8}T\d{12}Z)-[0-9a-f]{12}\.(jsonl|parquet)")
"""A file of the log: when it was begun, and the process that wrote it. Sorted by name they are in the order of writing."""
DATA = ("*.jsonl", "*.parquet")


class LogFile:
    """The file that this process writes. Errors of the system are OSError, after which only whole lines stand in it."""

    def __init__(self, folder: Path, *, file_bytes: int, file_seconds: float, total_bytes: int) -> None:
        self.folder = folder
        self._file_bytes, self._file_seconds, self._total_bytes = file_bytes, file_seconds, total_bytes
        self._process = secrets.token_hex(6)
        self._descriptor, self._path, self._size, self._begun = -1, folder, 0, 0.0

    @property
    def is_open(self) -> bool:
        """True between `begin` and `close`."""
        return self._descriptor >= 0

    @property
    def is_due(self) -> bool:
        """True when the open file is large or old enough to be closed, or was removed."""
        if not self.is_open:
            return False
        if self._size >= self._file_bytes or time.monotonic() - self._begun >= self._file_seconds:
            return True
        try:
            return os.stat(self._path).st_ino != os.fstat(self._descriptor).st_ino  # noqa: PTH116
        except OSError:
            return True

    @property
    def is_removed(self) -> bool:
        """True when the open file has no name any more: all that was written to it is gone with `close`."""
        try:
            return self.is_open and os.fstat(self._descriptor).st_nlink == 0
        except OSError:
            return False

    def begin(self, head: bytes) -> None:
        """Open a new file with its first line, after making room; OSError."""
        self.folder.mkdir(parents=True, exist_ok=True)
        make_room(self.folder, self._total_bytes - self._file_bytes, open_bytes=self._file_bytes)
        self._path = self.folder / f"{next_stamp(self.folder)}-{self._process}.jsonl"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o640)
        self._size, self._begun = 0, time.monotonic()
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self.write(head) < len(head):
                raise OSError(f"{self._path.name} is too short")
        except OSError:
            self.close()
            with suppress(OSError):
                self._path.unlink()
            raise

    def write(self, lines: bytes) -> int:
        """Append whole lines, and return how many bytes of them stand in the file: less than all when the disk is full."""
        written = 0
        try:
            while written < len(lines):
                written += os.write(self._descriptor, lines[written:] if written else lines)
        except OSError:
            whole = lines.rfind(b"\n", 0, written) + 1
            try:
                os.ftruncate(self._descriptor, self._size + whole)
            except OSError:
                self.close()  # half a line stays at its end, and the next line begins another file
            written = whole
        self._size += written
        return written

    def close(self) -> None:
        """End the file; safe to call twice."""
        if self.is_open:
            descriptor, self._descriptor = self._descriptor, -1
            with suppress(OSError):
                os.close(descriptor)


def next_stamp(folder: Path) -> str:
    """Return a time for a file's name: now, or just after the newest name when the clock was put back."""
    now, names = datetime.now(UTC), sorted(path.name for path in folder.glob("*.*") if NAME.fullmatch(path.name))
    if names:
        with suppress(ValueError, OverflowError):
            newest = datetime.strptime(names[-1].partition("-")[0], STAMP).replace(tzinfo=UTC)
            now = max(now, newest + timedelta(microseconds=1))
    return now.strftime(STAMP)


def is_closed(path: Path) -> bool:
    """Return whether no process writes the file; False when it does not exist."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def make_room(folder: Path, allowed_bytes: int, *, open_bytes: int) -> None:
    """Remove the oldest closed files until the folder holds at most `allowed_bytes`; an open file counts `open_bytes`."""
    sizes: list[tuple[str, int]] = []
    for path in (path for pattern in DATA for path in folder.glob(pattern)):
        with suppress(OSError):
            sizes.append((path.name, path.stat().st_size))
    total = sum(size for _, size in sizes)
    if total + len(sizes) * open_bytes <= allowed_bytes:  # whatever is open, there is room
        return
    closed = {name for name, _ in sizes if is_closed(folder / name)}
    total = sum(size if name in closed else max(size, open_bytes) for name, size in sizes)
    for name, size in sorted(each for each in sizes if each[0] in closed):
        if total <= allowed_bytes:
            break
        with suppress(OSError):
            (folder / name).unlink()
            total -= size
