"""Gather what happened in a window of time into one list: ledger lines, records, alerts, log lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.core import files, ledger
from slipway.core.text import printable
from slipway.errors import ConfigError, DataError
from slipway.records.record import Record

MAX_LOG_LINES = 200
"""Log lines on the page: errors first, then the oldest."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened: its time (with a zone), its kind, a sentence, and a page about it if there is one."""

    at: datetime
    kind: str
    text: str
    page: str = ""


def parse_moment(text: str, option: str) -> datetime:
    """A moment with a time zone; ConfigError for another text."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} is {text!r}", expected="a date and time, such as 2026-03-04T12:00Z") from None
    if moment.tzinfo is None:
        raise ConfigError(f"{option} {text} has no time zone", hint=f"add one, e.g. {option} 2026-03-04T12:00Z for UTC")
    return moment


def require_order(start: datetime, end: datetime) -> None:
    """ConfigError unless `start` is before `end`."""
    if start >= end:
        raise ConfigError(f"--from {start.isoformat()} is not before --to {end.isoformat()}", hint="swap the two")


def from_ledger(lines: Iterable[ledger.Line]) -> list[Event]:
    """An event for each ledger line, with its reason."""
    return [Event(at=line.at, kind=line.action, text=_line_text(line)) for line in lines]


def _line_text(line: ledger.Line) -> str:
    reason = (line.evidence or {}).get("reason") or (line.evidence or {}).get("waiver") or ""
    return f"{line.bento} in {line.env}, source {line.commit[:12]}{f': {reason}' if reason else ''}"


def from_records(records: Iterable[Record]) -> list[Event]:
    """An event for each record, with the checks that did not pass."""
    return [Event(at=each.at, kind=each.kind, text=_record_text(each), page=_alert_page(each)) for each in records]


def _record_text(each: Record) -> str:
    bad = [str(check.get("text") or check.get("name")) for check in each.checks if check.get("ok") is not True]
    word = f": {each.verdict}" if each.verdict else ""
    reason = str(each.notes.get("reason") or each.notes.get("summary") or "")
    where = f" ({each.env})" if each.env else ""
    details = "; ".join([*bad[:5], *([reason] if reason else [])])
    return f"{each.chapter}{word}{where} {details}".strip()


def _alert_page(each: Record) -> str:
    return f"docs/alerts/{each.chapter}.md" if each.kind == "alert" and each.chapter.isalnum() else ""


def from_alerts(alerts: Any, *, where: str) -> list[Event]:
    """An event for each alert of Alertmanager's API v2; DataError if the answer has another form."""
    with files.parsing(Path(where), hint="is this the address of an Alertmanager? its API is below /api/v2"):
        return [
            Event(at=parse_moment(alert["startsAt"], "startsAt"), kind="alert",
                  text=f"{alert['labels']['alertname']}: {alert.get('annotations', {}).get('summary', '')}",
                  page=_alert_file(alert["labels"]["alertname"])) for alert in alerts
        ]  # fmt: skip


def _alert_file(name: str) -> str:
    return f"docs/alerts/{name}.md" if name.isalnum() else ""


def from_logs(lines: Iterable[str], start: datetime, end: datetime) -> tuple[list[Event], int]:
    """Events of the service's JSON log lines in the window, errors first and at most MAX_LOG_LINES, and how many were left out.

    A line that is no JSON, or has no time, is skipped: other programs write to the same stream.
    """
    rows = [event for line in lines if (event := _log_event(line)) and start <= event.at <= end]
    rows.sort(key=lambda event: (event.kind != "error", event.at))
    return rows[:MAX_LOG_LINES], max(len(rows) - MAX_LOG_LINES, 0)


def _log_event(line: str) -> Event | None:
    try:
        row: Mapping[str, Any] = json.loads(line)
        at = datetime.fromisoformat(str(row.get("at") or row.get("time") or row.get("timestamp")))
    except (ValueError, AttributeError, RecursionError):
        return None
    if at.tzinfo is None:
        return None
    bad = str(row.get("level", "")).lower() in ("error", "critical") or _is_failure(row.get("status"))
    text = row.get("message") or row.get("msg") or row.get("event") or line
    return Event(at=at, kind="error" if bad else "log", text=printable(text, 300))


def _is_failure(status: object) -> bool:
    return isinstance(status, int) and status >= 500


def in_window(events: Iterable[Event], start: datetime, end: datetime) -> list[Event]:
    """The events from `start` to `end`, oldest first."""
    return sorted((event for event in events if start <= event.at <= end), key=lambda event: event.at)


def read_logs(paths: Sequence[Path]) -> list[str]:
    """The lines of log files; DataError for a file that does not exist."""
    rows: list[str] = []
    for path in paths:
        if not path.is_file():
            raise DataError(f"{path} does not exist or is no file", hint="name a log file of the service")
        rows += path.read_text(encoding="utf-8", errors="replace").splitlines()
    return rows
