"""Pieces of Markdown that are safe with text of strangers: escaped text, tables, folded parts, bars."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from slipway.core import text
from slipway.reporting import wording

PAGE = Path("reports/report.html")
"""The page with everything that Markdown leaves out."""
MARKS = {"pass": "✅", "fail": "❌", "unsure": "❔"}
MAX_ROWS = 40
_SPECIAL = frozenset("&<>\"'`*_[]()|~#!{}$\\@")


def escape(value: object, limit: int = 160) -> str:
    """Escape text of data or records, so that Markdown, HTML and GitHub (mentions, references, links) show it as it is."""
    shown = re.sub(r"(?<=[@#])|(?<=:)(?=//)|(?<=www)(?=\.)|(?<=\bGH)(?=-\d)", "\u200b", text.printable(value, limit))
    return "".join(f"&#{ord(c)};" if c in _SPECIAL else c for c in shown)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], limit: int = MAX_ROWS) -> str:
    """A table of at most `limit` rows of escaped cells; `>` before a head aligns its column right."""
    lines, rows = [], list(rows)
    for row in [head, *rows[:limit]]:
        lines.append("| " + " | ".join(cell.removeprefix(">") for cell in row) + " |")
    lines.insert(1, "|" + "|".join("---:" if cell.startswith(">") else "---" for cell in head) + "|")
    more = f"\n\n_{len(rows) - limit} more in `{PAGE}`._" if len(rows) > limit else ""
    return "\n".join(lines) + more


def figure(value: object, *, signed: bool = False) -> str:
    """A number of a record, escaped in case the record holds something else."""
    return escape(wording.number(value, signed=signed), 40)


def details(title: str, body: str) -> str:
    """A part that opens on a click; `title` and `body` are escaped already."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def bar(share: float, width: int = 10) -> str:
    """A horizontal bar of `width` characters for a share from 0 to 1, in eighths of a character."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + (" ▏▎▍▌▋▊▉"[eighths % 8] if eighths % 8 else "")
