"""The import contract of pyproject.toml: kept, and red once an import is put back that it forbids."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

FORBIDDEN = {
    "a room imports a higher one": (
        "core/git.py", "from slipway.cluster import kubectl", "slipway.core.git -> slipway.cluster.kubectl"),
    "siblings know each other": (
        "delivery/policy.py", "from slipway.judging import judge", "slipway.delivery.policy -> slipway.judging.judge"),
    "the loop needs a drill": (
        "sandbox/loop.py", "from slipway.sandbox.drills import context", "slipway.sandbox.loop -> slipway.sandbox.drills"),
    "the service reads Git": (
        "serving/service.py", "from slipway.core import git", "slipway.serving.service -> slipway.core.git"),
    "the gate's image needs NumPy": (
        "loadtest/canary_statistics.py", "import numpy", "slipway.loadtest.canary_statistics -> numpy"),
    "the comment job loads Jinja": (
        "github/comment.py", "import jinja2", "slipway.github.comment -> jinja2"),
}  # fmt: skip


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """`lint-imports` over the package in `folder`, as `make check` calls it."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(folder / "src"), "COLUMNS": "200"}, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its settings, to break."""
    shutil.copytree(ROOT / "src/slipway", tmp_path / "src/slipway", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_imports_keep_the_contract(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout
    assert " 0 broken" in done.stdout


@pytest.mark.parametrize(("module", "line", "arrow"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_a_forbidden_import_is_red_and_named(copy: Path, module: str, line: str, arrow: str) -> None:
    path = copy / "src/slipway" / module
    path.write_text(path.read_text("utf-8").replace("\nfrom slipway", f"\n{line}\nfrom slipway", 1), "utf-8")
    done = lint(copy)
    assert done.returncode == 1
    assert arrow in done.stdout.replace("\n", " ")
