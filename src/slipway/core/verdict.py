"""The one record of every gate: checks in, a verdict out, computed in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from slipway.core import files
from slipway.errors import CheckFailed, Inconclusive

Word = Literal["pass", "fail", "unsure"]
SAID = 3
"""How many broken checks a message names; the record has them all."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One measured value against one limit.

    `ok` is True, False, or None when too little was measured to tell. `low` and `high` are the
    ends of the interval around `value`, in its unit, where there is one.
    """

    name: str
    value: float | str | None
    limit: str
    ok: bool | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a gate says, and from what: `rows` judged, `seconds` taken, `inputs` by their hashes."""

    chapter: str
    checks: Sequence[Check]
    rows: int = 0
    seconds: float = 0.0
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def word(self) -> Word:
        """Any failed check fails; any unknown one, or nothing measured at all, is unsure."""
        if any(check.ok is False for check in self.checks):
            return "fail"
        if not self.checks or any(check.ok is None for check in self.checks):
            return "unsure"
        return "pass"

    def record(self) -> dict[str, Any]:
        """The verdict as it is written to `reports/<chapter>.json`."""
        return {
            "chapter": self.chapter,
            "verdict": self.word,
            "checks": [asdict(check) for check in self.checks],
            "rows": self.rows,
            "seconds": round(self.seconds, 3),
            "inputs": dict(self.inputs),
            **({"notes": dict(self.notes)} if self.notes else {}),
        }

    def write(self, path: Path) -> None:
        """Write the record to `path`, whole or not at all."""
        files.write_json(path, self.record())

    def enforce(self, *, hint: str = "") -> None:
        """Return on `pass`; raise CheckFailed on `fail` and Inconclusive on `unsure`, naming the checks."""
        if self.word == "pass":
            return
        wanted = False if self.word == "fail" else None
        lines = [sentence(check) for check in self.checks if check.ok is wanted] or ["nothing was measured"]
        if len(lines) > SAID:
            lines[SAID:] = [f"and {len(lines) - SAID} more in reports/{self.chapter}.json"]
        error = CheckFailed if self.word == "fail" else Inconclusive
        raise error(f"{self.chapter}: {self.word}: " + "; ".join(lines), hint=hint)


def sentence(check: Check) -> str:
    """A check in one line: name, value with its interval, limit."""
    value = f"{check.value:.6g}" if isinstance(check.value, float) else str(check.value)
    if check.low is not None and check.high is not None:
        value += f" [{check.low:.6g}, {check.high:.6g}]"
    return f"{check.name} is {value}, limit: {check.limit}"
