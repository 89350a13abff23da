"""Executable Python scripts that start in a folder of any name, and with an interpreter of any path."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SHEBANG = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} \"$0\" \"$@\"\n' '''\n"
"""The kernel splits a `#!` line at spaces and cuts it at 127 bytes, so a shell starts the interpreter.

The shell reads `exec PYTHON "$0" "$@"`, Python reads one text in quotes; `pip` writes its scripts the same way.
"""


def write_script(path: Path, script: str) -> Path:
    """Write a shell script that can be started; in it `$here` is its folder, whatever the folder's name."""
    path.write_text(f"#!/bin/sh\nhere=${{0%/*}}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path
