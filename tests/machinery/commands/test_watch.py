"""The commands `slo` and `observe`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from slipway.cli import app
from slipway.errors import ConfigError
from support.paths import ROOT


def test_slo_says_that_files_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ended = CliRunner().invoke(app, ["slo"])
    assert (ended.exit_code, ended.stderr) == (0, "slo the generated files below k8s match loadtests/slo.yaml\n")


def test_observe_without_a_service_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ended = CliRunner().invoke(app, ["observe", "--port", "1"])
    assert isinstance(ended.exception, ConfigError)
    assert ended.exception.message == "no service answers on port 1"
