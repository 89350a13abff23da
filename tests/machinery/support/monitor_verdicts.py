"""Verdicts of `monitor` for the tests of its report: one question passes, two fail, one cannot be decided."""

from __future__ import annotations

from typing import Any

from slipway.core.verdict import Check, Verdict
from slipway.monitoring import monitor
from slipway.monitoring.window import Answer

ABOUT: dict[str, Any] = {
    "window": {"from": "2026-02-25T00:00:00+00:00", "to": "2026-03-04T00:00:00+00:00", "rows": 8400}, "model": "0123456789ab",
    "other_models": {"ffffffffffff": 12}, "left_out": {"broken lines": 3}, "lost": 9,
}  # fmt: skip
TABLES: dict[str, dict[str, Any]] = {
    "service": {"budget": [{"objective": "availability", "allowed": 0.001, "bad_ratio": 0.0002, "spent": 0.2}]},
    "inputs": {"table": [{"input": f"input_{n}", "fault": None, "moved": 0.1, "allowed": 0.3, "psi": None} for n in range(30)]},
    "predictions": {"table": [{"window": n, "mean": 4.5 + n} for n in range(5)]},
    "performance": {"table": [{"from": "2026-01-07", "rows": 840, "labels": 800, "realised": 0.61, "expected": None}],
                    "estimate": {"sentence": "By the predictions alone, the skill is about 0.6."}},
}  # fmt: skip
WORDS = {"service": True, "inputs": False, "predictions": False, "performance": None}


def verdicts(text: str) -> tuple[dict[str, Verdict], Verdict]:
    """The verdict of each question, and the overall one; `text` stands wherever a caller's text can stand."""
    each = {}
    for name, ok in WORDS.items():
        check = Check(
            name=f"sensor {text}", value=text, limit="≤ 0.3", ok=ok, text=f"`{text}` moved by 0.4 of the rows"
        )
        table = {**TABLES[name], "table": [{"input": text}]} if text != "quiet" else TABLES[name]
        answer = Answer(sentence=f"Inputs moved: {text}.", checks=[check], rows=8400, notes=table)
        each[name] = monitor.make_verdict(name, answer, ABOUT, 1.5)
    return each, monitor.combine(each)
