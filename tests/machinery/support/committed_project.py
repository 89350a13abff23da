"""A repository of the bikes problem as a user would have it: code, stages, locks, one commit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from slipway.core import environment, git
from slipway.pipeline import stages
from support.paths import OBJECTIVE, ROOT

KEPT = ("requirements", ".dvc/config", ".dvcignore", ".gitignore", "loadtests")
LOAD = {"rate: 300": "rate: 60", "rate: 120": "rate: 60", "seconds: 5": "seconds: 2", "seconds: 30": "seconds: 4",
        "users: 16": "users: 4", "at_most: 1.0e-6": "at_most: 1.0e-4", "min_requests: 1000": "min_requests: 60",
        "p95_ms_at_most: 50": "p95_ms_at_most: 500", "p99_ms_at_most: 150": "p99_ms_at_most: 1500",
        "p50_at_most: 0.1 ": "p50_at_most: 3 ", "p95_at_most: 0.15": "p95_at_most: 3",
        "p50_at_most: 0.15": "p50_at_most: 3", "band_at_most: 0.05": "band_at_most: 9"}  # fmt: skip
"""Limits that hold on a machine that is busy with other work: a latency check of equal services may not end unsure."""


def repository(folder: Path) -> Path:
    """Make it in `folder`: what `init` will do to a copy of the template, for another problem."""
    quiet = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src/slipway", folder / "src/slipway", ignore=quiet)
    shutil.copytree(ROOT / "tests/machinery/problems/bikes", folder / "src/bikes", ignore=quiet)
    shutil.move(folder / "src/bikes/params.yaml", folder / "params.yaml")
    for name in KEPT:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, folder / name)
    for name in ("dvc.yaml", "bentofile.yaml"):
        lines = (ROOT / name).read_text("utf-8").splitlines(keepends=True)
        lines = [line.replace("src/flights", "src/bikes") for line in lines]
        (folder / name).write_text("".join(line for line in lines if _exists(line, folder)), "utf-8")
    slo = OBJECTIVE.read_text("utf-8")
    for before, after in LOAD.items():
        assert before in slo
        slo = slo.replace(before, after)
    (folder / "loadtests/slo.yaml").write_text(slo, "utf-8")
    write_fingerprints(folder)
    commit(folder)
    return folder


def _exists(line: str, folder: Path) -> bool:
    """False for a line of a list that names a file of the bikes problem which it does not have, as its lookup."""
    path = line.strip().removeprefix("- ")
    return not path.startswith("src/bikes/") or (folder / path).exists()


def write_fingerprints(folder: Path) -> None:
    """requirements/stages.yaml of the code that is in `folder` now, as `make lock` and `make repro` write it."""
    stages.run(write=True, root=folder)


def begin(folder: Path) -> None:
    """An empty repository with an author, deaf to the machine's hooks."""
    git.run("init", "-q", "-b", "main", root=folder)
    for key, value in (("user.name", "A Tester"), ("user.email", "a@example.org"), ("core.hooksPath", "/dev/null")):
        git.run("config", key, value, root=folder)


def commit(folder: Path) -> None:
    begin(folder)
    git.run("add", "-A", root=folder)
    git.run("commit", "-q", "-m", "A project of its own", root=folder)


def reproduced(folder: Path) -> Path:
    """A repository after `dvc repro`, its lock, metrics and plots committed."""
    command = [sys.executable, "-m", "dvc", "repro", "-q"]
    subprocess.run(command, cwd=repository(folder), env=environment.for_programs(folder), check=True)
    return save(folder)


def save(folder: Path) -> Path:
    """Commit all that changed."""
    git.run("add", "-A", root=folder)
    git.run("commit", "-q", "-m", "Change", root=folder)
    return folder


def edit(path: Path, before: str, after: str) -> None:
    """Replace the first `before` in a file, which must be there."""
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")
