"""Ledger lines of a project called bikes, and a repository with two of them."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core import git, ledger
from support.committed_project import begin


def line(number: int, env: str = "production", **changes: object) -> ledger.Line:
    values = {
        "at": datetime(2026, 3, number, tzinfo=UTC), "env": env, "action": "release", "image": None, "bento": f"bikes:{number}",
        "bento_sha256": f"{number:064x}", "model_sha256": "m", "lock_sha256": "l", "data_sha256": "d", "commit": "c",
        "pull_request": number, "mlflow_run": None, "metrics": {"auc": 0.7}, "verdicts": {"judge": "pass"},
        "evidence": None, "supersedes": None,
    }  # fmt: skip
    return ledger.Line.model_validate(values | changes)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two releases, committed on the 1st and the 5th of March."""
    begin(tmp_path)
    for day in (1, 5):
        ledger.append(line(day), tmp_path)
        git.run("add", "releases", root=tmp_path)
        env = os.environ | {"GIT_COMMITTER_DATE": f"2026-03-0{day}T12:00:00Z"}
        subprocess.run(
            ["git", "commit", "-q", "-m", str(day)],
            cwd=tmp_path,
            check=True,
            env=env,
        )
    return tmp_path
