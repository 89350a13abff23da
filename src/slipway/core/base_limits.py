"""Read limits and parameters of the base commit: a change is judged by its base's limits, never by its own."""

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
"""Prefixes of the dotted keys of params.yaml that are limits."""
RESTART = "judge.restart_at:"
"""The one key below them that is none: a change's own value holds, and `judging.champion` checks it."""

S = TypeVar("S", bound=strict_model.StrictModel)


def params_at(base: str, *, root: Path) -> dict[str, Any]:
    """params.yaml of the commit `base`; empty if it has none, ConfigError if it is not YAML."""
    text = git.file_at(base, "params.yaml", root=root)
    try:
        return (YAML(typ="safe").load(text) or {}) if text else {}
    except YAMLError as error:
        problem = strict_model.describe_syntax_error(error)
        hint = "correct params.yaml on the base branch first"
        raise ConfigError(f"params.yaml of the base {base[:12]} is not valid YAML: {problem}", hint=hint) from None


def limits_at_base(base: str, section: str, default: S, *, root: Path) -> S:
    """The limits in `section` of the base commit; `default`, this commit's own, if the base has no such section.

    ConfigError if the base's section does not fit the model of `default`.
    """
    values = params_at(base, root=root).get(section)
    try:
        return type(default).model_validate(values) if values else default
    except ValidationError as error:
        problems = strict_model.describe_errors(error, top_level=f"section {section}")
        raise ConfigError(
            f"section {section} of params.yaml at the base {base[:12]} does not fit this code: {problems}",
            hint="change that section on the base branch first, in a pull request of its own",
        ) from None


def changed_params(base: str, *, root: Path) -> tuple[list[str], list[str]]:
    """The changed limits and the other changed parameters, as `key: old → new`; both empty if the base has no params.yaml."""
    old = params_at(base, root=root)
    new = YAML(typ="safe").load((root / "params.yaml").read_text(encoding="utf-8"))
    changed = changed_values(old, new) if old else []
    limits = [row for row in changed if row.startswith(LIMIT_SECTIONS) and not row.startswith(RESTART)]
    return limits, [row for row in changed if row not in limits]


def changed_values(old: Any, new: Any, key: str = "") -> list[str]:
    """The values that differ between two nested mappings, as `key: old → new` with a dotted key."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = list(dict.fromkeys([*old, *new]))
        return [row for k in keys for row in changed_values(old.get(k), new.get(k), f"{key}.{k}" if key else str(k))]
    return [] if old == new else [f"{key}: {old} → {new}"]
