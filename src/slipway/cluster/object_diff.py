"""Compare Kubernetes objects, as kustomize prints them, between two renderings."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slipway.core.text import printable

HOOKS = ("argocd.argoproj.io/hook", "helm.sh/hook")
HASHED = re.compile("-[2456789bcdfghkmt]{10}$")
"""The suffix that kustomize's generators append to a name."""
DIGEST = re.compile("(sha256:[0-9a-f]{12})[0-9a-f]{52}")
KEYS = ("name", "mountPath", "key", "containerPort", "port")
"""Keys that may identify a list's items: the first one by which all of them differ."""
WORKLOADS = ("Deployment", "Rollout", "StatefulSet", "DaemonSet", "ReplicaSet")
"""Kinds that replace their pods when their template changes."""
MAX_FIELDS, MAX_VALUE = 25, 120
"""Fields kept of one object, characters kept of one value."""
Object = Mapping[str, Any]
Rendering = Mapping[str, "list[Object] | str"]
"""Objects by environment; an error as text in place of them where they could not be rendered."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One object that differs; `fields` are its paths, each with the value before and after (None: absent).

    `hook`: Argo CD runs the object, and does not compare it. `pods`: the change starts, stops or replaces pods.
    """

    env: str
    kind: str
    namespace: str
    name: str
    what: str
    hook: bool
    pods: bool
    fields: Sequence[tuple[str, str | None, str | None]] = field(default_factory=list)


def changes(before: Rendering, after: Rendering) -> list[Change]:
    """The objects that differ between two renderings, environment by environment."""
    results = []
    for env in dict.fromkeys([*after, *before]):
        old, new = before.get(env, []), after.get(env, [])
        if not isinstance(old, str) and not isinstance(new, str):
            results += compare(old, new, env)
    return results


def compare(before: Sequence[Object], after: Sequence[Object], env: str) -> list[Change]:
    """The objects of `env` that differ, in the order of their names."""
    old, new = by_name(before), by_name(after)
    results = []
    for key in sorted(old.keys() | new.keys()):
        pair = (old.get(key), new.get(key))
        if pair[0] == pair[1]:
            continue
        _, kind, namespace, name = key
        what = "added" if pair[0] is None else "removed" if pair[1] is None else "changed"
        old_object, new_object = (_hide_secret(each) if each else {} for each in pair)
        rows = differences(old_object, new_object) if what == "changed" else ()
        fields = [(printable(path, MAX_VALUE), old_value, new_value) for path, old_value, new_value in rows]
        if len(fields) > MAX_FIELDS:
            fields[MAX_FIELDS:] = [("…", None, f"and {len(fields) - MAX_FIELDS} more")]
        hook = all(is_hook(each) for each in pair if each)
        pods = kind in WORKLOADS and pod_template(pair[0]) != pod_template(pair[1])
        results.append(
            Change(env=env, kind=kind, namespace=namespace, name=name, what=what, hook=hook, pods=pods, fields=fields)
        )
    return results


def by_name(objects: Sequence[Object]) -> dict[tuple[str, str, str, str], Object]:
    """Objects by group, kind, namespace and name; a generated name without its hash, unless two would be one."""
    keys = [_key(one, short=True) for one in objects]
    counts = Counter(keys)
    return {key if counts[key] == 1 else _key(one, short=False): one for key, one in zip(keys, objects, strict=True)}


def _key(one: Object, *, short: bool) -> tuple[str, str, str, str]:
    kind, metadata = str(one.get("kind")), one["metadata"]
    name = str(metadata.get("name"))
    if short and kind in ("ConfigMap", "Secret"):
        name = HASHED.sub("", name)
    return str(one.get("apiVersion")).rpartition("/")[0], kind, str(metadata.get("namespace") or ""), name


def pod_template(one: Object | None) -> Any:
    """A workload's pod template; None without one."""
    spec = (one or {}).get("spec")
    return spec.get("template") if isinstance(spec, Mapping) else None


def is_hook(one: Object) -> bool:
    """Return whether the object is a hook for Argo CD: run at a sync, never compared."""
    annotations = one["metadata"].get("annotations")
    return isinstance(annotations, Mapping) and any(name in annotations for name in HOOKS)


def _hide_secret(one: Object) -> Object:
    """The object; a Secret's values can only be compared, because the report is public."""
    if one.get("kind") != "Secret":
        return one
    open_fields = {name: one[name] for name in ("apiVersion", "kind", "type") if name in one}
    return open_fields | {name: _Hidden(one[name]) for name in one if name not in open_fields}


@dataclass(frozen=True)
class _Hidden:
    """A value that can be compared but not read."""

    value: Any

    def __repr__(self) -> str:
        return "(hidden)"


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, str | None, str | None]]:
    """The paths at which two values differ, with the value before and after.

    Items of lists are matched by one of KEYS, and texts of several lines are compared by line.
    """
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list) and (key := _identifying_key(before, after)):
        old, new = ({f"[{item[key]}]": item for item in items} for items in (before, after))
        for name in dict.fromkeys([*old, *new]):
            yield from differences(old.get(name), new.get(name), path + name)
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys([*before, *after]):
            step = f"[{name}]" if re.search("[./]", str(name)) else f".{name}" if path else str(name)
            yield from differences(before.get(name), after.get(name), path + step)
    elif isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        yield path, *_lines(before.splitlines(), after.splitlines())
    else:
        yield path, format_value(before), format_value(after)


def _identifying_key(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """The key that identifies every item of both lists; None when no key of KEYS does."""
    for key in KEYS:
        if all(
            isinstance(item, Mapping) and isinstance(item.get(key), str | int) for item in [*before, *after]
        ) and all(len({item[key] for item in items}) == len(items) for items in (before, after)):
            return key
    return None


def _lines(before: Sequence[str], after: Sequence[str]) -> tuple[str | None, str | None]:
    """The lines that only one of two texts has."""
    lines = list(difflib.ndiff(before, after))
    old, new = (" ⏎ ".join(line[2:].strip() for line in lines if line.startswith(mark)) for mark in "-+")
    return format_value(old or None), format_value(new or None)


def format_value(value: Any) -> str | None:
    """A value as one short line with digests cut; None for None."""
    if value is None:
        return None
    if isinstance(value, _Hidden):
        return repr(value)
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return printable(DIGEST.sub(r"\1…", text), MAX_VALUE)
