"""Run every command of `slipway` in this process, in a small finished project that is whole again after each run."""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import os
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from slipway import cli
from slipway.commands.command import walk
from slipway.core import git
from support.opened_files import watch

VALUES = {
    "source": "data/new.parquet", "out": "predictions.parquet", "names": "all", "reason": "too slow", "file": "labels.csv",
    "start": "2026-03-04T00:00Z", "end": "2026-03-05T00:00Z",
    "url": "store",
}  # fmt: skip
"""A value for each parameter that a command requires; a new one needs a line here."""
OPTIONS = {"serve": ["--port", "0"], "load": ["--host", "http://127.0.0.1:9"]}
"""Options that keep a command off the ports that a user's services have."""
STATIC = ("GIT_AUTHOR_NAME", "HOME", "LANG", "PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS")
"""The variables of the environment that a run keeps: no token, address or setting of this machine."""
OWN = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "NO_PROXY": "*"}
"""Nothing answers there, at once: to make an embedded store takes seconds."""
TOOLS = ("kubectl", "kustomize", "argocd", "docker", "podman", "buildah", "uv", "dvc", "file")
"""Programs that are on no user's PATH for certain; here they all fail."""


def command_lines() -> dict[str, list[str]]:
    """The words of every command of the app, with a value for each parameter that it requires."""
    lines = {}
    for name, command in walk(typer.main.get_command(cli.app)):  # type: ignore[arg-type]
        if hasattr(command, "commands") and command.no_args_is_help:  # it does nothing of its own
            continue
        lines[name] = [*name.split(), *OPTIONS.get(name, ())]
        for parameter in command.params:
            if parameter.required:
                option = [] if parameter.param_type_name == "argument" else [parameter.opts[0]]
                lines[name] += [*option, VALUES[parameter.name]]
    return lines


@dataclass(frozen=True)
class Outcome:
    """The end of a command: its exit code and all that it printed."""

    code: int
    out: str
    err: str

    @property
    def topic(self) -> str:
        """The beginning of the error, without numbers and hashes."""
        line = next((line for line in self.err.splitlines() if line.startswith("error ")), "")
        return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "", line)[:60]

    def faults(self, names: Sequence[str] = ()) -> list[str]:
        """What a person may not see: an exit code of a bug, a traceback, no next step, and no name of the thing."""
        text = self.out + self.err
        wrong = [] if self.code in (0, 2, 3, 4, 5) else [f"exit code {self.code}"]
        wrong += ["a traceback"] if "Traceback" in text or "most recent call" in text else []
        if self.code:
            wrong += [] if "error " in self.err else ["no error"]
            wrong += [] if "next: " in self.err else ["no next step"]
            wrong += [] if not names or any(name in self.err for name in names) else [f"none of {', '.join(names)}"]
        return wrong


