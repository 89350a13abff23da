"""A disk that is full, or protected, from the n-th write of this process on."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway import cli

FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
WRITERS = frozenset({"bentoml", "dvc", "uvicorn", "uv", "worktree", "add", "commit", "update-ref", "read-tree", "push"})
"""Words in the command of a program that writes; others that are started only read."""
REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
UNLIMITED = resource.getrlimit(resource.RLIMIT_FSIZE)


@dataclass(kw_only=True)
class Disk:
    """Counts writes. From number `full_at` on nothing can be created; with `inside`, no byte can be written.

    The first is an error of this process at the call; the second is the kernel's own, for every library and program.
    """

    full_at: int | None = None
    inside: bool = False
    writes: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Return whether the write was reached."""
        return self.full_at is not None and len(self.writes) > self.full_at

    def notice(self, write: str) -> None:
        """Count a write, and let it fail if the disk is full."""
        self.writes.append(write)
        if not self.full:
            return
        if self.inside:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, UNLIMITED[1]))
        else:
            number = REASONS[(self.full_at or 0) % len(REASONS)]
            raise OSError(number, os.strerror(number), write)


_disks: list[Disk] = []


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if not _disks:
        return
    disk = _disks[-1]
    if event == "subprocess.Popen":
        if disk.inside and WRITERS & set(map(str, args[1])):
            disk.notice(" ".join(map(str, args[1])))
    elif event == "open":
        name, _, flags = args
        if not isinstance(name, int) and flags & FOR_WRITING:
            name = os.fsdecode(name)
            # `atomic_write` makes the folder just before, so that a native library's file is counted too
            if (
                not name.startswith("/dev/")
                and "__pycache__" not in name
                and not (disk.inside and name.endswith(".part"))
            ):
                disk.notice(name)
    elif event == "os.mkdir":
        if disk.inside or not Path(os.fsdecode(args[0])).is_dir():
            disk.notice(os.fsdecode(args[0]))
    elif event == "os.rename" and not disk.inside:
        source, target = map(os.fsdecode, args[:2])
        if source not in disk.writes:
            disk.notice(target)
    elif event == "sqlite3.connect" and (disk.inside or not Path(os.fsdecode(args[0])).exists()):
        disk.notice(os.fsdecode(args[0]))


@contextlib.contextmanager
def mounted(disk: Disk) -> Iterator[None]:
    if not hasattr(sys, "_slipway_audit"):  # a hook cannot be removed, so there is one
        sys.addaudithook(_audit)
        sys._slipway_audit = True  # type: ignore[attr-defined]
    _disks.append(disk)
    try:
        yield
    finally:
        _disks.remove(disk)
        resource.setrlimit(resource.RLIMIT_FSIZE, UNLIMITED)


def run_verb(folder: Path, *words: str, disk: Disk) -> tuple[int, str]:
    """`slipway WORDS` in `folder`, in this process, on `disk`: its exit code and what it printed. A bug is raised."""
    output, argv = io.StringIO(), sys.argv
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stderr(output),
        contextlib.redirect_stdout(output),
        mounted(disk),
    ):
        try:
            sys.argv = ["slipway", *words]
            cli.main()
        except SystemExit as end:
            return int(end.code or 0), output.getvalue()
        finally:
            sys.argv = argv
    raise AssertionError("a command ends with SystemExit")
