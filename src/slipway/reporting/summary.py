"""Views: what every page shows of the facts, each written once: headline, metrics with deltas, slices, what moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from slipway.reporting.report_data import Facts, Record

NAMES = {
    "log_loss": "log loss", "auc": "AUC", "average_precision": "average precision", "brier": "Brier score",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²",
    "squared_error": "squared error", "calibration_error": "calibration error",
}  # fmt: skip
"""The metrics that are known, in the order in which a report shows them."""
HIGHER = {"auc", "average_precision", "r2"}
"""Metrics of which more is better; of all other known ones less is."""
SHIFTED = 0.25
"""The population stability index above which an input is usually said to have shifted."""
COUNTS = {"rows", "days", "base_rate"}


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first line of a report: the worst word of all gates, what it means, and the checks behind it."""

    word: str
    title: str
    why: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A metric of challenger and reference; `better` is None when equal, or when nothing was compared.

    `key` is its name in the records, `name` the one for readers.
    """

    key: str
    name: str
    before: float | None
    after: float
    low: float | None
    high: float | None
    better: bool | None

    @property
    def change(self) -> float | None:
        """After minus before."""
        return None if self.before is None else self.after - self.before

    @property
    def words(self) -> str:
        """An arrow for the direction, the size, and whether that is better or worse."""
        if self.before is None or self.change is None:
            return "–"
        if number(self.before) == number(self.after):
            return "as before"
        judged = "" if self.better is None else " better" if self.better else " worse"
        return f"{'▲' if self.change > 0 else '▼'} {number(abs(self.change))}{judged}"


def headline(facts: Facts) -> Headline:
    """The verdict in one line: any gate that fails refuses; no judge, or one of another model, is unsure."""
    words = {chapter: str(record.get("verdict")) for chapter, record in facts.gates.items()}
    if facts.other:
        words.pop("judge")  # whatever it says, it says it of another model
    if stopped := [chapter for chapter, found in words.items() if found == "fail"]:
        return Headline(word="fail", title=_refusal(facts, stopped), why=_why(facts, stopped, ok=False))
    if facts.other:
        why = f"the judge saw model {facts.other[:12]}, this report is about {facts.hashes['model'][:12]}"
        return Headline(word="unsure", title="Judged another model", why=[why])
    if stopped := [chapter for chapter, found in words.items() if found == "unsure"]:
        title = "too little was measured" if stopped == ["judge"] else f"by {', '.join(stopped)}"
        return Headline(word="unsure", title=f"Cannot tell: {title}", why=_why(facts, stopped, ok=None))
    if "judge" not in words:
        return Headline(word="unsure", title="Not judged yet", why=["reports/judge.json does not exist"])
    if set(words.values()) != {"pass"}:
        return Headline(word="unsure", title="Cannot tell", why=["a record holds no verdict"])
    title = f"{'Better' if facts.judge.get('better') else 'Not worse'} than the {facts.against}"
    return Headline(
        word="pass", title=title, why=[sentence(c) for c in compared(facts)[:1]] or ["nothing was compared"]
    )


def _why(facts: Facts, stopped: Sequence[str], *, ok: bool | None) -> list[str]:
    """What the checks that stopped it say, chapter by chapter."""
    found = [c for chapter in stopped for c in facts.gates[chapter].get("checks", ()) if c.get("ok") is ok]
    return [sentence(check) for check in found] or ["nothing was measured"]


def _refusal(facts: Facts, stopped: Sequence[str]) -> str:
    """What refused it, in words where one gate did."""
    worse = any((check.get("low") or 0) > 0 and check.get("ok") is False for check in compared(facts)[:1])
    told = {
        "repro": "the pipeline stops",
        "prove": "what is committed is not what the pipeline gives",
        "manifests": "what it deploys does not build, or breaks a rule",
        "latency": "its service is slower than the base's, or fails",
        "judge": f"worse than the {facts.against}" if worse else "not shown to be good enough",
    }
    known = [told.get(chapter, f"by {chapter}") for chapter in stopped]
    return f"Refused: {'; '.join(known)}"


def compared(facts: Facts) -> list[Record]:
    """The judge's checks that compare with an interval, the one over all rows first."""
    return [check for check in facts.gates.get("judge", {}).get("checks", ()) if check.get("low") is not None]