class World:
    """A project at `root`, and a copy of it that restores what a run or an edge changed."""

    def __init__(self, original: Path, folder: Path) -> None:
        self.original = original
        self.root = shutil.copytree(original, folder, symlinks=True)
        self.programs = folder.parent / f"{folder.name}-programs"
        self.programs.mkdir()
        self.python = self.program("python", "kill -9 $$")
        self.fail_tools()
        git.run("update-index", "-q", "--refresh", root=self.root)  # or Git would read all files of the copy, each time
        shutil.copy2(self.root / ".git/index", original / ".git/index")
        self.remember()

    def program(self, name: str, script: str) -> Path:
        """Write a program that is first on PATH."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def fail_tools(self) -> None:
        """Make every program of TOOLS fail."""
        for tool in TOOLS:
            self.program(tool, f"echo 'error: {tool} is not here' >&2; exit 1")

    def remember(self) -> None:
        """Take the project as it is for whole."""
        self._files, self._folders = _state(self.root)

    def restore(self) -> None:
        """Make the project whole again: every file that differs is copied, and every other one removed."""
        files, folders = _state(self.root)
        for path in [*(files.keys() - self._files.keys())]:
            path.unlink()
        for folder in sorted(folders - self._folders, reverse=True):
            shutil.rmtree(folder, ignore_errors=True)
        for path in (path for path, state in self._files.items() if files.get(path) != state):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            shutil.copy2(self.original / path.relative_to(self.root), path, follow_symlinks=False)
            self._files[path] = _stat(path)
        for folder in self._folders:
            folder.mkdir(exist_ok=True, parents=True)

    def call(self, *words: str, **variables: str) -> Outcome:
        """Run a command in this process, whose Python children are killed at once, and restore the project."""
        patch = pytest.MonkeyPatch()
        out, err, code = io.StringIO(), io.StringIO(), 0
        kept = {name: os.environ[name] for name in STATIC if name in os.environ}
        try:
            for name in os.environ:
                patch.delenv(name)
            for name, value in {**kept, **OWN, "PATH": f"{self.programs}:/usr/bin:/bin", **variables}.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["slipway", *words])
            patch.setattr(sys, "executable", str(self.python))
            with contextlib.chdir(self.root), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    cli.main()
                except SystemExit as end:
                    code = end.code if isinstance(end.code, int) else 1 if end.code else 0
                except BaseException:
                    code = 1
                    traceback.print_exc()
        finally:
            patch.undo()
        return Outcome(code, out.getvalue(), err.getvalue())

    def files_read(self, *words: str) -> tuple[Outcome, list[Path]]:
        """The outcome of a command in the whole project, and the project's own files that it read."""
        folders = [self.root, *(folder for folder in self._folders if ".git" not in folder.parts)]
        with watch(folders) as opened:
            outcome = self.call(*words)
        self.restore()
        return outcome, sorted(opened & self._files.keys())


def _stat(path: Path) -> tuple[int, int, int, int]:
    status = path.lstat()
    return status.st_mtime_ns, status.st_size, status.st_mode, status.st_ino


def _state(root: Path) -> tuple[dict[Path, tuple[int, int, int, int]], set[Path]]:
    """The state of every file below a folder, and the folders."""
    files, folders = dict[Path, tuple[int, int, int, int]](), set[Path]()
    for folder, _, names in os.walk(root):
        folders.add(Path(folder))
        files |= {path: _stat(path) for path in (Path(folder, name) for name in names)}
    return files, folders


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("process", ctypes.c_int)]


class _Sets(ctypes.Structure):
    _fields_ = [("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inherited", ctypes.c_uint32)]


@contextlib.contextmanager
def modes_hold() -> Iterator[None]:
    """Give up root's right to open every file in this thread, so that `chmod 000` means something; no change for others."""
    libc, header, sets = ctypes.CDLL(None), _Header(0x20080522, 0), (_Sets * 2)()
    libc.capget(ctypes.byref(header), ctypes.byref(sets))
    before = sets[0].effective
    sets[0].effective = before & ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(ctypes.byref(header), ctypes.byref(sets)) == 0
    try:
        yield
    finally:
        sets[0].effective = before
        libc.capset(ctypes.byref(header), ctypes.byref(sets))


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def take_read_permission(path: Path) -> None:
    path.chmod(0)


def write_undecodable(path: Path) -> None:
    path.write_bytes(b"\xff\xfe\x00\xe9\n" + path.read_bytes())


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def write_other_form(path: Path) -> None:
    """What is a file of the same kind and has none of the things that should be in it."""
    if path.suffix == ".parquet":
        import polars as pl

        pl.DataFrame({"x": [1]}).write_parquet(path)
    elif path.suffix == ".joblib":
        import joblib

        joblib.dump({}, path)
    elif path.suffix in (".db", ".sqlite"):
        import sqlite3

        path.unlink()
        with contextlib.closing(sqlite3.connect(path)) as store, store:
            store.execute("CREATE TABLE x (y)")
    elif path.suffix == ".json":
        value = json.loads(path.read_bytes())
        path.write_text(json.dumps({key: [[]] for key in value} if isinstance(value, dict) else {"x": value}), "utf-8")
    else:
        path.write_bytes(b"[1]\n")


def write_deep_nesting(path: Path) -> None:
    path.write_bytes(b"[" * 1200 + b"\n")
