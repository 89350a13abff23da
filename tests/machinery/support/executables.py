"""Executable Python scripts that start in a folder of any name, and with an interpreter of any path."""

from __future__ import annotations

import shlex
import sys

SHEBANG = f"#!/bin/sh\n'''exec' {shlex.quote(sys.executable)} \"$0\" \"$@\"\n' '''\n"
"""The kernel splits a `#!` line at spaces and cuts it at 127 bytes, so a shell starts the interpreter.

The shell reads `exec PYTHON "$0" "$@"`, Python reads one text in quotes; `pip` writes its scripts the same way.
"""
