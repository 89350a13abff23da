"""Compare two states of the pipeline's outputs: dvc.lock, and the outputs that Git keeps."""

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

DATA_STAGES = ("ingest", "features")
"""Stages whose outputs must have the same bytes on every machine."""
IN_GIT = (evaluate.METRICS.as_posix(), evaluate.PLOTS.as_posix())
"""Outputs that Git keeps; all others are only in DVC's cache."""
BYTE_FIELDS = ("md5", "size", "nfiles")


@dataclass(frozen=True, kw_only=True)
class PipelineState:
    """The stages of a checkout's dvc.lock, and the values of its outputs in Git by file name."""

    stages: Mapping[str, Any]
    in_git: Mapping[str, Any]


def read(root: Path) -> PipelineState:
    """The state of the checkout at `root`; without stages when its dvc.lock is absent or not a lock."""
    plots = sorted(path for path in (root / evaluate.PLOTS).rglob("[!.]*") if path.is_file())
    outputs = [root / evaluate.METRICS, *plots]
    return PipelineState(
        stages=dvc.read_lock(root),
        in_git={path.relative_to(root).as_posix(): read_values(path) for path in outputs if path.exists()},
    )


def read_values(path: Path, suffix: str = ".json") -> Any:
    """The values of a JSON or parquet file, to be compared within a tolerance; the SHA-256 of any other file."""
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path).to_dict(as_series=False)
        return json.loads(path.read_text(encoding="utf-8")) if suffix == ".json" else files.sha256(path)
    except (ValueError, RecursionError, pl.exceptions.PolarsError):
        return files.sha256(path)


def flatten(value: Any, at: str = "") -> dict[str, Any]:
    """Flatten nested mappings and lists into one mapping.

    The key of a record in a list is its `path`, else its texts, else its number.
    """
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


def differences(committed: Any, actual: Any, tolerance: float = 0.0) -> list[str]:
    """The differences of two structures as sentences.

    Numbers may differ by `tolerance`, relative for values above one and absolute below.
    """
    old, new = flatten(committed), flatten(actual)
    rows = []
    for key in dict.fromkeys([*old, *new]):
        one, other = old.get(key, "absent"), new.get(key, "absent")
        if not _close(one, other, tolerance):
            rows.append(f"{key} is {one}, not {other}".strip())
    return rows


def _close(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, bool) or isinstance(other, bool) or not isinstance(one, int | float):
        return bool(one == other)
    return isinstance(other, int | float) and abs(one - other) <= tolerance * max(1.0, abs(other))


def compare(
    committed: PipelineState, actual: PipelineState, limits: config.Prove, *, name: str, edited: Iterable[str] = ()
) -> list[Check]:
    """Check the committed state against another one called `name`: every stage of the lock, every output in Git.

    Outputs of model stages may have other bytes (floating point differs between processors) and values within the
    tolerances. Outputs in `edited` have no tolerance: they already differ from the committed lock.
    """
    model_outputs = {path for stage in {*committed.stages, *actual.stages} - set(DATA_STAGES)
                     for state in (committed, actual) for path in output_hashes(state, stage)}  # fmt: skip
    checks = []
    for stage in sorted({*committed.stages, *actual.stages}):
        old, new = (_without_bytes(state.stages.get(stage), model_outputs) for state in (committed, actual))
        checks.append(
            check_no_differences(
                f"dvc.lock, stage {stage}, against {name}", differences(old, new), "no difference",
                passing=f"Stage {stage} in dvc.lock matches {name}.",
                failing=f"Stage {stage} in dvc.lock differs from {name}",
            )
        )  # fmt: skip
    for path in sorted({*committed.in_git, *actual.in_git}):
        tolerance = {IN_GIT[0]: limits.metrics, evaluate.GOLDEN.as_posix(): limits.golden}.get(path, limits.plots)
        if path.startswith(tuple(edited)):
            tolerance = 0.0
        wrong = differences(committed.in_git.get(path, "absent"), actual.in_git.get(path, "absent"), tolerance)
        checks.append(
            check_no_differences(
                f"{path} against {name}", wrong, limit_for(tolerance),
                passing=f"{path} matches {name}.", failing=f"{path} differs from {name}",
            )
        )  # fmt: skip
    return checks


def output_hashes(state: PipelineState, stage: str) -> dict[str, str]:
    """The outputs of a locked stage by path, each with its MD5."""
    return {out["path"]: out.get("md5", "") for out in (state.stages.get(stage) or {}).get("outs", ())}


def _without_bytes(stage: Any, paths: set[str]) -> Any:
    """A locked stage without the hashes and sizes of `paths`."""
    if not isinstance(stage, Mapping):
        return "absent"
    strip = {key: [{k: v for k, v in item.items() if item["path"] not in paths or k not in BYTE_FIELDS} for item in stage[key]]
             for key in ("deps", "outs") if key in stage}  # fmt: skip
    return {**stage, **strip}


def changed_model_outputs(committed: PipelineState, actual: PipelineState) -> dict[str, str]:
    """Outputs of model stages outside Git whose bytes differ from the committed ones; path → the committed MD5."""
    return {path: md5 for stage in sorted(set(committed.stages) - set(DATA_STAGES))
            for path, md5 in output_hashes(committed, stage).items()
            if path not in IN_GIT and output_hashes(actual, stage).get(path) != md5}  # fmt: skip


def limit_for(tolerance: float) -> str:
    """The limit of a check that compares numbers within `tolerance`."""
    return f"≤ {tolerance:g} difference" if tolerance else "no difference"


def check_no_differences(name: str, wrong: list[str], limit: str, *, passing: str, failing: str) -> Check:
    """A check that passes without differences (`wrong`), and else names the first three.

    Its text is the sentence `passing`, or `failing` followed by the differences.
    """
    shown = "; ".join(wrong[:3]) + (f" and {len(wrong) - 3} more" if len(wrong) > 3 else "")
    text = f"{failing}: {shown}" if wrong else passing
    return Check(name=name, value=shown or "equal", limit=limit, ok=not wrong, text=text)
