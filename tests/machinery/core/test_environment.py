"""What programs see, and where tools write."""

from __future__ import annotations

import sys
from base64 import b64decode
from pathlib import Path

import pytest

from slipway.core import environment
from slipway.errors import ConfigError


def test_programs_keep_their_homes_inside_the_project(tmp_path: Path) -> None:
    found = environment.for_programs(tmp_path, EXTRA="yes")
    assert found["BENTOML_HOME"].startswith(str(tmp_path))
    assert found["DVC_SITE_CACHE_DIR"].startswith(str(tmp_path))
    assert found["PATH"].startswith(str(Path(sys.executable).parent))
    assert found["PYTHONPATH"].startswith(str(tmp_path / "src"))
    assert found["EXTRA"] == "yes"


def test_tracking_is_a_file_in_the_project_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert environment.tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    assert environment.tracking_uri(Path("/x/c?d #%41")) == "sqlite+pysqlite:////x/c%3Fd %23%2541/mlflow.db"
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
    with pytest.raises(ConfigError, match=f"the environment lacks GITHUB_{name}, which"):
        environment.actions()


def test_forge_is_there_only_with_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EVENT_PATH", "REPOSITORY", "API_URL", "SERVER_URL", "TOKEN"):
        monkeypatch.setenv(f"GITHUB_{name}", "x")
    assert environment.github() == environment.actions()
    for name in ("TOKEN", "REPOSITORY"):
        monkeypatch.setenv(f"GITHUB_{name}", "")
        assert environment.github() is None
        monkeypatch.setenv(f"GITHUB_{name}", "x")
    monkeypatch.setenv("GITHUB_API_URL", "")
    with pytest.raises(ConfigError, match="the environment lacks GITHUB_API_URL"):
        environment.github()


def test_a_steps_output_is_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", "/o")
    assert environment.step_output() == Path("/o")
    monkeypatch.delenv("GITHUB_OUTPUT")
    assert environment.step_output() is None


def test_gits_token_goes_to_its_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "t0p")
    monkeypatch.setenv("GITHUB_SERVER_URL", "https://github.com/")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    found = environment.git_login()
    assert found["GIT_TERMINAL_PROMPT"] == "0"
    assert found["GIT_CONFIG_COUNT"] == "2"
    assert found["GIT_CONFIG_KEY_1"] == "http.https://github.com/.extraheader"
    assert b64decode(found["GIT_CONFIG_VALUE_1"].removeprefix("AUTHORIZATION: basic ")) == b"x-access-token:t0p"


@pytest.mark.parametrize(("token", "server"), [("", "https://github.com"), ("t0p", ""), ("t0p", "http://github.com")])
def test_git_has_no_token_without_a_safe_server(token: str, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", token)
    monkeypatch.setenv("GITHUB_SERVER_URL", server)
    assert not [name for name in environment.git_login() if name.startswith("GIT_CONFIG_VALUE")]
