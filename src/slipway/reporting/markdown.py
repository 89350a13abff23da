"""Markdown in safe pieces: text of others that stays text, tables, folds, bars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from slipway.core import text
from slipway.reporting import summary

PAGE = Path("reports/report.html")
"""Where everything is that Markdown leaves out."""
MARKS = {"pass": "✅", "fail": "❌", "unsure": "❔"}
MAX_ROWS = 40
_SPECIAL = frozenset("&<>\"'`*_[]()|~#!{}$\\@")


def escape(value: object, limit: int = 160) -> str:
    """Text from data or records that Markdown, HTML and GitHub (mentions, references, links) leave alone."""
    shown = re.sub(r"(?<=[@#])|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=\bGH)(?=-\d)", "\u200b", text.printable(value, limit))
    return "".join(f"&#{ord(c)};" if c in _SPECIAL else c for c in shown)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], limit: int = MAX_ROWS) -> str:
    """A table of at most `limit` rows, its cells safe already; `>` before a head aligns its column right."""
    lines, found = [], list(rows)
    for row in [head, *found[:limit]]:
        lines.append("| " + " | ".join(cell.removeprefix(">") for cell in row) + " |")
    lines.insert(1, "|" + "|".join("---:" if cell.startswith(">") else "---" for cell in head) + "|")
    more = f"\n\n_{len(found) - limit} more in `{PAGE}`._" if len(found) > limit else ""
    return "\n".join(lines) + more


def figure(value: object, *, signed: bool = False) -> str:
    """A number of a record, safe even where the record holds something else."""
    return escape(summary.number(value, signed=signed), 40)


def details(title: str, body: str) -> str:
    """A part that opens on a click; `title` is plain text of this module or counted numbers."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def bar(share: float, width: int = 10) -> str:
    """A horizontal bar of `width` characters for a share from 0 to 1, in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
