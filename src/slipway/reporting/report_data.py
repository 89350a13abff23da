"""Read the records of a project as the data of its report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from slipway.core import base_limits, files, git
from slipway.core.strict_model import describe_errors
from slipway.core.text import printable
from slipway.errors import ConfigError, DataError
from slipway.reporting.report_model import (
    GATES,
    Contract,
    Delivery,
    Facts,
    Gate,
    HashName,
    Measured,
    Notes,
    Quality,
    Slice,
    readable_gate,
)

T = TypeVar("T")


def read(root: Path = Path()) -> Facts:
    """The data of the report of the project at `root`; only reports/metrics.json must exist.

    After a pipeline that stopped the metrics are left out: those in Git are of another model. DataError names a record
    that cannot be read.
    """
    reports = root / "reports"
    hashed: dict[HashName, Path] = {
        "lock": root / "dvc.lock",
        "data": root / "data/table.parquet",
        "model": root / "models/model.onnx",
    }
    hashes = {name: files.sha256(path) for name, path in hashed.items() if path.exists()}
    commits = head_and_parents(root)
    gates, delivery = read_gates(reports)
    gates = drop_stale(gates, hashes, commits[0] if commits else None)
    if "manifests" not in gates:
        delivery = Delivery()
    elif delivery and not gates["manifests"].has_verdict:  # without kustomize there is no verdict
        del gates["manifests"]
    complete = "repro" not in gates or gates["repro"].verdict != "fail"
    return Facts(
        metrics=load(Measured, reports / "metrics.json") if complete else Measured(),
        gates=gates,
        quality=load(Quality, reports / "quality.json", otherwise=Quality()),
        contract=load(Contract, root / "models/contract.json", otherwise=Contract()),
        slices=load(list[Slice], reports / "plots/slices.json", otherwise=[]) if complete else [],
        hashes=hashes,
        commit=proposed_commit(gates, commits),
        delivery=delivery,
        changes=Notes() if "judge" in gates else changed_params(gates, root),
    )


def load(kind: type[T], path: Path, *, otherwise: T | None = None) -> T:
    """A JSON file as `kind`, `otherwise` when it does not exist; DataError names a file that is not one."""
    if otherwise is not None and not path.exists():
        return otherwise
    return _parse(kind, files.read_json(path), path)


def _parse(kind: type[T], value: Any, path: Path) -> T:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        fault = printable(describe_errors(error), 300)
        raise DataError(f"{path} cannot be read: {fault}", hint="run `make review`, which writes it again") from None


def read_gates(reports: Path) -> tuple[dict[str, Gate], Delivery]:
    """The verdicts in `reports` by chapter, and the notes of `manifests` apart from them."""
    gates, delivery = {}, Delivery()
    for chapter in GATES:
        path = reports / f"{chapter}.json"
        record = files.read_json(path) if path.exists() else None
        if chapter == "manifests" and isinstance(record, dict):
            delivery = _parse(Delivery, record.get("notes") or {}, path)
            record = {name: value for name, value in record.items() if name != "notes"}
        if record:
            gates[chapter] = _parse(Gate, readable_gate(chapter, record), path)
    return gates, delivery


def head_and_parents(root: Path) -> list[str]:
    """HEAD's commit and its parents; empty where there is no repository, or no commit yet."""
    try:
        return git.run("log", "-1", "--format=%H %P", root=root).split()
    except ConfigError:
        return []


def changed_params(gates: Mapping[str, Gate], root: Path) -> Notes:
    """The parameters that differ from the base that a check noted; empty where none did, or where they cannot be read."""
    base = _noted_base(gates)
    try:
        limits, others = base_limits.changed_params(base, root=root) if base else ([], [])
    except (ConfigError, OSError):
        return Notes()
    return Notes(limits_changed=limits, params_changed=others) if limits or others else Notes()


def _noted_base(gates: Mapping[str, Gate]) -> str | None:
    """The base that the judge noted, else the first one that another check did."""
    ordered = sorted(gates, key=lambda chapter: chapter != "judge")
    return next((base for chapter in ordered if (base := revision(gates[chapter].notes.base))), None)


def proposed_commit(gates: Mapping[str, Gate], commits: Sequence[str]) -> str | None:
    """The commit that is proposed: HEAD, or in a pull request's run the one that was merged into the base to try it."""
    bases = {gate.notes.base for gate in gates.values()}
    is_trial_merge = len(commits) == 3 and commits[1] in bases
    return commits[2] if is_trial_merge else commits[0] if commits else None


def drop_stale(gates: Mapping[str, Gate], hashes: Mapping[HashName, str], commit: str | None) -> dict[str, Gate]:
    """Drop verdicts about another commit or lock, and those of package and load about another model."""
    fresh = dict.fromkeys(gates, True)
    if "package" in gates:
        fresh["package"] = gates["package"].inputs.get("model") == hashes.get("model")
    if "load" in gates:
        bento = gates["package"].notes.bento_sha256 if "package" in gates else None
        fresh["load"] = fresh.get("package", False) and gates["load"].inputs.get("bento_sha256") == bento
    if "repro" in gates:
        fresh["repro"] = gates["repro"].inputs.get("lock") == hashes.get("lock")
    for chapter in ("prove", "manifests", "latency", "policy"):
        if chapter in gates:
            fresh[chapter] = gates[chapter].inputs.get("commit") == commit
    return {chapter: gate for chapter, gate in gates.items() if fresh[chapter]}


def revision(value: object) -> str | None:
    """A commit hash as it is, None for anything else: it will stand in a command."""
    return value if isinstance(value, str) and re.fullmatch("[0-9a-f]{7,64}", value) else None


def commands_to_reproduce(facts: Facts) -> list[str]:
    """The commands that reproduce the report."""
    base, commit = _noted_base(facts.gates), revision(facts.commit)
    switch = [f"git switch --detach {commit}"] if commit else []
    return [*switch, f"make review{f' BASE={base}' if base else ''}"]
