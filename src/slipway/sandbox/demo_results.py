"""Sentences about the demo's steps, made from the records of its checks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from slipway.core.verdict import Check, describe_check
from slipway.loadtest.slo import Slo

Record = Mapping[str, Any]
"""A record of reports/, as JSON."""
MAX_FAILURES = 3


class Result(NamedTuple):
    """One idea: whether it went well (None: undecided), and a sentence without a full stop."""

    ok: bool | None
    text: str


def trained(summary: str) -> Result:
    """From what `train` printed; nothing when DVC did not have to run it."""
    if not summary:
        return Result(True, "model taken from DVC's cache: trained before, on the same data and code")
    rows = re.search(r"[\d,]+ rows", summary)
    return Result(True, f"trained{f' on {rows[0]}' if rows else ''}, checked for leaks from the future")


def proven(record: Record) -> list[Result]:
    """The comparison of the committed results with those of the pipeline."""
    if record["verdict"] == "pass":
        return [Result(True, f"results match what is committed ({len(record['checks'])} checks)")]
    return describe_failures(failing_checks(record), "results do not match what is committed: ")


def judged(record: Record, *, confidence: float) -> list[Result]:
    """The comparison with production, or with a constant guess before the first release; then what else fails."""
    failing = failing_checks(record)
    main = next((check for check in record["checks"] if check["low"] is not None), None)
    if main is None:
        return describe_failures(failing)
    metric, digits = main["name"].partition(" vs ")[0], decimals(main["limit"])
    if record["notes"]["against"] == "champion":
        first = compared(main, metric.replace("_", " "), digits, confidence)
    else:
        own = record["notes"]["metrics"]["challenger"].get(metric)
        values = f": {metric.replace('_', ' ')} {own:,.3f} vs {own - main['value']:,.3f}" if own is not None else ""
        first = Result(main["ok"], f"{'better' if main['ok'] else 'not better'} than guessing{values}")
    groups = [check for check in failing if "=" in check["name"]]
    others = [check for check in failing if check not in groups and check is not main]
    return [first, *worse_groups(groups, digits), *describe_failures(others)]


def compared(check: Record, metric: str, digits: int, confidence: float) -> Result:
    """The paired difference to production, with its interval and what is allowed."""
    value, low, high = (float(check[name]) for name in ("value", "low", "high"))
    limit = re.search(r"[\d.]+(e-?\d+)?", str(check["limit"]))
    allowed = f"; allowed: +{limit[0]}" if limit else ""
    return Result(
        check["ok"],
        f"{'not worse' if check['ok'] else 'worse'} than production: {metric} {abs(value):,.{digits}f} "
        f"{'higher' if value > 0 else 'lower'} "
        f"({confidence:.0%} interval {signed(low, digits)} to {signed(high, digits)}{allowed})".replace("%", " %"),
    )


def worse_groups(checks: Sequence[Record], digits: int) -> list[Result]:
    """One sentence about the groups of rows that fail, with the worst of them; nothing without any."""
    if not checks:
        return []
    worst = max(checks, key=lambda check: float(check["value"]))
    name, _, value = worst["name"].rpartition(", ")[2].partition("=")
    count = "1 group" if len(checks) == 1 else f"{len(checks)} groups"
    return [Result(False, f"also worse for {count} of rows, most for {name} {value}: {signed(worst['value'], digits)}")]


def timed(record: Record) -> list[Result]:
    """The comparison of response times; nothing when both services are the same."""
    if record["verdict"] != "pass":
        return describe_failures(failing_checks(record), "slower, or not measurable: ")
    rows = record.get("notes", {}).get("table") or []
    return [
        Result(True, f"not slower: {row[3]:+.1%} (allowed: {row[6]:+.0%})".replace("%", " %").replace("-", "−"))
        for row in rows[:1]
    ]


def loaded(record: Record, slo: Slo) -> list[Result]:
    """The load test in staging on this machine."""
    if record["verdict"] != "pass":
        return describe_failures(failing_checks(record), "staging: ")
    values = {check["name"]: check["value"] for check in record["checks"]}
    p95_ms, name = max((float(values[f"{name} p95_ms"]), name) for name in slo.endpoints)
    rate, limit = slo.schedules["machine"].rate, slo.endpoints[name].p95_ms_at_most
    text = f"staging: {record['rows']:,} requests at {rate:g}/s, p95 {p95_ms:.1f} ms (allowed: {limit:g} ms)"
    return [Result(True, text)]


def load_evidence(evidence: Record | None) -> Result:
    """The load test that a release to production quotes as its evidence."""
    evidence = evidence or {}
    requests = f"{evidence['requests']:,} requests, " if evidence.get("requests") else ""
    p95 = f"p95 {evidence['p95_ms']:.1f} ms" if evidence.get("p95_ms") else "passed"
    return Result(True, f"staging: load test in the cluster: {requests}{p95}")


def monitored(question: str, verdict: str, sentence: str) -> Result:
    """The answer to one question about what production answers; a sentence that decides something names its subject."""
    text = sentence.rstrip(".")
    ok = {"pass": True, "fail": False}.get(verdict)
    return Result(ok, f"{question}: {text[:1].lower()}{text[1:]}" if ok is None else text)


def failing_checks(record: Record) -> list[Record]:
    """The checks that failed; without any, those that could not decide."""
    failed = [check for check in record["checks"] if check["ok"] is False]
    return failed or [check for check in record["checks"] if check["ok"] is None]


def describe_failures(checks: Sequence[Record], prefix: str = "") -> list[Result]:
    """One sentence for each of the first checks, as the error message has it."""
    return [Result(check["ok"], f"{prefix}{describe_check(Check(**check))}") for check in checks[:MAX_FAILURES]]


def decimals(limit: str) -> int:
    """Digits after the point that show a difference next to its limit, at least two."""
    number = re.search(r"\d+\.(\d+)", limit)
    return max(2, len(number[1])) if number else 2


def signed(value: float, digits: int) -> str:
    """A difference with its sign, a true minus."""
    return f"{value:+,.{digits}f}".replace("-", "−")
