"""A program `kubectl` that notes its arguments and prints what it is given; no API server is played."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.executables import write_script
from support.paths import RECORDED

SCRIPT = """PATH=/usr/bin:/bin
printf '%s\\n' "$*" >>"$here/asked"
[ "$1" = kustomize ] && exec cat "$here/rendered"
[ "$3" = - ] && cat >"$here/stdin"
exec cat "$here/said"
"""
"""Prints the file `said`, for `kustomize` the file `rendered`; its arguments go to `asked`, its input to `stdin`."""
TURNS = 'PATH=/usr/bin:/bin; cd "$here"; read turn <turn; echo "x$turn" >turn; exec cat "said.$turn"'


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put `kubectl` into `folder`, which alone becomes PATH."""
    folder.mkdir()
    write_script(folder / "kubectl", SCRIPT)
    (folder / "said").touch()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def says(folder: Path, name: str) -> None:
    """Print a recorded application from now on."""
    shutil.copy(RECORDED / f"{name}.json", folder / "said.new")
    (folder / "said.new").replace(folder / "said")


def says_in_turn(folder: Path, *names: str) -> None:
    """Print another recorded application at each call."""
    for turn, name in enumerate(names):
        shutil.copy(RECORDED / f"{name}.json", folder / f"said.{turn * 'x'}")
    write_script(folder / "kubectl", TURNS)
    (folder / "turn").write_text("\n", encoding="utf-8")
