"""Text for people: printable, short, on one line."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def printable(value: object, limit: int = 18) -> str:
    """Text that comes from data, made harmless to look at: one line, at most `limit` characters.

    Control, direction and other invisible characters become �, for they can hide what is there.
    """
    start = str(value)[: limit + 1]
    shown = "".join(" " if c.isspace() else "�" if unicodedata.category(c)[0] == "C" else c for c in start)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
