"""A claim: what a checkout says the pipeline gives, by its dvc.lock and the outputs in Git; and where two differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from slipway.core import config, dvc, files
from slipway.core.verdict import Check
from slipway.pipeline import evaluate

DATA = ("ingest", "features")
"""Stages that must give the same bytes on every machine."""
KEPT = (evaluate.METRICS.as_posix(), evaluate.PLOTS.as_posix())
"""Outputs that Git keeps; all others are in DVC's cache alone."""
BYTES = ("md5", "size", "nfiles")


@dataclass(frozen=True, kw_only=True)
class PipelineState:
    """What a checkout says the pipeline gives: the stages of its dvc.lock, and the outputs in Git by file name."""

    stages: Mapping[str, Any]
    kept: Mapping[str, Any]


def read(root: Path) -> PipelineState:
    """What the checkout at `root` says; a lock that is absent or no lock has no stages."""
    plots = sorted(path for path in (root / evaluate.PLOTS).rglob("[!.]*") if path.is_file())
    kept = [root / evaluate.METRICS, *plots]
    return PipelineState(
        stages=dvc.read_lock(root),
        kept={path.relative_to(root).as_posix(): content(path) for path in kept if path.exists()},
    )


def content(path: Path, suffix: str = ".json") -> Any:
    """The values of a file, to be compared within a tolerance; its hash when it has none that can be."""
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path).to_dict(as_series=False)
        return json.loads(path.read_text(encoding="utf-8")) if suffix == ".json" else files.sha256(path)
    except (ValueError, RecursionError, pl.exceptions.PolarsError):
        return files.sha256(path)


def flatten(value: Any, at: str = "") -> dict[str, Any]:
    """Nested mappings and lists as one mapping; a record in a list goes by its path or its texts, else its number."""
    if isinstance(value, Mapping) and value:
        items = {str(key): item for key, item in value.items()}
    elif isinstance(value, list) and value:
        items = {}
        for number, item in enumerate(value):
            texts = [str(v) for v in item.values() if isinstance(v, str)] if isinstance(item, Mapping) else []
            label = str(item["path"]) if isinstance(item, Mapping) and "path" in item else " ".join(texts)
            items[label if label and label not in items else f"{label} {number}".strip()] = item
    else:
        return {at: value}
    return {k: v for key, item in items.items() for k, v in flatten(item, f"{at} {key}".strip()).items()}


def differences(claimed: Any, given: Any, tolerance: float = 0.0) -> list[str]:
    """Where two structures differ, as sentences; numbers may by `tolerance`, relative to those above one."""
    ours, theirs = flatten(claimed), flatten(given)
    rows = []
    for key in dict.fromkeys([*ours, *theirs]):
        here, there = ours.get(key, "absent"), theirs.get(key, "absent")
        if not _close(here, there, tolerance):
            rows.append(f"{key} is {here}, not {there}".strip())
    return rows


def _close(here: Any, there: Any, tolerance: float) -> bool:
    if isinstance(here, bool) or isinstance(there, bool) or not isinstance(here, int | float):
        return bool(here == there)
    return isinstance(there, int | float) and abs(here - there) <= tolerance * max(1.0, abs(there))


def compare(
    claimed: PipelineState, given: PipelineState, limits: config.Prove, *, who: str, edited: Iterable[str] = ()
) -> list[Check]:
    """The commit's claim against what `who` has: every stage of the lock, every output in Git.

    Bytes of the model stages' outputs may differ (floating point does between processors), values by the
    tolerances. Those of `edited` outputs may not: they already differ from the claim's own lock.
    """
    moving = {path for name in {*claimed.stages, *given.stages} - set(DATA)
              for side in (claimed, given) for path in outs(side, name)}  # fmt: skip
    checks = []
    for name in sorted({*claimed.stages, *given.stages}):
        ours, theirs = (_bare(side.stages.get(name), moving) for side in (claimed, given))
        checks.append(
            check_no_differences(
                f"dvc.lock, stage {name}, against {who}", differences(ours, theirs), "equal; `make repro`, commit"
            )
        )
    for name in sorted({*claimed.kept, *given.kept}):
        tolerance = {KEPT[0]: limits.metrics, evaluate.GOLDEN.as_posix(): limits.golden}.get(name, limits.plots)
        if name.startswith(tuple(edited)):
            tolerance = 0.0
        wrong = differences(claimed.kept.get(name, "absent"), given.kept.get(name, "absent"), tolerance)
        checks.append(
            check_no_differences(f"{name} against {who}", wrong, f"off by ≤ {tolerance:g}; `make repro`, commit")
        )
    return checks


def outs(claim: PipelineState, stage: str) -> dict[str, str]:
    """The outputs of a locked stage, each with its md5."""
    return {out["path"]: out.get("md5", "") for out in (claim.stages.get(stage) or {}).get("outs", ())}


def _bare(stage: Any, moving: set[str]) -> Any:
    """A locked stage without the bytes of files that may differ."""
    if not isinstance(stage, Mapping):
        return "absent"
    strip = {key: [{k: v for k, v in item.items() if item["path"] not in moving or k not in BYTES} for item in stage[key]]
             for key in ("deps", "outs") if key in stage}  # fmt: skip
    return {**stage, **strip}


def moved(claimed: PipelineState, given: PipelineState) -> dict[str, str]:
    """Outputs of model stages, out of Git, whose bytes are others than claimed; path → the claimed md5."""
    return {path: md5 for name in sorted(set(claimed.stages) - set(DATA)) for path, md5 in outs(claimed, name).items()
            if path not in KEPT and outs(given, name).get(path) != md5}  # fmt: skip


def check_no_differences(name: str, wrong: list[str], limit: str) -> Check:
    """A check that holds when nothing is `wrong`, and names the first three things that are."""
    shown = "; ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    return Check(name=name, value=shown or "equal", limit=limit, ok=not wrong)
