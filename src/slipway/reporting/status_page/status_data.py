"""Gather the values of the status page from ledgers and records; pure, bounded in size whatever their length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slipway.core import ledger
from slipway.records.record import Record

MAX_ROWS = 100
"""Ledger lines on the page, the newest ones; the others are counted by environment."""
MAX_POINTS = 120
"""Points of a panel; more records than that are thinned out evenly."""
MAX_CHAPTERS = 40
"""Checks and questions in the table of newest verdicts."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One curve over time: its title, its points (time as text, value), and its newest value."""

    title: str
    points: Sequence[tuple[str, float]]

    @property
    def newest(self) -> float:
        """The value of the last point."""
        return self.points[-1][1]


@dataclass(frozen=True, kw_only=True)
class Status:
    """All that the page shows."""

    current: Mapping[str, ledger.Line | None]
    timeline: Sequence[ledger.Line]
    earlier: Mapping[str, int]
    aborted: frozenset[tuple[str, str]]
    verdicts: Sequence[Record]
    budget: Sequence[Mapping[str, Any]]
    panels: Sequence[Panel]
    waiting: ledger.Line | None


def gather(ledgers: Mapping[str, Sequence[ledger.Line]], records: Sequence[Record]) -> Status:
    """The status of a project from its ledgers by environment and its records."""
    lines = sorted((line for each in ledgers.values() for line in each), key=lambda line: line.at, reverse=True)
    newest = newest_by_chapter(records)
    service = newest.get("monitor-service")
    budget = service.notes.get("budget") if service else None
    return Status(
        current={env: ledger.newest_line(each) for env, each in ledgers.items()},
        timeline=lines[:MAX_ROWS],
        earlier=Counter(line.env for line in lines[MAX_ROWS:]),
        aborted=frozenset((env, each[n].identity) for env, each in ledgers.items() for n in ledger.unstable_positions(each)),
        verdicts=sorted(newest.values(), key=lambda each: each.at, reverse=True)[:MAX_CHAPTERS],
        budget=[row for row in budget if isinstance(row, dict)][:20] if isinstance(budget, list) else [],
        panels=make_panels(records),
        waiting=waiting_for_promotion(ledgers),
    )  # fmt: skip


def newest_by_chapter(records: Sequence[Record]) -> dict[str, Record]:
    """The newest verdict of each chapter."""
    verdicts = [each for each in records if each.verdict is not None]
    return {each.chapter: each for each in sorted(verdicts, key=lambda each: each.at)}


def waiting_for_promotion(ledgers: Mapping[str, Sequence[ledger.Line]]) -> ledger.Line | None:
    """Staging's newest line if production neither runs it nor withdrew it; else None."""
    staged = ledger.newest_line(ledgers.get("staging", ()))
    production = ledgers.get("production", ())
    if staged is None or (production and production[-1].identity == staged.identity):
        return None
    return None if staged.identity in {line.identity for line in ledger.withdrawn_lines(production)} else staged


def make_panels(records: Sequence[Record]) -> list[Panel]:
    """The curves of what `monitor` measured: checks that failed by question, and the estimate without labels."""
    series: dict[str, list[tuple[str, float]]] = {}
    for each in sorted(records, key=lambda each: each.at):
        moment = f"{each.at:%Y-%m-%d %H:%M}"
        if each.chapter.startswith("monitor-"):
            failed = sum(check.get("ok") is False for check in each.checks)
            series.setdefault(f"{each.chapter.removeprefix('monitor-')}: checks that failed", []).append(
                (moment, failed)
            )
        estimate = each.notes.get("estimate")
        if isinstance(estimate, dict):
            for name, value in list(estimate.items())[:3]:
                if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12:
                    series.setdefault(f"estimate without labels: {name}", []).append((moment, float(value)))
    return [Panel(title=title, points=thin(points)) for title, points in list(series.items())[:12]]


def thin(points: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    """At most MAX_POINTS of the points, evenly; the last one is always among them."""
    step = -(-len(points) // MAX_POINTS)
    return list(points[::-1][::step][::-1])
