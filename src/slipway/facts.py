"""The facts of a report: what the records say, read once, and the few views that every page shares."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeGuard

from slipway import files, git
from slipway.errors import ConfigError

GATES = ("export", "evaluate", "prove", "judge", "package", "load")
"""The chapters that write a verdict, in the order of the loop."""
NAMES = {
    "log_loss": "log loss", "auc": "AUC", "average_precision": "average precision", "brier": "Brier score",
    "mae": "mean absolute error", "rmse": "root mean squared error", "r2": "R²",
    "squared_error": "squared error", "calibration_error": "calibration error",
}  # fmt: skip
"""The metrics that are known, in the order in which a report shows them."""
HIGHER = {"auc", "average_precision", "r2"}
"""Metrics of which more is better; of all other known ones less is."""
COUNTS = {"rows", "days", "base_rate"}

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The records of one challenger as plain data; what does not exist is empty.

    `gates` holds the verdict records by chapter, `contract` models/contract.json, `slices` and `importance`
    the plots' data of these names, `hashes` the SHA-256 of lock, data and model.
    """

    metrics: Record = field(default_factory=dict)
    gates: Mapping[str, Record] = field(default_factory=dict)
    quality: Record = field(default_factory=dict)
    contract: Record = field(default_factory=dict)
    slices: Sequence[Record] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def judge(self) -> Record:
        """The judge's notes."""
        notes: Record = self.gates.get("judge", {}).get("notes", {})
        return notes

    @property
    def window(self) -> str:
        """The first and the last day of the test window; empty when nobody says."""
        first, until = self.judge.get("window") or ("", "")
        try:
            return f"{date.fromisoformat(first)} to {date.fromisoformat(until) - timedelta(days=1)}"
        except (TypeError, ValueError):
            return ""

    @property
    def against(self) -> str:
        """What the challenger was compared with, as a page calls it."""
        return "champion" if self.reference else "dummy baseline"

    @property
    def reference(self) -> Record:
        """The champion's metrics; empty when there is none, or nobody asked."""
        return (self.judge.get("metrics") or {}).get("champion") or {}


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first line of a report: the worst word of all gates, what it means, and the checks behind it."""

    word: str
    title: str
    why: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A metric of challenger and reference; `better` is None when equal, or when nothing was compared."""

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


def read(root: Path = Path()) -> Facts:
    """The facts of the project at `root`; only reports/metrics.json must be there."""
    reports, model = root / "reports", root / "models/model.onnx"

    def record(path: Path, otherwise: Any) -> Any:
        return files.read_json(path) if path.exists() else otherwise

    hashed = {"lock": root / "dvc.lock", "data": root / "data/table.parquet", "model": model}
    try:
        commit = git.commit(root=root)
    except ConfigError:
        commit = None  # no repository, or no commit yet: the report names none
    hashes = {name: files.sha256(path) for name, path in hashed.items() if path.exists()}
    gates = {word: found for word in GATES if (found := record(reports / f"{word}.json", None))}
    return Facts(
        metrics=files.read_json(reports / "metrics.json"),
        gates=delivered(gates, hashes.get("model")),
        quality=record(reports / "quality.json", {}),
        contract=record(root / "models/contract.json", {}),
        slices=record(reports / "plots/slices.json", []),
        hashes=hashes,
        commit=commit,
    )


def delivered(gates: Mapping[str, Record], model: str | None) -> dict[str, Record]:
    """The gates without a package and a load test of another model: an earlier release's say nothing of this one."""
    package, load = gates.get("package", {}), gates.get("load", {})
    packaged = (package.get("inputs") or {}).get("model") == model
    loaded = (load.get("inputs") or {}).get("bento_sha256") == (package.get("notes") or {}).get("bento_sha256")
    fresh = {"package": packaged, "load": packaged and loaded}
    return {word: gate for word, gate in gates.items() if fresh.get(word, True)}


def headline(facts: Facts) -> Headline:
    """The verdict in one line: any gate that fails refuses; no judge, or one of another model, is unsure."""
    judge = facts.gates.get("judge")
    if judge is None:
        return Headline(word="unsure", title="Not judged yet", why=["reports/judge.json does not exist"])
    judged, model = (judge.get("inputs") or {}).get("challenger"), facts.hashes.get("model")
    if judged and model and str(judged).removeprefix("sha256:") != model:
        why = f"the judge saw model {str(judged)[:12]}, this report is about {model[:12]}"
        return Headline(word="unsure", title="Judged another model", why=[why])
    words = {chapter: str(record.get("verdict")) for chapter, record in facts.gates.items()}
    for word, wanted in (("fail", False), ("unsure", None)):
        if stopped := [chapter for chapter, found in words.items() if found == word]:
            found = [c for chapter in stopped for c in facts.gates[chapter].get("checks", ()) if c.get("ok") is wanted]
            said = [sentence(check) for check in found] or ["nothing was measured"]
            return Headline(word=word, title=_refusal(facts, word, stopped), why=said)
    if set(words.values()) != {"pass"}:
        return Headline(word="unsure", title="Cannot tell", why=["a record holds no verdict"])
    title = f"{'Better' if facts.judge.get('better') else 'Not worse'} than the {facts.against}"
    return Headline(word="pass", title=title, why=[sentence(c) for c in compared(facts)[:1]])


def _refusal(facts: Facts, word: str, stopped: Sequence[str]) -> str:
    if stopped == ["judge"]:
        worse = any((check.get("low") or 0) > 0 and check.get("ok") is False for check in compared(facts)[:1])
        told = f"worse than the {facts.against}" if worse else "not shown to be good enough"
        return f"Refused: {told}" if word == "fail" else "Cannot tell: too little was measured"
    return f"{'Refused' if word == 'fail' else 'Cannot tell'} by {', '.join(stopped)}"


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
        found.append(Delta(name=shown, before=before, after=after, low=low, high=high, better=better))
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


def revision(value: object) -> str | None:
    """A commit hash as it is, None for what is none: it will stand in a command."""
    return value if isinstance(value, str) and re.fullmatch("[0-9a-f]{7,64}", value) else None


def commands(facts: Facts) -> list[str]:
    """What to type to get these facts again."""
    base, commit = revision(facts.judge.get("base")), facts.commit
    return [
        *([f"git switch --detach {commit}"] if commit else []),
        "make repro",
        f".venv/bin/slipway judge{f' --base {base}' if base else ''}",
        ".venv/bin/slipway report",
    ]
