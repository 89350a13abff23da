"""The files that this process and its children open: what a verb reads, whichever library reads it."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

IN_OPEN, IN_ISDIR = 0x20, 0x40000000
EVENT = struct.Struct("iIII")
LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def watch(folders: Iterable[Path]) -> Iterator[set[Path]]:
    """Watch the folders, without those in them; after the block the set holds the files that were opened (inotify)."""
    handle, opened = LIBC.inotify_init1(os.O_NONBLOCK), set[Path]()
    try:
        watched = {LIBC.inotify_add_watch(handle, os.fsencode(folder), IN_OPEN): folder for folder in folders}
        yield opened
        opened |= set(_read(handle, watched))
    finally:
        os.close(handle)


def _read(handle: int, watched: dict[int, Path]) -> Iterator[Path]:
    """The files of all events that wait."""
    while True:
        try:
            data = os.read(handle, 1 << 20)
        except BlockingIOError:
            return
        while data:
            number, mask, _, length = EVENT.unpack_from(data)
            name, data = data[EVENT.size : EVENT.size + length].rstrip(b"\0"), data[EVENT.size + length :]
            if name and not mask & IN_ISDIR:
                yield watched[number] / os.fsdecode(name)
