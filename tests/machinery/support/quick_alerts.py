"""The committed alerts with seconds in place of minutes, for tests that wait for them."""

from __future__ import annotations

from slipway.observability import generate
from support.paths import ROOT

WAIT = 2
"""Seconds that an alert's expression must hold, in place of minutes."""


def quick_rules(window: str = "5s", *, runbooks: str = "") -> str:
    """The committed rules: `window` in place of the short windows, WAIT in place of the wait.

    `runbooks` is another address of the folder of the alerts' pages.
    """
    text = (ROOT / generate.RULES).read_text(encoding="utf-8")
    for old, new in (("[5m]", f"[{window}]"), ("[30m]", f"[{window}]"), ("for: 2m", f"for: {WAIT}s")):
        assert old in text, old
        text = text.replace(old, new)
    return text.replace(generate.runbook_address(ROOT), runbooks) if runbooks else text
