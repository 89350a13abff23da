"""export: the exported model is the trained one, or nothing is left to serve."""

from __future__ import annotations

from pathlib import Path

from slipway import files


def test_every_row_of_the_window_agrees(project: Path) -> None:
    verdict = files.read_json(project / "reports/export.json")
    assert verdict["verdict"] == "pass"
    assert verdict["rows"] == 501
