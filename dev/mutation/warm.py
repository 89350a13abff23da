"""Run tests in children of one pytest process that has already collected them and imported the libraries.

A job is a few tests in an environment. Nothing that starts threads may run before a fork, so the parent only imports.
Folders that fixtures of a session or a module made are kept, and copied for later children instead of made again.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

SLOW = ("polars", "pandera.polars", "sklearn.ensemble", "sklearn.pipeline", "sklearn.linear_model", "skl2onnx", "joblib",
        "onnxruntime", "matplotlib.figure", "scipy.sparse", "bikes.model",
        "slipway.cli", "slipway.pipeline.plots", "bentoml")  # fmt: skip
FINGERPRINTED = "test_stages_declare_what_they_reach"
"""A project's check that its fingerprints are current; those of code with switches are not."""
APART = ("cluster", "act", "source_text")
"""Marks of tests that need more than this machine, or more than seconds."""
AT_ONCE = 2
ENOUGH = 3
"""Red tests after which a job looks for no better one."""


@dataclass
class Job:
    """Tests to run in one child, with `env` on top; with `until_red` until one goes red by an assertion.

    A test counts as hung after `most_seconds`, the whole job after ten times as many.
    """

    key: str
    tests: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    until_red: bool = True
    most_seconds: float = 20.0


@dataclass
class Told:
    """The result of a child: seconds of each test, how the red ones are, its fixtures' folders."""

    seconds: dict[str, float] = field(default_factory=dict)
    red: dict[str, str] = field(default_factory=dict)
    said: str = ""
    folders: dict[str, list[str]] = field(default_factory=dict)
    live: dict[str, list[str]] = field(default_factory=dict)
    hung: bool = False


class Warm:
    """A pytest plugin: in place of its loop, `work(self)` is called with all tests collected."""

    def __init__(self, scratch: Path, work: Callable[[Warm], None]) -> None:
        self.scratch, self.work = scratch, work
        self.items: dict[str, pytest.Item] = {}
        self.folders: dict[str, list[str]] = {}
        self.told = Told()
        self.copies: dict[str, Path] = {}
        self.count = 0

    # In the parent

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Import what is slow, then hand over."""
        for name in SLOW:
            importlib.import_module(name)
        wanted = [item for item in session.items
                  if not any(map(item.get_closest_marker, APART)) and item.name != FINGERPRINTED]  # fmt: skip
        self.items = {item.nodeid: item for item in wanted}
        self.work(self)
        return True

    def run(self, jobs: Iterable[Job], at_once: int = AT_ONCE) -> Iterator[tuple[Job, Told]]:
        """Each job in a child of its own, `at_once` at once; as they end."""
        waiting, running = iter(jobs), dict[int, tuple[Job, Path, float]]()
        while True:
            while len(running) < at_once and (job := next(waiting, None)):
                self.count += 1
                folder = self.scratch / f"{self.count:04}"
                folder.mkdir()
                running[self._fork(job, folder)] = job, folder, time.monotonic()
            if not running:
                return
            pid, job, folder, hung = _ended(running)
            del running[pid]
            kept = folder / "told.json"
            told = Told(**json.loads(kept.read_text("utf-8"))) if kept.exists() else Told(said=_tail(folder))
            told.hung = hung
            self.folders.update(told.folders)
            if not told.folders:
                shutil.rmtree(folder, ignore_errors=True)
            yield job, told

    def _fork(self, job: Job, folder: Path) -> int:
        if pid := os.fork():
            return pid
        try:
            os.setpgid(0, 0)
            self._child(job, folder)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    # In the child

    def _child(self, job: Job, folder: Path) -> None:
        out = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.environ.update(job.env, PYTEST_DEBUG_TEMPROOT=str(folder))
        self.folder = folder
        items = [self.items[name] for name in job.tests]
        for item, after in zip(items, [*items[1:], None], strict=True):
            with limited(job.most_seconds):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if job.until_red and ("assert" in self.told.red.values() or len(self.told.red) >= ENOUGH):
                break
        items[0].session._setupstate.teardown_exact(None)
        (folder / "told.json").write_text(json.dumps(vars(self.told)), "utf-8")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the seconds and the failures."""
        self.told.seconds[report.nodeid] = self.told.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.told.red.setdefault(report.nodeid, _how(report))
            self.told.said = self.told.said or report.longreprtext[-3000:]

    def kept(self, fixturedef: Any, request: pytest.FixtureRequest) -> str:
        """The name under which a fixture's folder is kept for other children; empty when it is not."""
        apart = fixturedef.argname == "tmp_path_factory" or hasattr(request, "param")
        apart = apart or fixturedef.scope not in ("session", "module")
        return "" if apart else f"{fixturedef.baseid}::{fixturedef.argname}"

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Any:
        """Note the folders that are made, and what cannot be copied: servers."""
        value = yield
        if (key := self.kept(fixturedef, request)) and key not in self.folders:
            base = request.getfixturevalue("tmp_path_factory").getbasetemp()
            if isinstance(value, Path) and value.is_relative_to(base):
                self.told.folders[key] = [str(base), value.relative_to(base).as_posix()]
            elif inspect.isgeneratorfunction(fixturedef.func):
                self.told.live.setdefault(fixturedef.argname, []).append(key)
        return value

    def copied(self, key: str) -> Path:
        """This child's own copy of a folder that an earlier one made."""
        base, name = self.folders[key]
        top, _, rest = name.partition("/")
        made = Path(base) / top
        if str(made) not in self.copies:
            target = self.folder / "copies" / str(len(self.copies)) / top
            self.copies[str(made)] = shutil.copytree(made, target, symlinks=True)
        return self.copies[str(made)] / rest if rest else self.copies[str(made)]


class Instead:
    """A pytest plugin that copies a fixture's folder instead of making it again."""

    def __init__(self, warm: Warm) -> None:
        self.warm = warm

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: pytest.FixtureRequest) -> Path | None:
        """None leaves it to pytest."""
        if (key := self.warm.kept(fixturedef, request)) not in self.warm.folders:
            return None
        value = self.warm.copied(key)
        fixturedef.cached_result = (value, fixturedef.cache_key(request), None)
        return value


def _ended(running: Mapping[int, tuple[Job, Path, float]]) -> tuple[int, Job, Path, bool]:
    """The next child that ends; one that takes too long is ended."""
    while True:
        for pid, (job, folder, started) in running.items():
            hung = time.monotonic() - started > 10 * job.most_seconds
            if hung:
                os.killpg(pid, signal.SIGKILL)
            if os.waitpid(pid, 0 if hung else os.WNOHANG)[0]:
                return pid, job, folder, hung
        time.sleep(0.01)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """The test that runs now goes red after `seconds`, if Python still listens."""

    def ring(*_: object) -> None:
        pytest.fail("hung")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)


def _how(report: pytest.TestReport) -> str:
    """The kind of a failure: an "assert" of the test's own, a "crash" of the code, its "setup", or that it "hung"."""
    message = getattr(getattr(report.longrepr, "reprcrash", None), "message", "")
    if message == "Failed: hung":
        return "hung"
    if report.when != "call":
        return "setup"
    return "assert" if message.startswith(("AssertionError", "assert ", "Failed: ")) else "crash"


def _tail(folder: Path) -> str:
    return (folder / "log").read_text("utf-8", errors="replace")[-2000:]


def main(arguments: Sequence[str], scratch: Path, work: Callable[[Warm], None]) -> int:
    """pytest with `arguments`, its loop replaced by `work`."""
    options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
    warm = Warm(scratch, work)
    return int(pytest.main([*options, *arguments], plugins=[warm, Instead(warm)]))
