"""Executable scripts that start in a folder of any name, and with an interpreter of any path; a Git that is killed."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

SHEBANG = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} \"$0\" \"$@\"\n' '''\n"
"""The kernel splits a `#!` line at spaces and cuts it at 127 bytes, so a shell starts the interpreter.

The shell reads `exec PYTHON "$0" "$@"`, Python reads one text in quotes; `pip` writes its scripts the same way.
"""


def write_script(path: Path, script: str) -> Path:
    """Write a shell script that can be started; in it `$here` is its folder, whatever the folder's name."""
    path.write_text(f"#!/bin/sh\nhere=${{0%/*}}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def kill_git(folder: Path, condition: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a Git first on PATH that is killed when the shell's `condition` holds for its arguments "$*"."""
    folder.mkdir()
    real = shutil.which("git")
    write_script(folder / "git", f'{condition} && kill -9 $$; exec {real} "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
