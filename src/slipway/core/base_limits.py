"""Read limits and parameters of the base commit: a change is judged by its base's limits, never by its own."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml.error import YAMLError

from slipway.core import git, strict_model
from slipway.core.process import UndecodableOutput
from slipway.errors import ConfigError

FILE = "params.yaml"
LIMIT_SECTIONS = ("judge.", "prove.")
"""Prefixes of the dotted keys of params.yaml that are limits."""
RESTART = "judge.restart_at:"
"""The one key below them that is none: a change's own value holds, and `judging.champion` checks it."""

S = TypeVar("S", bound=strict_model.StrictModel)


def params_at(base: str, *, root: Path) -> dict[str, Any]:
    """params.yaml of the newest commit up to `base` in which it can be read; empty if there is none.

    A broken file on the base must not block the change that mends it, nor replace the limits that held before.
    """
    if (newest := _readable_at(base, root)) is not None:
        return newest
    for commit in git.commits(base, FILE, root=root):
        if values := _readable_at(commit.sha, root):
            return values
    if git.is_shallow(root):
        raise ConfigError(
            f"{FILE} of the base {base[:12]} cannot be read, and this shallow clone lacks the commits before it",
            hint=git.UNSHALLOW,
        )
    return {}


def _readable_at(commit: str, root: Path) -> dict[str, Any] | None:
    """The sections of params.yaml at a commit, empty without that file; None if it cannot be read."""
    try:
        values = strict_model.parse_yaml(git.file_at(commit, FILE, root=root) or "{}")
    except (YAMLError, UndecodableOutput):
        return None
    return values if isinstance(values, dict) else None


def limits_at_base(base: str, section: str, default: S, *, root: Path) -> S:
    """The limits in `section` of the base commit; `default`, this commit's own, if the base has no such section.

    They are those of the newest commit up to the base whose section fits the model of `default`. ConfigError if it is in
    none of them: the change itself may have made the model another one.
    """
    values = params_at(base, root=root).get(section)
    try:
        return type(default).model_validate(values) if values else default
    except ValidationError as error:
        problems = strict_model.describe_errors(error, top_level=f"section {section}")
    for commit in git.commits(base, FILE, root=root):
        earlier = (_readable_at(commit.sha, root) or {}).get(section)
        with contextlib.suppress(ValidationError):
            return type(default).model_validate(earlier)
    raise ConfigError(
        f"section {section} of params.yaml at the base {base[:12]} does not fit this code: {problems}",
        hint="change that section on the base branch first, in a pull request of its own",
    )


def changed_params(base: str, *, root: Path) -> tuple[list[str], list[str]]:
    """The changed limits and the other changed parameters, as `key: old → new`; both empty if the base has no params.yaml."""
    old = params_at(base, root=root)
    new = strict_model.parse_yaml((root / FILE).read_text(encoding="utf-8"))
    changed = changed_values(old, new) if old else []
    limits = [row for row in changed if row.startswith(LIMIT_SECTIONS) and not row.startswith(RESTART)]
    return limits, [row for row in changed if row not in limits]


def changed_values(old: Any, new: Any, key: str = "") -> list[str]:
    """The values that differ between two nested mappings, as `key: old → new` with a dotted key."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = list(dict.fromkeys([*old, *new]))
        return [row for k in keys for row in changed_values(old.get(k), new.get(k), f"{key}.{k}" if key else str(k))]
    return [] if old == new else [f"{key}: {old} → {new}"]
