"""Values that page, comment and cards share: headline, gates, metrics with their change, slices, the training data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slipway.core import verdict
from slipway.reporting import wording
from slipway.reporting.report_model import CheckRecord, Data, Facts, Gate, JudgedSlice, Shift, Slice
from slipway.reporting.wording import number

SHIFTED = 0.25
"""The population stability index above which a shift is usually called one."""
NOUNS = {
    "manifests": "object",
    "latency": "request",
    "load": "request",
    "package": "request",
    "policy": "release record",
}
"""Units of the gates that do not count rows."""
PASSED = {
    "repro": "The pipeline ran to its end",
    "export": "The exported model predicts what the trained one predicts",
    "evaluate": "The test window has enough rows",
    "prove": "The committed results are what the pipeline produces",
    "manifests": "Every environment builds and keeps the rules",
    "policy": "Every new release record is in order, has evidence and matches its overlay",
    "package": "The packaged service answers what the model answers",
    "load": "The service keeps its objective under load",
}
"""A gate that passes, in a sentence; those of judge and latency hold their figures."""
FAILED = {
    "repro": "the pipeline stops",
    "export": "the exported model does not predict what the trained one predicts",
    "evaluate": "the model cannot be measured",
    "prove": "the committed results are not what the pipeline produces",
    "manifests": "the Kubernetes manifests do not build, or break a rule",
    "latency": "the service is slower than before, or fails",
    "policy": "a release record is not allowed",
    "package": "the packaged service does not answer what the model answers",
    "load": "the service is too slow under load, or fails",
}
"""A gate that fails, as the reason in a title; that of the judge depends on its checks."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first line of a report: the worst verdict of all gates, its meaning, and the checks behind it."""

    word: str
    title: str
    why: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A metric of challenger and reference, and its `change`, with an interval where both are paired row by row.

    `key` is its name in the records, `name` the one for readers. `better` is True or False only where the whole
    interval is on one side of zero.
    """

    key: str
    name: str
    before: float | None
    after: float
    change: float | None
    low: float | None = None
    high: float | None = None
    better: bool | None = None

    @property
    def direction(self) -> str:
        """The direction that is better, in words; empty for a metric that is not in `wording.METRICS`."""
        if self.key not in wording.METRICS:
            return ""
        return "higher is better" if self.key in wording.HIGHER else "lower is better"

    @property
    def words(self) -> str:
        """The outcome in a word or two."""
        if self.change is None:
            return "–"
        if self.better is not None:
            return "better" if self.better else "worse"
        if self.low is None or self.high is None:
            return "no interval"
        return "no clear change" if self.low <= 0 <= self.high else "changed"

    @property
    def difference(self) -> str:
        """The change with its sign, in as many decimals as its interval has."""
        return wording.difference(self.change, self.low, self.high)

    @property
    def interval(self) -> str:
        """The interval of the change; a dash where there is none."""
        return wording.interval(self.low, self.high)


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

    @property
    def words(self) -> str:
        """The outcome in a word or two; empty where nothing was compared."""
        if self.difference is None:
            return ""
        return {True: "better", False: "worse", None: "no clear change"}[self.better]


def headline(facts: Facts) -> Headline:
    """The verdict in one line: any gate that fails refuses; no judge, or one of another model, is unsure."""
    words = {chapter: str(gate.verdict) for chapter, gate in facts.gates.items()}
    if facts.foreign_model:
        words.pop("judge")  # its verdict is about another model
    if stopped := [chapter for chapter, word in words.items() if word == "fail"]:
        return Headline(word="fail", title=_refusal(facts, stopped), why=_why(facts, stopped, ok=False))
    if facts.foreign_model:
        models = facts.foreign_model[:12], facts.hashes["model"][:12]
        why = f"The judge compared model {models[0]}; this report is about model {models[1]}"
        return Headline(word="unsure", title="Inconclusive: another model was judged", why=[why])
    if stopped := [chapter for chapter, word in words.items() if word == "unsure"]:
        title = "too little was measured" if stopped == ["judge"] else f"{_names(stopped)} measured too little"
        if stopped == ["judge"] and facts.gates["judge"].rows == 0:
            title = "nothing was compared"
        return Headline(word="unsure", title=f"Inconclusive: {title}", why=_why(facts, stopped, ok=None))
    if "judge" not in words:
        return Headline(word="unsure", title="Not judged yet", why=["reports/judge.json does not exist"])
    if set(words.values()) != {"pass"}:
        return Headline(word="unsure", title="Inconclusive", why=["A record has no verdict"])
    overall = next(iter(paired_checks(facts)), None)
    if overall is None:
        return Headline(word="pass", title=f"Not worse than {facts.against}", why=["Nothing was compared"])
    title = wording.outcome(overall.low, overall.high, against="champion" if facts.reference else "dummy")
    allowed = "" if (overall.high or 0.0) < 0 else f"; {verdict.describe_limit(str(overall.limit))}"
    if facts.judge.restart_at:
        title += ", not compared with production"
    return Headline(word="pass", title=wording.capitalised(title), why=[describe_result(overall) + allowed])


def _why(facts: Facts, stopped: Sequence[str], *, ok: bool | None) -> list[str]:
    """The checks that stopped it as sentences, gate by gate."""
    checks = [check for chapter in stopped for check in facts.gates[chapter].checks if check.ok is ok]
    return [describe_check(check) for check in checks] or ["Nothing was measured"]


def _refusal(facts: Facts, stopped: Sequence[str]) -> str:
    """The title of a refusal: the reason of every gate that fails."""
    reasons = [
        _judge_reason(facts) if chapter == "judge" else FAILED.get(chapter, f"{chapter} fails") for chapter in stopped
    ]
    return f"Refused: {'; '.join(reasons)}"


def _judge_reason(facts: Facts) -> str:
    """The judge's reason to refuse: all rows, else a part of them, else a metric or what is compared."""
    checks = paired_checks(facts)
    overall, parts = next(iter(checks), None), checks[1:]
    if overall and overall.ok is False:
        return (
            f"worse than {facts.against}" if (overall.low or 0) > 0 else f"not shown to be as good as {facts.against}"
        )
    if worse := sum(check.ok is False for check in parts):
        return f"worse than {facts.against} for {wording.count(worse, 'slice')} of the data"
    return "the model, or its test window, does not meet a requirement"


