"""Compute and write the verdict of a gate from its checks: pass, fail or unsure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from slipway.core import files
from slipway.errors import CheckFailed, Inconclusive

Word = Literal["pass", "fail", "unsure"]
NAMED_CHECKS = 3
"""The number of checks that an error message names; the record has all of them."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One measured value and its limit.

    `ok` is None if too little was measured to decide. `low` and `high` are the ends of the
    interval around `value`, in its unit, if there is one. `text` is the result as one sentence
    for people, without the limit; without it the sentence is made of name and value.
    """

    name: str
    value: float | str | None
    limit: str
    ok: bool | None
    low: float | None = None
    high: float | None = None
    text: str = ""

    def record(self) -> dict[str, Any]:
        """The check as written to a verdict's record."""
        return {name: value for name, value in asdict(self).items() if name != "text" or value}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a gate: its checks, the number of rows judged, its duration, the hashes of its inputs."""

    chapter: str
    checks: Sequence[Check]
    rows: int = 0
    seconds: float = 0.0
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> Word:
        """`fail` if any check failed, else `unsure` if any is undecided or there is none, else `pass`."""
        if any(check.ok is False for check in self.checks):
            return "fail"
        if not self.checks or any(check.ok is None for check in self.checks):
            return "unsure"
        return "pass"

    def record(self) -> dict[str, Any]:
        """The verdict as written to `reports/<chapter>.json`."""
        return {
            "chapter": self.chapter,
            "verdict": self.word,
            "checks": [check.record() for check in self.checks],
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "inputs": dict(self.inputs),
            **({"notes": dict(self.notes)} if self.notes else {}),
        }

    def write(self, path: Path) -> None:
        """Write the record atomically to `path`."""
        files.write_json(path, self.record())

    def enforce(self, *, hint: str = "") -> None:
        """Raise CheckFailed on `fail` and Inconclusive on `unsure`; the message names the checks."""
        if self.word == "pass":
            return
        ok = False if self.word == "fail" else None
        lines = [describe_check(check) for check in self.checks if check.ok is ok] or ["nothing was measured"]
        if len(lines) > NAMED_CHECKS:
            lines[NAMED_CHECKS:] = [f"and {len(lines) - NAMED_CHECKS} more in reports/{self.chapter}.json"]
        error = CheckFailed if self.word == "fail" else Inconclusive
        raise error(f"{self.chapter}: {self.word}: " + "; ".join(lines), hint=hint)


def describe_check(check: Check) -> str:
    """A check in one line: its sentence, or its name, value and interval; then what is allowed or expected."""
    if check.value is None and not check.text:
        return f"{check.name} was not measured; {describe_limit(check.limit)}"
    if check.text:
        return f"{check.text.rstrip('.')}; {describe_limit(check.limit)}"
    value = f"{check.value:.6g}" if isinstance(check.value, float) else str(check.value)
    if check.low is not None and check.high is not None:
        value += f" [{check.low:.6g}, {check.high:.6g}]"
    return f"{check.name} is {value}; {describe_limit(check.limit)}"


def describe_limit(limit: str) -> str:
    """The limit of a check for people: `allowed: at most 0.006` for a bound, else `expected: LIMIT`."""
    for sign, words in (("≤ ", "at most "), ("≥ ", "at least "), ("< ", "less than "), ("> ", "more than ")):
        if limit.startswith(sign):
            return f"allowed: {words}{limit.removeprefix(sign)}"
    return f"allowed: {limit}" if limit[:1].isdigit() or limit.startswith("up to ") else f"expected: {limit}"
