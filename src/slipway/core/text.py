"""Make text from data safe to show to people."""

from __future__ import annotations

import unicodedata


def printable(value: object, limit: int = 18) -> str:
    """`value` as one line of at most `limit` characters.

    Control, direction and other invisible characters become �, since they can hide text.
    """
    start = str(value)[: limit + 1]
    shown = "".join(" " if c.isspace() else "�" if unicodedata.category(c)[0] == "C" else c for c in start)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def shorten(text: str, limit: int = 160) -> str:
    """`text` cut between words to at most `limit` characters, with … at the end."""
    return text if len(text) <= limit else text[: limit - 2].rsplit(" ", 1)[0] + " …"
