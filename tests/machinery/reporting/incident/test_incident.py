"""The page of an incident: what it gathers, and an empty window."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core import ledger
from slipway.errors import Inconclusive
from slipway.records import records_branch
from slipway.records.record import Record
from slipway.reporting.incident import incident
from support import remote_repository
from support.sample_ledger import line


def test_window_shows_releases_and_alerts(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    ledger.append(line(4, bento="<b>bikes</b>"), work)
    alert = Record(at=datetime(2026, 3, 4, 1, tzinfo=UTC), kind="alert", chapter="SlowAnswers", env="production")
    records_branch.append([alert], root=work)
    assert incident.run("2026-03-01T00:00Z", "2026-03-09T00:00Z", root=work).startswith("2 events")
    page = (work / "reports/incident/index.html").read_text("utf-8")
    assert "docs/alerts/SlowAnswers.md" in page
    assert "<b>" not in page


def test_empty_window_is_a_sentence(tmp_path: Path) -> None:
    _, work = remote_repository.remote(tmp_path)
    assert incident.run("2026-03-01T00:00Z", "2026-03-02T00:00Z", root=work).startswith("no events")
    assert "Nothing was released" in (work / "reports/incident/incident.md").read_text("utf-8")


def test_absent_alertmanager_is_inconclusive() -> None:
    with pytest.raises(Inconclusive, match="did not answer"):
        incident.fetch_alerts("http://127.0.0.1:1")
