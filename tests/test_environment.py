"""What programs see, and where tools write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipway import environment


def test_programs_keep_their_homes_inside_the_project(tmp_path: Path) -> None:
    found = environment.programs(tmp_path, EXTRA="yes")
    assert found["BENTOML_HOME"].startswith(str(tmp_path))
    assert found["DVC_SITE_CACHE_DIR"].startswith(str(tmp_path))
    assert found["PATH"].startswith(str(Path(sys.executable).parent))
    assert found["PYTHONPATH"].startswith(str(tmp_path / "src"))
    assert found["EXTRA"] == "yes"


def test_tracking_is_a_file_in_the_project_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert environment.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert environment.tracking_uri(tmp_path) == "http://127.0.0.1:5000"
