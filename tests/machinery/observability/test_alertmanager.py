"""Alertmanager's configuration, checked and asked by its own program."""

from __future__ import annotations

import subprocess
from pathlib import Path

from slipway.observability import alertmanager, generate
from support import engines


def amtool(folder: Path, *arguments: str) -> str:
    program = engines.require("amtool")
    (folder / "config.yaml").write_text(generate.dump(alertmanager.build()), encoding="utf-8")
    return subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_alertmanager_accepts_its_configuration(tmp_path: Path) -> None:
    assert "SUCCESS" in amtool(tmp_path, "check-config", "config.yaml")


def test_each_severity_has_its_receiver(tmp_path: Path) -> None:
    for severity in alertmanager.RECEIVERS:
        route = ("config", "routes", "test", "--config.file=config.yaml", f"severity={severity}")
        assert amtool(tmp_path, *route).strip() == severity
