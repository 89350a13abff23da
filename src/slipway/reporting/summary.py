"""Values that page, comment and cards share: headline, metrics with deltas, slices, a line on the training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

from slipway.reporting.report_model import CheckRecord, Data, Facts, Gate, JudgedSlice, Shift, Slice

NAMES = {
    "log_loss": "log loss", "auc": "AUC", "average_precision": "average precision", "brier": "Brier score",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²",
    "squared_error": "squared error", "calibration_error": "calibration error",
}  # fmt: skip
"""Names of metrics for readers, in the order of a report."""
HIGHER = {"auc", "average_precision", "r2"}
"""Metrics of which more is better; of the others in NAMES less is better."""
SHIFTED = 0.25
"""The population stability index above which a shift is usually called one."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first line of a report: the worst verdict of all gates, its meaning, and the checks behind it."""

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
        """An arrow for the direction, the size, and `better` or `worse`."""
        if self.before is None or self.change is None:
            return "–"
        if number(self.before) == number(self.after):
            return "as before"
        judged = "" if self.better is None else " better" if self.better else " worse"
        return f"{'▲' if self.change > 0 else '▼'} {number(abs(self.change))}{judged}"


@dataclass(frozen=True, kw_only=True)
class SliceRow:
    """A slice value as measured, with the judge's `difference` to the reference and the ends of its interval.

    `better` is True or False where the whole interval is on one side of zero.
    """

    slice: str
    value: str
    rows: float
    target: float | None
    loss: float
    difference: float | None
    low: float | None
    high: float | None
    better: bool | None


def headline(facts: Facts) -> Headline:
    """The verdict in one line: any gate that fails refuses; no judge, or one of another model, is unsure."""
    words = {chapter: str(gate.verdict) for chapter, gate in facts.gates.items()}
    if facts.foreign_model:
        words.pop("judge")  # its verdict is about another model
    if stopped := [chapter for chapter, word in words.items() if word == "fail"]:
        return Headline(word="fail", title=_refusal(facts, stopped), why=_why(facts, stopped, ok=False))
    if facts.foreign_model:
        why = f"the judge saw model {facts.foreign_model[:12]}, this report is about {facts.hashes['model'][:12]}"
        return Headline(word="unsure", title="Judged another model", why=[why])
    if stopped := [chapter for chapter, word in words.items() if word == "unsure"]:
        title = "too little was measured" if stopped == ["judge"] else f"by {', '.join(stopped)}"
        return Headline(word="unsure", title=f"Cannot tell: {title}", why=_why(facts, stopped, ok=None))
    if "judge" not in words:
        return Headline(word="unsure", title="Not judged yet", why=["reports/judge.json does not exist"])
    if set(words.values()) != {"pass"}:
        return Headline(word="unsure", title="Cannot tell", why=["a record holds no verdict"])
    title = f"{'Better' if facts.judge.better else 'Not worse'} than the {facts.against}"
    overall = [describe_check(check) for check in paired_checks(facts)[:1]]
    return Headline(word="pass", title=title, why=overall or ["nothing was compared"])


def _why(facts: Facts, stopped: Sequence[str], *, ok: bool | None) -> list[str]:
    """The checks that stopped it as sentences, chapter by chapter."""
    checks = [check for chapter in stopped for check in facts.gates[chapter].checks if check.ok is ok]
    return [describe_check(check) for check in checks] or ["nothing was measured"]


def _refusal(facts: Facts, stopped: Sequence[str]) -> str:
    """The title of a refusal, in words where one gate refused."""
    worse = any((check.low or 0) > 0 and check.ok is False for check in paired_checks(facts)[:1])
    reasons = {
        "repro": "the pipeline stops",
        "prove": "what is committed is not what the pipeline gives",
        "manifests": "what it deploys does not build, or breaks a rule",
        "latency": "its service is slower than the base's, or fails",
        "judge": f"worse than the {facts.against}" if worse else "not shown to be good enough",
    }
    return f"Refused: {'; '.join(reasons.get(chapter, f'by {chapter}') for chapter in stopped)}"


def paired_checks(facts: Facts) -> list[CheckRecord]:
    """The judge's checks that compare with an interval, the one over all rows first."""
    return [check for check in facts.gates["judge"].checks if check.low is not None] if "judge" in facts.gates else []


def describe_check(check: CheckRecord) -> str:
    """A check in words: name, value with its interval (then a difference, so signed), limit."""
    paired = check.low is not None and check.high is not None
    value = number(check.value, signed=paired)
    if paired:
        value += f" [{number(check.low, signed=True)}, {number(check.high, signed=True)}]"
    return f"{check.name} {value}, limit {check.limit}"


def main_check(gate: Gate) -> str:
    """A gate's most telling check: one that stopped it, else one that compares, else any; empty without checks."""
    checks = sorted(gate.checks, key=lambda check: (check.ok is True, check.low is None))
    return describe_check(checks[0]) if checks else ""


def metric_deltas(facts: Facts) -> list[Delta]:
    """Every metric with its reference: the champion's, or the dummy's where there is no champion."""
    reference, values = facts.reference or facts.metrics.dummy, facts.metrics.by_name
    rows = []
    for name in [*NAMES, *(name for name in values if name not in NAMES)]:
        after, before = values.get(name), reference.get(name)
        if not is_number(after):
            continue
        before, better = before if is_number(before) else None, None
        if name in NAMES and before is not None and number(after) != number(before):
            better = (after > before) == (name in HIGHER)
        ends = facts.metrics.intervals.get(name) or {}
        rows.append(Delta(key=name, name=NAMES.get(name, name.replace("_", " ")), before=before, after=after,
                          low=ends.get("low"), high=ends.get("high"), better=better))  # fmt: skip
    return rows


def is_number(value: object) -> TypeGuard[float]:
    """True if `value` is a number, and not True or False."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def slice_rows(facts: Facts) -> list[SliceRow]:
    """Slice values with their measurements and the judge's differences, the one that got worst first."""
    judged = {(row.slice, row.value): row for row in facts.judge.slices}
    rows = [_slice_row(row, judged.get((row.slice, row.value))) for row in facts.slices]
    return sorted(rows, key=lambda row: (-(row.difference or -9e9), -row.loss))


def _slice_row(row: Slice, judged: JudgedSlice | None) -> SliceRow:
    low, high = (judged.low, judged.high) if judged else (None, None)
    return SliceRow(
        slice=row.slice, value=row.value, rows=row.rows if judged is None or judged.rows is None else judged.rows,
        target=row.target, loss=row.loss, difference=judged.difference if judged else None, low=low, high=high,
        better=None if low is None or high is None or low <= 0 <= high else high < 0,
    )  # fmt: skip


def by_shift(inputs: Iterable[Shift]) -> list[Shift]:
    """Inputs, those that moved farthest first: in training against the base's, then in the test against training."""
    return sorted(inputs, key=lambda row: (-(row.train or 0.0), -(row.test or 0.0)))


def training_data_summary(data: Data) -> str:
    """The change of the training window and of its inputs against the base, in a line."""
    before, now = data.train
    rows = number(now.rows if now else None)
    windows = f"{number(before.rows)} → {rows} rows" if before else f"{rows} rows"
    shifts = [row.train for row in data.inputs if row.train is not None]
    if not shifts:
        return f"{windows}, the base left nothing to compare with"
    return f"{windows}, {sum(shift > SHIFTED for shift in shifts)} of {len(shifts)} inputs shifted"


def number(value: object, *, signed: bool = False) -> str:
    """A number for a reader: about four figures, a true minus; other things as text, nothing as a dash."""
    if not is_number(value):
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
