"""The facts of a report: what the records say, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from slipway.core import files, git
from slipway.errors import ConfigError

GATES = ("repro", "export", "evaluate", "prove", "judge", "manifests", "latency", "policy", "package", "load")
"""The chapters that write a verdict, in the order of the loop."""

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The records of one challenger as plain data; what does not exist is empty.

    `gates` holds the verdict records by chapter, `contract` models/contract.json, `slices` the
    plot data of that name, `hashes` the SHA-256 of lock, data and model, `delivery` the notes of `manifests`.
    """

    metrics: Record = field(default_factory=dict)
    gates: Mapping[str, Record] = field(default_factory=dict)
    quality: Record = field(default_factory=dict)
    contract: Record = field(default_factory=dict)
    slices: Sequence[Record] = ()
    hashes: Mapping[str, str] = field(default_factory=dict)
    commit: str | None = None
    delivery: Record = field(default_factory=dict)

    @property
    def judge(self) -> Record:
        """The judge's notes."""
        notes: Record = self.gates.get("judge", {}).get("notes", {})
        return notes

    @property
    def latency(self) -> Record:
        """The notes of the latency check."""
        notes: Record = self.gates.get("latency", {}).get("notes", {})
        return notes

    @property
    def limits_changed(self) -> list[str]:
        """Limits that the change moves, and by which it was not judged."""
        return [str(row) for notes in (self.judge, self.latency) for row in notes.get("limits_changed") or ()]

    @property
    def other(self) -> str:
        """The model that the judge saw, when it is another than this one; else empty."""
        told = str((self.gates.get("judge", {}).get("inputs") or {}).get("challenger") or "").removeprefix("sha256:")
        return told if told != self.hashes.get("model", told) else ""

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


def read(root: Path = Path()) -> Facts:
    """The facts of the project at `root`; only reports/metrics.json must be there.

    Where the pipeline stopped there are no metrics: those that Git keeps are of another model.
    """
    reports, model = root / "reports", root / "models/model.onnx"

    def record(path: Path, otherwise: Any) -> Any:
        return files.read_json(path) if path.exists() else otherwise

    hashed = {"lock": root / "dvc.lock", "data": root / "data/table.parquet", "model": model}
    hashes = {name: files.sha256(path) for name, path in hashed.items() if path.exists()}
    commits = history(root)
    gates = {word: found for word in GATES if (found := record(reports / f"{word}.json", None))}
    gates = drop_stale(gates, hashes, commits[0] if commits else None)
    made = gates.get("repro", {}).get("verdict") != "fail"
    delivery = gates.get("manifests", {}).get("notes", {})
    if delivery:  # without kustomize there is no verdict
        bare = {name: value for name, value in gates["manifests"].items() if name != "notes"}
        gates = {word: bare if word == "manifests" else gate for word, gate in gates.items()
                 if word != "manifests" or "verdict" in gate}  # fmt: skip
    return Facts(
        metrics=files.read_json(reports / "metrics.json") if made else {},
        gates=gates,
        quality=record(reports / "quality.json", {}),
        contract=record(root / "models/contract.json", {}),
        slices=record(reports / "plots/slices.json", []) if made else [],
        hashes=hashes,
        commit=proposed(gates, commits),
        delivery=delivery,
    )


def history(root: Path) -> list[str]:
    """HEAD's commit and its parents; empty where there is no repository, or no commit yet."""
    try:
        return git.run("log", "-1", "--format=%H %P", root=root).split()
    except ConfigError:
        return []


def proposed(gates: Mapping[str, Record], commits: Sequence[str]) -> str | None:
    """The commit that is proposed: HEAD, or what was merged into the base to try it, as a pull request's run does."""
    bases = {(gate.get("notes") or {}).get("base") for gate in gates.values()}
    tried = len(commits) == 3 and commits[1] in bases
    return commits[2] if tried else commits[0] if commits else None


def drop_stale(gates: Mapping[str, Record], hashes: Mapping[str, str], commit: str | None) -> dict[str, Record]:
    """The gates without what is about something else: what was said of another commit, a package or load of another model."""
    inputs = {word: gate.get("inputs") or {} for word, gate in gates.items()}
    fresh = dict.fromkeys(gates, True)
    if "package" in gates:
        fresh["package"] = inputs["package"].get("model") == hashes.get("model")
    if "load" in gates:
        bento = (gates.get("package", {}).get("notes") or {}).get("bento_sha256")
        fresh["load"] = fresh.get("package", False) and inputs["load"].get("bento_sha256") == bento
    if "repro" in gates:
        fresh["repro"] = inputs["repro"].get("lock") == hashes.get("lock")
    for word in ("prove", "manifests", "latency", "policy"):
        if word in gates:
            fresh[word] = inputs[word].get("commit") == commit
    return {word: gate for word, gate in gates.items() if fresh[word]}


def revision(value: object) -> str | None:
    """A commit hash as it is, None for what is none: it will stand in a command."""
    return value if isinstance(value, str) and re.fullmatch("[0-9a-f]{7,64}", value) else None


def commands(facts: Facts) -> list[str]:
    """What to type to get these facts again."""
    base, commit = revision(facts.judge.get("base")), revision(facts.commit)
    switch = [f"git switch --detach {commit}"] if commit else []
    return [*switch, f"make review{f' BASE={base}' if base else ''}"]
