"""Rivals: the service of a change and the one of its base, each built of its own files and started beside the other."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

from slipway.core import environment, files, git
from slipway.core.dvc import LOCK
from slipway.errors import SlipwayError
from slipway.judging import other_commit
from slipway.packaging import package
from slipway.serving import local_server
from slipway.serving.local_server import Server

SCRATCH = "latency"
SERVING = ("requirements/serve.lock",)
STARTED = "src/slipway/serving/local_server.py"
"""How a bento becomes a process; no file of the bento, and still a part of how fast it is."""
LAUNCH = """
import sys
from pathlib import Path
try:
    from slipway.serving import local_server
except ImportError:
    from slipway import server as local_server
bento, port, home, root, log = sys.argv[1:]
running = local_server.start(Path(bento), port=int(port), home=Path(home), root=Path(root), log=Path(log))
sys.exit(running.process.wait())
"""
"""Each side is started by its own code, and by its own interpreter. A base from before the rooms has `slipway.server`."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two: its name, its checkout, the folder its bento is built in, the Python that serves it."""

    name: str
    tree: Path
    folder: Path
    python: Path


@contextmanager
def checkout(revision: str, *, root: Path) -> Iterator[Path | None]:
    """A worktree of the base; None when that commit has no service: no bentofile.yaml, or no dvc.lock."""
    home = environment.cache_home(root) / SCRATCH
    shutil.rmtree(home, ignore_errors=True)
    try:
        with git.worktree(revision, home / "base", root=root) as tree:
            yield tree if (tree / package.BENTOFILE).exists() and (tree / LOCK).exists() else None
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fetch_missing_outputs(tree: Path, *, root: Path) -> None:
    """Bring what Git does not keep of a bento: from DVC's cache, or made by the base's own pipeline; Inconclusive."""
    other_commit.fetch_outputs(tree, [name for name in package.wanted(tree) if not (tree / name).exists()], root=root)


def differing(tree: Path, root: Path) -> list[str]:
    """The files in which the two services differ: what their bentos are made of, and how they are started."""
    names = dict.fromkeys([package.BENTOFILE, STARTED, *package.wanted(tree), *package.wanted(root)])
    return [name for name in names if _content(tree / name) != _content(root / name)]


def _content(path: Path) -> str | None:
    return files.sha256(path) if path.is_file() else None


def copied(root: Path, folder: Path) -> Path:
    """`folder`, with the files of a project's bento alone: to build it there leaves what was packaged here as it is."""
    for name in (package.BENTOFILE, *package.wanted(root)):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def sides(tree: Path, *, root: Path) -> tuple[Side, Side]:
    """Base and head; the base is served by an environment of its own lock when that is another."""
    python = other_commit.python_for_lock(tree, root, SERVING)
    own = copied(root, environment.cache_home(root) / SCRATCH / "head")
    return (
        Side(name="base", tree=tree, folder=tree, python=python),
        Side(name="head", tree=root, folder=own, python=Path(sys.executable)),
    )


def built(two: Sequence[Side], *, name: str) -> list[Path | SlipwayError]:
    """The bento of each, or why there is none."""
    return each(lambda side: package.build(side.folder, name=name, readme="").path, two)


def each(work: Callable[[T], R], items: Sequence[T]) -> list[R | SlipwayError]:
    """`work` on all items at once; an error stands in the place of its result."""

    def tried(item: T) -> R | SlipwayError:
        try:
            return work(item)
        except SlipwayError as error:
            return error

    with ThreadPoolExecutor(max(len(items), 1)) as pool:
        return list(pool.map(tried, items))


@contextmanager
def serving(two: Sequence[Side], bentos: Sequence[Path], *, root: Path) -> Iterator[list[Server | SlipwayError]]:
    """Both services, started at once and ready; in place of one that did not come up, why. Stopped at the end."""
    running: list[Server] = []

    def come(of: tuple[Side, Path, int]) -> Server:
        started = start(*of, root=root)
        running.append(started)
        local_server.wait_ready(started)
        return started

    try:
        yield each(come, list(zip(two, bentos, ports(), strict=True)))
    finally:
        each(kill, running)


def kill(service: Server) -> None:
    """At once: nobody waits for an answer of it, and a second asked for politely is a second of the check."""
    found = processes(service)
    for process in found[1:] or found:  # who started the others sees them end, and ends
        with suppress(psutil.Error):
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        service.process.wait(timeout=5)
    local_server.stop(service)


def ports() -> tuple[int, int]:
    """Two free ports."""
    one, other = local_server.free_port(), local_server.free_port()
    return (one, other) if one != other else ports()


def start(side: Side, bento: Path, port: int, *, root: Path) -> Server:
    """The service of one side; `server.wait_ready` and `server.stop` take it as one of theirs."""
    home = environment.cache_home(root) / SCRATCH / f"serve-{side.name}"
    log = home / "log"
    home.mkdir(parents=True, exist_ok=True)
    words = [str(side.python), "-c", LAUNCH, *map(str, (bento, port, home, root, log))]
    env = environment.for_programs(side.tree, BENTOML_HOME=str(home.resolve()))
    with log.open("ab") as out:
        process = subprocess.Popen(words, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return Server(process, port, home, log)


@contextmanager
def pin_cpus(services: Sequence[Server]) -> Iterator[None]:
    """Services on one core, this thread on another, so that neither is moved; nothing where there are no two cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    for service in services:
        for thread in threads(service):
            with suppress(OSError):  # it ended meanwhile
                os.sched_setaffinity(thread, cores[:1])
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def record_other_cpu(services: Sequence[Server], shares: list[float]) -> Iterator[None]:
    """Add to `shares` what part of all processors neither the services nor this process used while the block ran."""
    before, began = _seconds(services), time.monotonic()
    yield
    after, took = _seconds(services), time.monotonic() - began
    whole, own = (now - then for now, then in zip(after, before, strict=True))
    shares.append(min(max((whole - own) / (took * (os.cpu_count() or 1)), 0.0), 1.0))


def _seconds(services: Sequence[Server]) -> tuple[float, float]:
    """Processor seconds of the whole machine, and those of the services and this process."""
    times, own = psutil.cpu_times(), 0.0
    for process in (psutil.Process(), *(one for service in services for one in processes(service))):
        with suppress(psutil.Error):
            own += sum(process.cpu_times()[:2])
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0), own


def processes(service: Server) -> list[psutil.Process]:
    """All processes of a service."""
    try:
        parent = psutil.Process(service.process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def threads(service: Server) -> list[int]:
    """The threads of all of them."""
    found: list[int] = []
    for process in processes(service):
        with suppress(psutil.Error):
            found += [thread.id for thread in process.threads()]
    return found


def contract(folder: Path) -> object:
    """What a side lets itself be asked."""
    found: Mapping[str, object] = files.read_json(folder / "models/contract.json")
    return found.get("inputs")
