"""Make text from data safe to show to people."""

from __future__ import annotations

import re
import unicodedata

_BREAK = re.compile(r"(?:[\s_/;:()\[\]–—-]|[.,](?!\d))+")
"""Characters that a text may be cut at; not within a number."""


def printable(value: object, limit: int = 18) -> str:
    """`value` as one line of at most `limit` characters, cut between words where it has any.

    Control, direction and other invisible characters become �, since they can hide text.
    """
    start = str(value)[: limit + 1]
    shown = "".join(" " if c.isspace() else "�" if unicodedata.category(c)[0] == "C" else c for c in start)
    return shorten(shown, limit)


def shorten(text: str, limit: int = 160) -> str:
    """`text` cut between words to at most `limit` characters, with … at the end."""
    return text if len(text) <= limit else f"{_whole_words(text[:limit])}…"


def _whole_words(text: str) -> str:
    """`text` without its last character, and without the word that this cuts; a word of more than half of it is cut."""
    breaks = [match for match in _BREAK.finditer(text) if match.start() >= len(text) // 2]
    return text[: breaks[-1].start()] if breaks else text[:-1]
