"""Build and run the services of a change and of its base, each from its own files, at the same time."""

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
STARTERS = ("src/slipway/serving/local_server.py", "src/slipway/server.py")
"""The module that starts a bento as a process, now and before there were rooms. It is not in the bento, but its options
are part of how fast the service is."""
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
"""Starts a side with its own code and interpreter. A base from before there were rooms has `slipway.server`."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two services: its name, its checkout, the folder its bento is built in, the Python that runs it."""

    name: str
    tree: Path
    folder: Path
    python: Path


@contextmanager
def checkout(revision: str, *, root: Path) -> Iterator[Path | None]:
    """A worktree of `revision`; None when that commit has no service: no bentofile.yaml, or no dvc.lock."""
    home = environment.cache_home(root) / SCRATCH
    shutil.rmtree(home, ignore_errors=True)
    try:
        with git.worktree(revision, home / "base", root=root) as tree:
            yield tree if (tree / package.BENTOFILE).exists() and (tree / LOCK).exists() else None
    finally:
        shutil.rmtree(home, ignore_errors=True)


def fetch_missing_outputs(tree: Path, *, root: Path) -> None:
    """Restore the files of a bento that Git does not keep: from DVC's cache, or by the base's own pipeline; else Inconclusive."""
    other_commit.fetch_outputs(
        tree, [name for name in package.included_files(tree) if not (tree / name).exists()], root=root
    )


def differing_files(tree: Path, root: Path) -> list[str]:
    """The files that differ between the two services: those of their bentos, and those that start them."""
    names = dict.fromkeys([package.BENTOFILE, *STARTERS, *package.included_files(tree), *package.included_files(root)])
    return [name for name in names if _sha256(tree / name) != _sha256(root / name)]


def _sha256(path: Path) -> str | None:
    return files.sha256(path) if path.is_file() else None


def copy_bento_files(root: Path, folder: Path) -> Path:
    """Copy the files of a project's bento into `folder`: a build there leaves the project's own packaged bento alone."""
    for name in (package.BENTOFILE, *package.included_files(root)):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def make_sides(tree: Path, *, root: Path) -> tuple[Side, Side]:
    """Base and head; the base gets an environment of its own when its lock of serving is another."""
    python = other_commit.python_for_lock(tree, root, SERVING)
    head_folder = copy_bento_files(root, environment.cache_home(root) / SCRATCH / "head")
    return (
        Side(name="base", tree=tree, folder=tree, python=python),
        Side(name="head", tree=root, folder=head_folder, python=Path(sys.executable)),
    )


def build_bentos(two: Sequence[Side], *, name: str) -> list[Path | SlipwayError]:
    """The folder of each side's bento; the error in its place when it cannot be built."""
    return run_in_parallel(lambda side: package.build(side.folder, name=name, readme="").path, two)


def run_in_parallel(work: Callable[[T], R], items: Sequence[T]) -> list[R | SlipwayError]:
    """`work` on all items at once, in threads; the result of an item that fails is its error."""

    def result_or_error(item: T) -> R | SlipwayError:
        try:
            return work(item)
        except SlipwayError as error:
            return error

    with ThreadPoolExecutor(max(len(items), 1)) as pool:
        return list(pool.map(result_or_error, items))


@contextmanager
def run_services(two: Sequence[Side], bentos: Sequence[Path], *, root: Path) -> Iterator[list[Server | SlipwayError]]:
    """Start both services at once and wait until they are ready; they are killed when the block ends.

    In place of a service that did not start is its error.
    """
    running: list[Server] = []

    def start_and_wait(job: tuple[Side, Path, int]) -> Server:
        server = start(*job, root=root)
        running.append(server)
        local_server.wait_ready(server)
        return server

    try:
        yield run_in_parallel(start_and_wait, list(zip(two, bentos, free_ports(), strict=True)))
    finally:
        run_in_parallel(kill, running)


def kill(service: Server) -> None:
    """Kill the service immediately; a graceful stop would only lengthen the check."""
    members = processes(service)
    for process in members[1:] or members:  # the parent sees its children end, and ends
        with suppress(psutil.Error):
            process.kill()
    with suppress(subprocess.TimeoutExpired):
        service.process.wait(timeout=5)
    local_server.stop(service)


def free_ports() -> tuple[int, int]:
    """Two free ports of this machine."""
    one, other = local_server.find_free_port(), local_server.find_free_port()
    return (one, other) if one != other else free_ports()


def start(side: Side, bento: Path, port: int, *, root: Path) -> Server:
    """Start the service of one side, without waiting for it; `local_server.wait_ready` and `stop` work with it."""
    home = environment.cache_home(root) / SCRATCH / f"serve-{side.name}"
    log = home / "log"
    files.make_folder(home)
    command = [str(side.python), "-c", LAUNCH, *map(str, (bento, port, home, root, log))]
    env = environment.for_programs(side.tree, BENTOML_HOME=str(home.resolve()))
    with files.writing(log), log.open("ab") as out:
        process = subprocess.Popen(command, cwd=home, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return Server(process, port, home, log)


@contextmanager
def pin_cpus(services: Sequence[Server]) -> Iterator[None]:
    """Pin the services to one core and this thread to another, so that the system does not move them; needs two cores."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield
        return
    for service in services:
        for thread in threads(service):
            with suppress(OSError):  # the thread ended
                os.sched_setaffinity(thread, cores[:1])
    os.sched_setaffinity(0, cores[-1:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def record_other_cpu(services: Sequence[Server], shares: list[float]) -> Iterator[None]:
    """Append the share of all processors that other programs used during the block to `shares`."""
    before, started = _cpu_seconds(services), time.monotonic()
    yield
    after, elapsed = _cpu_seconds(services), time.monotonic() - started
    machine, own = (end - begin for end, begin in zip(after, before, strict=True))
    shares.append(min(max((machine - own) / (elapsed * (os.cpu_count() or 1)), 0.0), 1.0))


def _cpu_seconds(services: Sequence[Server]) -> tuple[float, float]:
    """Processor seconds of the machine, and those of the services and this process."""
    times, own = psutil.cpu_times(), 0.0
    for process in (psutil.Process(), *(one for service in services for one in processes(service))):
        with suppress(psutil.Error):
            own += sum(process.cpu_times()[:2])
    return sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0), own


def processes(service: Server) -> list[psutil.Process]:
    """The processes of a service, its parent first; empty when it has ended."""
    try:
        parent = psutil.Process(service.process.pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.Error:
        return []


def threads(service: Server) -> list[int]:
    """The thread ids of all processes of a service."""
    ids: list[int] = []
    for process in processes(service):
        with suppress(psutil.Error):
            ids += [thread.id for thread in process.threads()]
    return ids


def input_schema(folder: Path) -> object:
    """The input schema of a side's model."""
    contract: Mapping[str, object] = files.read_json(folder / "models/contract.json")
    return contract.get("inputs")