def sentence(check: Record) -> str:
    """A check in words: name, value with its interval (then a difference, so signed), limit."""
    paired = check.get("low") is not None and check.get("high") is not None
    value = number(check.get("value"), signed=paired)
    if paired:
        value += f" [{number(check['low'], signed=True)}, {number(check['high'], signed=True)}]"
    return f"{check.get('name')} {value}, limit {check.get('limit')}"


def main_check(gate: Record) -> str:
    """What a gate says first: the check that stopped it, else the one that compares, else any; empty without checks."""
    checks = sorted(gate.get("checks") or (), key=lambda c: (c.get("ok") is True, c.get("low") is None))
    return sentence(checks[0]) if checks else ""


def deltas(facts: Facts) -> list[Delta]:
    """Every metric with its reference: the champion's, or the dummy's where there is no champion."""
    reference = facts.reference or facts.metrics.get("dummy") or {}
    intervals = facts.metrics.get("intervals") or {}
    found = []
    for name in [*NAMES, *(n for n in facts.metrics if n not in NAMES and n not in COUNTS)]:
        after, before = facts.metrics.get(name), reference.get(name)
        if not _measured(after):
            continue
        before, better = before if _measured(before) else None, None
        if name in NAMES and before is not None and number(after) != number(before):
            better = (after > before) == (name in HIGHER)
        ends = intervals.get(name) or {}
        shown = NAMES.get(name, name.replace("_", " "))
        low, high = ends.get("low"), ends.get("high")
        found.append(Delta(key=name, name=shown, before=before, after=after, low=low, high=high, better=better))
    return found


def _measured(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def slices(facts: Facts) -> list[dict[str, Any]]:
    """Slice values with what was measured and judged of them, the one that got worst first.

    `better` is True or False where the whole interval of the difference is on one side of zero.
    """
    judged = {(row["slice"], row["value"]): row for row in facts.judge.get("slices") or ()}
    rows = [{**row, **judged.get((row["slice"], row["value"]), {})} for row in facts.slices]
    for row in rows:
        low, high = row.get("low"), row.get("high")
        row["better"] = None if low is None or high is None or low <= 0 <= high else high < 0
    return sorted(rows, key=lambda row: (-(row.get("difference") or -9e9), -row["loss"]))


def training_data_summary(facts: Facts) -> str:
    """How the training window and its inputs moved against the base, in a line."""
    found = facts.judge.get("data") or {}
    before, now = found["train"]
    told = f"{number(before['rows'])} → {number(now['rows'])} rows" if before else f"{number(now['rows'])} rows"
    shifts = [row["train"] for row in found["inputs"] if row.get("train") is not None]
    many = sum(shift > SHIFTED for shift in shifts)
    return (
        f"{told}, {many} of {len(shifts)} inputs shifted"
        if shifts
        else f"{told}, the base left nothing to compare with"
    )


def number(value: object, *, signed: bool = False) -> str:
    """A number for a reader: about four figures, a true minus; other things as text, nothing as a dash."""
    if not _measured(value):
        return "–" if value is None else str(value)
    size = abs(value)
    if isinstance(value, int):
        text = f"{size:,}"
    elif 0 < size < 5e-4:
        text = f"{size:.1e}".replace("e-0", "e-")
    else:
        text = f"{size:,.{sum(size < edge for edge in (1000, 100, 10, 1))}f}"
        if size >= 1 or not size:
            text = text.rstrip("0").rstrip(".") if "." in text else text
    return ("−" if value < 0 else "+" if signed and value else "") + text
