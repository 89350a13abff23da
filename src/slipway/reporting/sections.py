"""What a change does to the cluster, in words: what is synced, what restarts, what a merge leads to. Pure.

It reads the notes of `manifests`, which a stranger may have written: every sentence here is plain text, not markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slipway.reporting.markdown import details, escape, table
from slipway.reporting.report_data import Facts, Record
from slipway.reporting.summary import main_check, number

PODS = {"added": "pods start", "removed": "pods stop", "changed": "pods restart"}
SHOWN = 3
"""Names in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    """What Argo CD would do in one environment: whether it sees a difference, which pods are replaced, which hooks run.

    A hook is no part of the difference: where nothing else changed, nothing is synced, and nothing runs.
    """

    env: str
    changed: int
    hooks: int
    pods: list[str]
    runs: list[str]

    @property
    def synced(self) -> bool:
        """Whether anything but a hook differs."""
        return self.changed > self.hooks


def sync(found: Record) -> list[Sync]:
    """One for each environment that an application follows, of the notes of `manifests`."""
    syncs = []
    for env in found.get("envs") or ():
        rows = [row for row in found.get("changes") or () if row["env"] == env]
        hooks = sum(row["hook"] for row in rows)
        pods = [f"{PODS[row['what']]}: {row['kind']} {row['name']}" for row in rows if row["pods"] and not row["hook"]]
        runs = list((found.get("hooks") or {}).get(env) or ()) if len(rows) > hooks else []
        syncs.append(Sync(env=env, changed=len(rows), hooks=hooks, pods=pods, runs=runs))
    return syncs


def lines(given: Facts) -> list[str]:
    """The sentences of the section, the first of what this change itself does; none where there is no cluster to tell of."""
    found = given.delivery
    if not found:
        return []
    said = [] if found.get("by") else ["not rendered: no kustomize here"]
    if not found.get("files"):
        said.append("nothing below k8s/ changes, so nothing in the cluster changes by this pull request itself")
    elif not found.get("by"):
        said.append(f"{_many(found['files'], 'file')} below k8s/ changed; what that does to the cluster is not known")
    else:
        said += _rendered(found)
    return [*said, merged(found), *_ruled(given)]


def _rendered(found: Record) -> list[str]:
    """What the rendered objects say, environment by environment."""
    said = [
        f"{env}: what changes is not known, for it does not build here, or not at the base"
        for env in found.get("unknown") or ()
    ]
    said += [_synced(one) for one in sync(found) if one.changed]
    hand = [row["env"] for row in found.get("changes") or () if row["env"] not in (found.get("envs") or ())]
    said += [f"{env}: {_many(hand.count(env), 'object')} changed; no application syncs them, a person applies them"
             for env in dict.fromkeys(hand)]  # fmt: skip
    if (more := (found.get("objects") or 0) - len(found.get("changes") or ())) > 0:
        said.append(f"and {_many(more, 'object')} more that {'differs' if more == 1 else 'differ'}, not looked at here")
    return said or [f"{_many(found['files'], 'file')} below k8s/ changed, and no rendered object with them: no sync"]


def _synced(one: Sync) -> str:
    many = _many(one.changed, "object")
    if not one.synced:
        return (
            f"{one.env}: {many} changed, all of them hooks: Argo CD sees no difference, nothing is synced, nothing runs"
        )
    pods = _names(one.pods) if one.pods else "no pod restarts"
    runs = f"; runs again: {_names(one.runs)}" if one.runs else ""
    return f"{one.env}: synced, {many} changed; {pods}{runs}"


def merged(found: Record) -> str:
    """What the merge leads to, beside what the change itself does."""
    if not (ships := list(found.get("ships") or ())):
        return "nothing that ships changed: the merge releases nothing"
    where = "; on GitHub not before newName in k8s/overlays/staging names a registry" if found.get("local") else ""
    return (f"the merge releases a new image ({_names(ships)} changed): staging's pods restart with it and are judged, "
            f"production's follow by promotion{where}")  # fmt: skip


def _ruled(given: Facts) -> list[str]:
    """What the rules of k8s/policy say, where any object was rendered."""
    checks = [c for c in given.gates.get("manifests", {}).get("checks", ()) if str(c.get("name")).startswith("rule ")]
    broken = [str(c["name"]).removeprefix("rule ") for c in checks if c.get("ok") is not True]
    if not checks or not (broken or given.delivery.get("files")):
        return []  # of what did not change, the gate alone is enough
    told = f"broken: {_names(broken)}" if broken else f"all {len(checks)} hold"
    return [f"rules of k8s/policy: {told} (as this code reads them; no API server was asked)"]


def change_rows(changes: Sequence[Record], fields: int) -> list[list[str]]:
    """Rows of object, field, and what it was and is; at most `fields` of an object."""
    rows = []
    for one in changes:
        where = f"{one['env']}: {one['kind']} {one['name']}{' (hook)' if one['hook'] else ''}"
        told = [
            [path, f"{before or '–'} → {after or '–'}"] for path, before, after in (one.get("fields") or ())[:fields]
        ]
        if (more := len(one.get("fields") or ()) - fields) > 0:
            told.append([f"and {more} more", ""])
        for path, change in told or [["", one["what"]]]:
            rows.append([where, str(path), change])
            where = ""
    return rows


def _names(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _many(count: object, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


LATENCY_HEAD = ("", ">base, ms", ">this change, ms", ">ratio", ">noise band", ">tolerated")
LATENCY_WORDS = {"pass": "not slower than the base", "fail": "refused", "unsure": "cannot tell"}


def latency_rows(given: Facts) -> list[list[str]]:
    """Of each percentile: name, milliseconds of the base and of this change, ratio, its noise band, what is tolerated."""
    found = []
    for name, base, head, more, low, high, most in given.latency.get("table") or ():
        times = [number(value) for value in (base, head)]
        found.append(
            [
                str(name),
                *times,
                latency_ratio(more),
                f"{latency_ratio(low)} … {latency_ratio(high)}",
                latency_ratio(most),
            ]
        )
    return found


def latency_ratio(more: object) -> str:
    """A part above the base's as a ratio to it."""
    return number(float(more) + 1) if isinstance(more, int | float) else "–"


def latency_outcome(given: Facts) -> str:
    """The verdict with what stands behind it; empty where latency was not asked about."""
    if not (gate := given.gates.get("latency")):
        return ""
    word, found = str(gate.get("verdict")), latency_rows(given)
    if word == "pass" and found:
        name, _, _, is_, band, most = found[0]
        return f"{LATENCY_WORDS[word]}: {name} × {is_} ({band}), tolerated × {most}"
    if word == "pass":
        return next((str(check.get("value")) for check in gate.get("checks") or ()), "")
    return f"{LATENCY_WORDS[word]}: {main_check(gate)}" if word in LATENCY_WORDS else main_check(gate)


def latency_section(given: Facts) -> str:
    """The part of the comment: a line to open where it is a pass, else with its table in sight."""
    if not (said := escape(latency_outcome(given), 300)):
        return ""
    lines = (
        table(LATENCY_HEAD, [[escape(cell, 60) for cell in row] for row in latency_rows(given)])
        if latency_rows(given)
        else ""
    )
    if given.gates["latency"].get("verdict") == "pass" and lines:
        return details(f"Latency: {said}", lines)
    return "\n\n".join(filter(None, [f"**Latency**: {said}", lines]))
