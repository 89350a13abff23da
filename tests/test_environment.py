"""What programs see, and where tools write."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from slipway import environment
from slipway.errors import ConfigError


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


def test_a_step_of_a_workflow_is_told_by_its_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"EVENT_PATH": "/e", "REPOSITORY": "o/r", "API_URL": "https://a", "SERVER_URL": "https://s", "TOKEN": "t0p"}
    for name, value in told.items():
        monkeypatch.setenv(f"GITHUB_{name}", value)
    found = environment.actions()
    assert (found.event, found.repository, found.api) == (Path("/e"), "o/r", "https://a")
    assert (found.server, found.token) == ("https://s", "t0p")
    assert "t0p" not in repr(found)


@pytest.mark.parametrize("name", ["EVENT_PATH", "REPOSITORY", "API_URL", "SERVER_URL", "TOKEN"])
def test_a_step_without_one_of_them_is_told_which(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("EVENT_PATH", "REPOSITORY", "API_URL", "SERVER_URL", "TOKEN"):
        monkeypatch.setenv(f"GITHUB_{each}", "" if each == name else "x")
    with pytest.raises(ConfigError, match=f"not set: GITHUB_{name}$"):
        environment.actions()
