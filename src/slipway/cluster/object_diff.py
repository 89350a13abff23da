"""Kubernetes objects as kustomize prints them, and what differs between two renderings of them. Pure."""

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
"""What kustomize's generators put behind a name."""
DIGEST = re.compile("(sha256:[0-9a-f]{12})[0-9a-f]{52}")
KEYS = ("name", "mountPath", "key", "containerPort", "port")
"""By which of its entries a list's item is known: the first that tells them apart."""
WORKLOADS = ("Deployment", "Rollout", "StatefulSet", "DaemonSet", "ReplicaSet")
"""Kinds that replace their pods when their template changes."""
MAX_FIELDS, MAX_VALUE = 25, 120
"""Kept of one object, and of one value (in characters)."""
Object = Mapping[str, Any]
Rendering = Mapping[str, "list[Object] | str"]
"""Objects by environment; words in place of them where it could not be rendered."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One object that differs; `fields` are its paths, each with the value before and after (None: not there).

    `hook`: Argo CD runs it, and does not compare it. `pods`: pods start, stop or are replaced by it.
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
    """What differs between two renderings, environment by environment. Pure."""
    found = []
    for env in dict.fromkeys([*after, *before]):
        old, new = before.get(env, []), after.get(env, [])
        if not isinstance(old, str) and not isinstance(new, str):
            found += compare(old, new, env)
    return found


def compare(before: Sequence[Object], after: Sequence[Object], env: str) -> list[Change]:
    """The objects of `env` that differ, in the order of their names. Pure."""
    old, new = known(before), known(after)
    found = []
    for key in sorted(old.keys() | new.keys()):
        pair = (old.get(key), new.get(key))
        if pair[0] == pair[1]:
            continue
        _, kind, namespace, name = key
        what = "added" if pair[0] is None else "removed" if pair[1] is None else "changed"
        old_one, new_one = (_open(one) if one else {} for one in pair)
        told = differences(old_one, new_one) if what == "changed" else ()
        seen = [(printable(path, MAX_VALUE), was, now) for path, was, now in told]
        if len(seen) > MAX_FIELDS:
            seen[MAX_FIELDS:] = [("…", None, f"and {len(seen) - MAX_FIELDS} more")]
        hook = all(hooked(one) for one in pair if one)
        pods = kind in WORKLOADS and template(pair[0]) != template(pair[1])
        found.append(
            Change(env=env, kind=kind, namespace=namespace, name=name, what=what, hook=hook, pods=pods, fields=seen)
        )
    return found


def known(objects: Sequence[Object]) -> dict[tuple[str, str, str, str], Object]:
    """Objects by group, kind, namespace and name; a generated name without its hash, unless two would be one."""
    keys = [_key(one, short=True) for one in objects]
    many = Counter(keys)
    return {key if many[key] == 1 else _key(one, short=False): one for key, one in zip(keys, objects, strict=True)}


def _key(one: Object, *, short: bool) -> tuple[str, str, str, str]:
    kind, named = str(one.get("kind")), one["metadata"]
    name = str(named.get("name"))
    if short and kind in ("ConfigMap", "Secret"):
        name = HASHED.sub("", name)
    return str(one.get("apiVersion")).rpartition("/")[0], kind, str(named.get("namespace") or ""), name


def template(one: Object | None) -> Any:
    """A workload's pod template; None without one."""
    spec = (one or {}).get("spec")
    return spec.get("template") if isinstance(spec, Mapping) else None


def hooked(one: Object) -> bool:
    """Whether Argo CD takes the object for a hook: run at a sync, never compared."""
    notes = one["metadata"].get("annotations")
    return isinstance(notes, Mapping) and any(name in notes for name in HOOKS)


def _open(one: Object) -> Object:
    """The object with its values; of a Secret only whether they differ, for a page is read by everybody."""
    if one.get("kind") != "Secret":
        return one
    shown = {name: one[name] for name in ("apiVersion", "kind", "type") if name in one}
    return shown | {name: _Hidden(one[name]) for name in one if name not in shown}


@dataclass(frozen=True)
class _Hidden:
    """A value that can be compared and not read."""

    value: Any

    def __repr__(self) -> str:
        return "(hidden)"


def differences(before: Any, after: Any, path: str = "") -> Iterator[tuple[str, str | None, str | None]]:
    """Where two values differ: path, before, after; named items of lists by their name, long text by its lines."""
    if before == after:
        return
    if isinstance(before, list) and isinstance(after, list) and (key := _keyed(before, after)):
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
        yield path, shown(before), shown(after)


def _keyed(before: Sequence[Any], after: Sequence[Any]) -> str | None:
    """The entry that names every item of both lists, each once."""
    for key in KEYS:
        if all(
            isinstance(item, Mapping) and isinstance(item.get(key), str | int) for item in [*before, *after]
        ) and all(len({item[key] for item in items}) == len(items) for items in (before, after)):
            return key
    return None


def _lines(before: Sequence[str], after: Sequence[str]) -> tuple[str | None, str | None]:
    """Of two texts the lines that only one of them has."""
    told = list(difflib.ndiff(before, after))
    old, new = (" ⏎ ".join(line[2:].strip() for line in told if line.startswith(mark)) for mark in "-+")
    return shown(old or None), shown(new or None)


def shown(value: Any) -> str | None:
    """A value for a reader: one short line, digests cut; None for what is not there."""
    if value is None:
        return None
    text = (
        value
        if isinstance(value, str)
        else repr(value)
        if isinstance(value, _Hidden)
        else json.dumps(value, default=str)
    )
    return printable(DIGEST.sub(r"\1…", text), MAX_VALUE)
