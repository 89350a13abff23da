"""The command `slo`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from slipway import cli
from support.paths import ROOT


def test_slo_says_that_files_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ended = CliRunner().invoke(cli.app, ["slo"])
    assert (ended.exit_code, ended.stderr) == (0, "slo k8s/observability matches loadtests/slo.yaml\n")
