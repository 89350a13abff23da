"""The limits and parameters of the base commit: a change is judged by its base's limits, never by its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import git, strict_model
from slipway.errors import ConfigError

LIMIT_SECTIONS = ("judge.", "prove.")
"""Sections of params.yaml that hold as the base has them: no change is judged by its own limits."""


S = TypeVar("S", bound=strict_model.StrictModel)


def params_at(base: str, *, root: Path) -> dict[str, Any]:
    """params.yaml of the commit `base`; empty when it has none."""
    text = git.file_at(base, "params.yaml", root=root)
    try:
        return (YAML(typ="safe").load(text) or {}) if text else {}
    except YAMLError as error:
        raise ConfigError(f"params.yaml of the base {base[:12]} is not YAML: {error}") from None


def limits_at_base(base: str, section: str, own: S, *, root: Path) -> S:
    """A section as the base has it, which is what holds; `own` when the base has no such section yet."""
    found = params_at(base, root=root).get(section)
    try:
        return type(own).model_validate(found) if found else own
    except ValidationError as error:
        raise ConfigError(
            f"params.yaml of the base {base[:12]}: this code cannot read section {section}: {error}"
        ) from None


def changed_params(base: str, *, root: Path) -> tuple[list[str], list[str]]:
    """What differs in params.yaml: in limits, and elsewhere; nothing when the base has none."""
    old = params_at(base, root=root)
    now = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))
    changed = changed_values(old, now) if old else []
    limits = [row for row in changed if row.startswith(LIMIT_SECTIONS)]
    return limits, [row for row in changed if row not in limits]


def changed_values(old: Any, now: Any, key: str = "") -> list[str]:
    """Changed values by dotted key, as `key: old → new`."""
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys([*old, *now]))
        return [row for k in keys for row in changed_values(old.get(k), now.get(k), f"{key}.{k}" if key else str(k))]
    return [] if old == now else [f"{key}: {old} → {now}"]
