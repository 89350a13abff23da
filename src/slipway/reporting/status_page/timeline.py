"""Draw the newest ledger lines as one lane for each environment, over one common axis of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from slipway.core import ledger
from slipway.reporting.status_page.status_data import Status

WIDTH, HEIGHT = 600, 28
"""The size of a lane; its marks keep MARGIN from both ends."""
MARGIN = 12
WORDS = {"release": "released", "promote": "promoted", "rollback": "rolled back", "aborted": "canary aborted"}
Kind = Literal["release", "promote", "rollback", "aborted"]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One ledger line: its place on the axis, its kind, and a title for a pointer that rests on it."""

    x: float
    kind: Kind
    title: str


@dataclass(frozen=True, kw_only=True)
class Lane:
    """The marks of an environment, oldest first, and a sentence that says the same to a reader of the page."""

    env: str
    marks: Sequence[Mark]
    summary: str


def make_lanes(status: Status) -> list[Lane]:
    """A lane for each environment that the shown lines name; the axis runs from the oldest of these lines to the newest."""
    lines = status.timeline[::-1]
    if not lines:
        return []
    start, span = lines[0].at, (lines[-1].at - lines[0].at).total_seconds() or 1.0
    marks: dict[str, list[Mark]] = {env: [] for env in status.current}
    for line in lines:
        kind = "aborted" if (line.env, line.identity) in status.aborted else line.action
        x = MARGIN + (WIDTH - 2 * MARGIN) * (line.at - start).total_seconds() / span
        marks.setdefault(line.env, []).append(Mark(x=round(x, 1), kind=kind, title=_title(line, kind)))
    return [Lane(env=env, marks=each, summary=_summary(env, each)) for env, each in marks.items()]


def _title(line: ledger.Line, kind: Kind) -> str:
    return f"{line.at:%Y-%m-%d %H:%M}: {WORDS[kind]}, {line.bento}"


def _summary(env: str, marks: Sequence[Mark]) -> str:
    counts = Counter(mark.kind for mark in marks)
    parts = [f"{count} {WORDS[kind]}" for kind, count in counts.items()]
    return f"{env}: {', '.join(parts) or 'nothing was released'}"
