"""Where a process's seconds go: loaded as `sitecustomize` by every Python that cost.py starts, also by way of DVC.

Counts the main thread's time, each moment once: import (also waiting for one that another thread does), reading and
writing of files, the rest is computing. At its end the process leaves a line in the folder SLIPWAY_COST.
"""

from __future__ import annotations

import atexit
import builtins
import functools
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

READ, WRITE = "read", "write"
CALLS = {
    "polars": {"read_csv": READ, "read_parquet": READ, "DataFrame.write_parquet": WRITE},
    "joblib": {"load": READ, "dump": WRITE},
    "flights.lookup": {"write": WRITE},
    "slipway.core.files": {"sha256": READ, "read_json": READ, "write_text": WRITE},
    "pathlib": {"Path.read_bytes": READ, "Path.read_text": READ, "Path.write_bytes": WRITE, "Path.write_text": WRITE},
}
"""Functions that read and write, by module; wrapped as soon as the module is loaded."""
MAIN = threading.main_thread()
seconds: dict[str, float] = {}
stack = ["compute"]
since = time.perf_counter()
patched: set[str] = set()


def turn() -> None:
    """The time since the last turn belongs to what is on top."""
    global since
    now = time.perf_counter()
    seconds[stack[-1]] = seconds.get(stack[-1], 0.0) + now - since
    since = now


@contextmanager
def within(kind: str) -> Iterator[None]:
    """The main thread's time inside is of this kind."""
    if threading.current_thread() is not MAIN:
        yield
        return
    turn()
    stack.append(kind)
    try:
        yield
    finally:
        turn()
        stack.pop()


def counted(call: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """The same function, its time counted; imports inside of it are imports."""

    @functools.wraps(call)
    def run(*args: Any, **kwargs: Any) -> Any:
        with within(kind):
            return call(*args, **kwargs)

    return run


def importing(call: Callable[..., Any]) -> Callable[..., Any]:
    """An importing function, counted where it is the outermost one."""

    @functools.wraps(call)
    def run(*args: Any, **kwargs: Any) -> Any:
        if stack[-1] == "import" or threading.current_thread() is not MAIN:
            return call(*args, **kwargs)
        with within("import"):
            found = call(*args, **kwargs)
        patch()
        return found

    return run


def patch() -> None:
    """Count the calls of modules that are loaded by now."""
    for name, calls in CALLS.items():
        module = sys.modules.get(name)
        if module is None or name in patched or getattr(module.__spec__, "_initializing", False):
            continue
        patched.add(name)
        for path, kind in calls.items():
            *owners, last = path.split(".")
            owner = functools.reduce(getattr, owners, module)
            setattr(owner, last, counted(getattr(owner, last), kind))


def started() -> float:
    """Seconds from the start of this process to here."""
    try:
        ticks = int(Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()[19])
        return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK"))
    except (OSError, AttributeError, IndexError):
        return 0.0


def leave(folder: Path, words: list[str], start: float) -> None:
    """The line of this process."""
    turn()
    line = {"words": words, "parent": os.getppid(), "start": start, **seconds}
    (folder / f"{os.getpid()}.json").write_text(json.dumps(line), "utf-8")


def begin() -> None:
    """Count, in processes of DVC and of the project alone."""
    folder, words = os.environ.get("SLIPWAY_COST"), sys.orig_argv[1:]
    if not folder or words[:1] != ["-m"] or words[1] not in ("slipway", "dvc"):
        return
    atexit.register(leave, Path(folder), words[1:], started())
    builtins.__import__ = importing(builtins.__import__)
    importlib.import_module = importing(importlib.import_module)
    patch()


begin()
