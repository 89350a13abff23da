"""Events of a window: moments, log lines, alerts."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from slipway.errors import ConfigError, DataError
from slipway.reporting.incident import timeline

START, END = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 9, tzinfo=UTC)


@pytest.mark.parametrize("text", ["yesterday", "2026-03-04T12:00"])
def test_moment_needs_a_time_zone(text: str) -> None:
    with pytest.raises(ConfigError):
        timeline.parse_moment(text, "--from")


def test_window_must_not_be_reversed() -> None:
    with pytest.raises(ConfigError, match="is not before"):
        timeline.require_order(END, START)


def test_errors_come_before_other_lines() -> None:
    row = '{"at":"2026-03-04T12:00:00Z","level":"%s","message":"m"}'
    lines = [row % "info", row % "error", "no JSON", "[]", '{"at":"2025-01-01T00:00:00Z"}']
    events, left_out = timeline.from_logs([*lines, *[row % "info"] * 300], START, END)
    assert (events[0].kind, len(events), left_out) == ("error", timeline.MAX_LOG_LINES, 302 - timeline.MAX_LOG_LINES)


def test_other_answer_is_no_alert() -> None:
    with pytest.raises(DataError):
        timeline.from_alerts([{"labels": {}}], where="http://127.0.0.1")
