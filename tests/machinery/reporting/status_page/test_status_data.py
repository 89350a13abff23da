"""The values of the status page: what waits, newest verdicts, bounded curves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slipway.records.record import Record
from slipway.reporting.status_page import status_data
from support.sample_ledger import line

AT = datetime(2026, 3, 4, tzinfo=UTC)


def verdict(number: int, chapter: str = "monitor-inputs", word: str = "pass") -> Record:
    values = {"at": AT + timedelta(hours=number), "kind": "verdict", "chapter": chapter, "verdict": word}
    return Record.model_validate(values)


def test_staged_release_waits_for_promotion() -> None:
    assert status_data.waiting_for_promotion({"staging": [line(1, "staging")], "production": []}) is not None
    assert status_data.waiting_for_promotion({"staging": [line(1, "staging")], "production": [line(1)]}) is None


def test_newest_verdict_of_each_check_counts() -> None:
    newest = status_data.newest_by_chapter([verdict(2, word="fail"), verdict(1)])
    assert newest["monitor-inputs"].verdict == "fail"


def test_curves_have_few_points() -> None:
    (panel,) = status_data.make_panels([verdict(number) for number in range(10_000)])
    assert len(panel.points) <= status_data.MAX_POINTS
    assert panel.points[-1][0] == f"{AT + timedelta(hours=9999):%Y-%m-%d %H:%M}"