def _names(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def paired_checks(facts: Facts) -> list[CheckRecord]:
    """The judge's checks that compare with an interval, the one over all rows first."""
    return [check for check in facts.gates["judge"].checks if check.low is not None] if "judge" in facts.gates else []


def describe_result(check: CheckRecord) -> str:
    """The result of a check: its sentence, or its name and value with its interval (then a difference, so signed)."""
    if check.text:
        return str(check.text)
    paired = check.low is not None and check.high is not None
    value = number(check.value, signed=paired)
    if paired:
        value += f" ({number(check.low, signed=True)} to {number(check.high, signed=True)})"
    return f"{check.name}: {value}"


def describe_check(check: CheckRecord) -> str:
    """A check in words: its result, and unless it passed what is allowed or expected."""
    limit = verdict.describe_limit(str(check.limit))
    return describe_result(check) if check.ok is True else f"{describe_result(check)}; {limit}"


def describe_allowed(check: CheckRecord) -> str:
    """The limit of a check in words, for a table."""
    return verdict.describe_limit(str(check.limit)).removeprefix("allowed: ").removeprefix("expected: ")


def describe_gate(facts: Facts, chapter: str) -> str:
    """A gate in one sentence: what holds when it passes, else the first check that stopped it, and how many more."""
    gate = facts.gates[chapter]
    if str(gate.verdict) != "pass":
        stopped = [check for check in gate.checks if check.ok is (False if gate.verdict == "fail" else None)]
        if not stopped:
            return main_check(gate) or "Nothing was measured"
        more = f", and {wording.count(len(stopped) - 1, 'more check')}" if len(stopped) > 1 else ""
        return f"{describe_check(stopped[0])}{more}"
    return PASSED.get(chapter) or main_check(gate) or "Passed"


def describe_size(chapter: str, gate: Gate) -> str:
    """The number of things that a gate checked, with its unit; empty where it counts nothing."""
    return wording.count(gate.rows, NOUNS.get(chapter, "row")) if wording.is_number(gate.rows) and gate.rows else ""


def main_check(gate: Gate) -> str:
    """A gate's most telling check: one that stopped it, else one that compares, else any; empty without checks."""
    checks = sorted(gate.checks, key=lambda check: (check.ok is True, check.low is None))
    return describe_check(checks[0]) if checks else ""


def metric_deltas(facts: Facts) -> list[Delta]:
    """Every metric with its reference: the champion's, or the dummy's where there is no champion."""
    reference, values = facts.reference or facts.metrics.dummy, facts.metrics.by_name
    changes = {} if facts.foreign_model else facts.judge.metrics.changes
    rows = []
    for key in [*wording.METRICS, *(key for key in values if key not in wording.METRICS)]:
        after, before, paired = values.get(key), reference.get(key), changes.get(key)
        if not wording.is_number(after):
            continue
        before = before if wording.is_number(before) else None
        delta = Delta(key=key, name=wording.metric_name(key), before=before, after=after,
                      change=None if before is None else after - before)  # fmt: skip
        if paired and before is not None:
            delta = replace(delta, change=paired.difference, low=paired.low, high=paired.high,
                            better=wording.is_better(key, paired.low, paired.high))  # fmt: skip
        rows.append(delta)
    return rows


def percent_interval(facts: Facts) -> str:
    """The name of the judge's intervals, e.g. `95 % interval`."""
    confidence = facts.judge.confidence
    return f"{100 * confidence:g} % interval" if confidence else "interval"


def slice_rows(facts: Facts) -> list[SliceRow]:
    """Slice values with their measurements and the judge's differences, the one that got worst first.

    A value that every row of the test window has is left out: it repeats the whole.
    """
    judged = {} if facts.foreign_model else {(row.slice, row.value): row for row in facts.judge.slices}
    rows = [
        _slice_row(row, judged.get((row.slice, row.value))) for row in facts.slices if row.rows != facts.metrics.rows
    ]
    return sorted(rows, key=lambda row: (-(row.difference or -9e9), -row.loss))


def _slice_row(row: Slice, judged: JudgedSlice | None) -> SliceRow:
    low, high = (judged.low, judged.high) if judged else (None, None)
    return SliceRow(
        slice=row.slice, value=row.value, rows=row.rows if judged is None or judged.rows is None else judged.rows,
        target=row.target, loss=row.loss, difference=judged.difference if judged else None, low=low, high=high,
        better=None if low is None or high is None or low <= 0 <= high else high < 0,
    )  # fmt: skip


def largest_shift(row: Shift) -> float:
    """The larger of an input's two shifts: of training since the base, and of the test against training."""
    return max(row.train or 0.0, row.test or 0.0)


def by_shift(inputs: Iterable[Shift]) -> list[Shift]:
    """Inputs, those that moved farthest first, in either comparison."""
    return sorted(inputs, key=largest_shift, reverse=True)


def describe_windows(data: Data) -> str:
    """The training window of the base and of this change, in a sentence."""
    before, now = data.train
    if now is None:
        return "no training window"
    window = f"{wording.count(now.rows, 'row')}, {now.first} to {now.last}"
    if before is None:
        return window
    if (before.rows, before.first, before.last) == (now.rows, now.first, now.last):
        return f"{window}, as before"
    return f"{wording.count(before.rows, 'row')}, {before.first} to {before.last} → {window}"


def describe_shifts(data: Data) -> str:
    """The number of shifted inputs in each of the two comparisons, in a sentence; empty without inputs."""
    rows = [row for row in data.inputs if (row.train, row.test) != (None, None)]
    if not rows:
        return ""
    shifted = [row for row in by_shift(rows) if largest_shift(row) > SHIFTED]
    text = f"{len(shifted)} of {len(rows)} shifted"
    if not any(row.train is not None for row in rows):
        return f"{text} between training and test; the base left nothing to compare with"
    since, test = (sum((getattr(row, name) or 0.0) > SHIFTED for row in rows) for name in ("train", "test"))
    return f"{text} ({since} since the base, {test} between training and test)" if shifted else text


def describe_restart(facts: Facts) -> str:
    """A restarted comparison in a sentence, for a notice at the top of a report; empty where none was restarted."""
    if not (commit := facts.judge.restart_at):
        return ""
    return (f"This pull request restarts the comparison: judge.restart_at names commit {str(commit)[:12]}, the model in "
            "production. It was compared with the baseline and the floors, not with production.")  # fmt: skip


def describe_comparison(facts: Facts) -> list[str]:
    """Sentences on how the champion was compared, where that is not the usual way."""
    notes, sentences = facts.judge, []
    if notes.champion_refusal:
        sentences.append("Production's model could not read this change's table, so its own code ingested the sources: "
                         f"{notes.champion_refusal}")  # fmt: skip
    if notes.uncompared_rows:
        rows = wording.count(notes.uncompared_rows, "row")
        sentences.append(f"Not compared, because production's code does not have them: {rows} of the test window")
    return [*sentences, *([str(notes.restart_note)] if notes.restart_note else [])]


def changed_params(facts: Facts) -> list[str]:
    """The changed parameters that are no limits, as `key: old → new`; a hash is shortened to twelve digits, as Git does."""
    rows = [str(row) for row in facts.judge.params_changed or facts.changes.params_changed]
    return [_short_hashes(row) for row in rows]


def _short_hashes(text: str) -> str:
    return re.sub(r"\b([0-9a-f]{12})(?:[0-9a-f]{28}|[0-9a-f]{52})\b", r"\1", text)
