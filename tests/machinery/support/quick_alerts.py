"""The committed alerts with seconds in place of minutes, for tests that wait for them, and the dashboard's expressions."""

from __future__ import annotations

import json

from slipway.observability import dashboard, generate
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


def expressions(namespace: str = "this-machine") -> list[str]:
    """The expressions of the committed dashboard, with values for its variables."""
    document = json.loads((ROOT / generate.DASHBOARD).read_text(encoding="utf-8"))
    return [
        each.replace("$namespace", namespace).replace("$__rate_interval", "1m")
        for each in dashboard.expressions(document)
    ]
