"""What a change changes against its base commit: limits, which do not count yet; parameters; data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import config, files, git
from slipway.errors import ConfigError
from slipway.pipeline import drift, evaluate

LIMITS = ("judge.", "prove.")
"""Sections of params.yaml that hold as the base has them: no change is judged by its own limits."""
S = TypeVar("S", bound=config.Section)


def before(base: str, *, root: Path) -> dict[str, Any]:
    """params.yaml of the commit `base`; empty when it has none."""
    text = git.file_at(base, "params.yaml", root=root)
    try:
        return (YAML(typ="safe").load(text) or {}) if text else {}
    except YAMLError as error:
        raise ConfigError(f"params.yaml of the base {base[:12]} is not YAML: {error}") from None


def held(base: str, section: str, own: S, *, root: Path) -> S:
    """A section as the base has it, which is what holds; `own` when the base has no such section yet."""
    found = before(base, root=root).get(section)
    try:
        return type(own).model_validate(found) if found else own
    except ValidationError as error:
        raise ConfigError(
            f"params.yaml of the base {base[:12]}: this code cannot read section {section}: {error}"
        ) from None


def parameters(base: str, *, root: Path) -> tuple[list[str], list[str]]:
    """What differs in params.yaml: in limits, and elsewhere; nothing when the base has none."""
    old = before(base, root=root)
    now = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))
    changed = differences(old, now) if old else []
    limits = [row for row in changed if row.startswith(LIMITS)]
    return limits, [row for row in changed if row not in limits]


def differences(old: Any, now: Any, key: str = "") -> list[str]:
    """Changed values by dotted key, as `key: old → new`."""
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys([*old, *now]))
        return [row for k in keys for row in differences(old.get(k), now.get(k), f"{key}.{k}" if key else str(k))]
    return [] if old == now else [f"{key}: {old} → {now}"]


def data(base: str, train: pl.DataFrame, test: pl.DataFrame, *, rows: int, root: Path) -> dict[str, Any]:
    """The training window against the base's, and how far every input moved: in training, and from there to the test.

    `train` holds the base's window (None when it left no reference) and this one's.
    """
    own, old = files.read_json(root / drift.PATH), known(base, root)
    asked = {row["input"]: row["shift"] for row in drift.shifts(own, test, rows=rows)}
    learned = {row["input"]: row for row in drift.shifts(old, train, rows=rows)}
    inputs = [{"input": name, "test": shift, "train": None, "missing": None} for name, shift in asked.items()]
    for row in inputs:
        if now := learned.get(row["input"]):
            row |= {"train": now["shift"], "missing": now["missing"]}
    gone = [of["input"] for of in old if of["input"] not in asked]
    return {
        "train": [_at(base, evaluate.METRICS, root).get("train"), drift.window(train)],
        "inputs": inputs,
        "gone": gone,
    }


def known(base: str, root: Path) -> list[dict[str, Any]]:
    """The training reference that the commit `base` holds; empty when it holds none, or one of another form."""
    try:
        found = list(_at(base, drift.PATH, root))
        whole = all({"input", "shares", "missing"} <= set(of) and {"values", "edges"} & set(of) for of in found)
    except TypeError:
        return []
    return found if whole else []


def _at(base: str, path: Path, root: Path) -> Any:
    """The JSON of a file at a commit; empty when there is none that can be read."""
    try:
        return json.loads(git.file_at(base, path.as_posix(), root=root) or "{}")
    except ValueError:
        return {}
