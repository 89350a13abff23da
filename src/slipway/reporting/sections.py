"""Sections on delivery (effect of the change on the cluster, effect of the merge) and latency.

They read records that a stranger may have written: every sentence here is plain text, not markup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.reporting.markdown import details, escape, table
from slipway.reporting.report_model import Change, Delivery, Facts
from slipway.reporting.summary import main_check, number

if TYPE_CHECKING:
    from slipway.cluster import object_diff

PODS = {"added": "pods start", "removed": "pods stop", "changed": "pods restart"}
SHOWN = 3
"""Names that a sentence lists."""


@dataclass(frozen=True, kw_only=True)
class Sync:
    """The effect of a sync by Argo CD in one environment: number of differences, pods that change, hooks that run.

    A hook is not a difference: where nothing else changed, nothing is synced, and no hook runs.
    """

    env: str
    changed: int
    hooks: int
    pods: list[str]
    runs: list[str]

    @property
    def synced(self) -> bool:
        """True if anything but a hook differs."""
        return self.changed > self.hooks


def planned_syncs(delivery: Delivery) -> list[Sync]:
    """The effect of a sync in each environment that an Argo CD Application follows."""
    syncs = []
    for env in delivery.envs:
        changes = [change for change in delivery.changes if change.env == env]
        hooks = sum(bool(change.hook) for change in changes)
        pods = [f"{PODS.get(change.what, 'pods change')}: {change.kind} {change.name}"
                for change in changes if change.pods and not change.hook]  # fmt: skip
        runs = delivery.hooks.get(env, []) if len(changes) > hooks else []
        syncs.append(Sync(env=env, changed=len(changes), hooks=hooks, pods=pods, runs=runs))
    return syncs


def delivery_sentences(facts: Facts) -> list[str]:
    """The sentences of the section, first those on the change itself; none where no record has a delivery."""
    if not (delivery := facts.delivery):
        return []
    sentences = [] if delivery.by else ["not rendered: no kustomize here"]
    if not delivery.files:
        sentences.append("nothing below k8s/ changes, so nothing in the cluster changes by this pull request itself")
    elif not delivery.by:
        sentences.append(
            f"{_count(delivery.files, 'file')} below k8s/ changed; what that does to the cluster is not known"
        )
    else:
        sentences += _rendered(delivery)
    return [*sentences, merge_sentence(delivery), *_rules(facts)]


def _rendered(delivery: Delivery) -> list[str]:
    """The differences of the rendered objects as sentences, environment by environment."""
    sentences = [
        f"{env}: what changes is not known, for it does not build here, or not at the base" for env in delivery.unknown
    ]
    sentences += [_synced(row) for row in planned_syncs(delivery) if row.changed]
    manual = [change.env for change in delivery.changes if change.env not in delivery.envs]
    sentences += [f"{env}: {_count(manual.count(env), 'object')} changed; no application syncs them, a person applies them"
                  for env in dict.fromkeys(manual)]  # fmt: skip
    if (more := delivery.objects - len(delivery.changes)) > 0:
        differ = "differs" if more == 1 else "differ"
        sentences.append(f"and {_count(more, 'object')} more that {differ}, not looked at here")
    return sentences or [
        f"{_count(delivery.files, 'file')} below k8s/ changed, and no rendered object with them: no sync"
    ]


def _synced(row: Sync) -> str:
    objects = _count(row.changed, "object")
    if not row.synced:
        return (
            f"{row.env}: {objects} changed, all of them hooks: "
            "Argo CD sees no difference, nothing is synced, nothing runs"
        )
    pods = _names(row.pods) if row.pods else "no pod restarts"
    runs = f"; runs again: {_names(row.runs)}" if row.runs else ""
    return f"{row.env}: synced, {objects} changed; {pods}{runs}"


def merge_sentence(delivery: Delivery) -> str:
    """The release that follows the merge, as a sentence."""
    if not delivery.ships:
        return "nothing that ships changed: the merge releases nothing"
    where = "; on GitHub not before newName in k8s/overlays/staging names a registry" if delivery.local else ""
    return (f"the merge releases a new image ({_names(delivery.ships)} changed): staging's pods restart with it and are "
            f"judged, production's follow by promotion{where}")  # fmt: skip


def _rules(facts: Facts) -> list[str]:
    """The result of the rules of k8s/policy, where any object was rendered."""
    gate = facts.gates.get("manifests")
    checks = [check for check in gate.checks if str(check.name).startswith("rule ")] if gate else []
    broken = [str(check.name).removeprefix("rule ") for check in checks if check.ok is not True]
    if not checks or not (broken or facts.delivery.files):
        return []  # rules that hold for unchanged objects are in the gates table
    result = f"broken: {_names(broken)}" if broken else f"all {len(checks)} hold"
    return [f"rules of k8s/policy: {result} (as this code reads them; no API server was asked)"]


def change_rows(changes: Sequence[Change] | Sequence[object_diff.Change], max_fields: int) -> list[list[str]]:
    """Rows of object, field, and its value before and after; at most `max_fields` fields of an object."""
    rows = []
    for change in changes:
        where = f"{change.env}: {change.kind} {change.name}{' (hook)' if change.hook else ''}"
        cells = [[str(path), f"{before or '–'} → {after or '–'}"] for path, before, after in change.fields[:max_fields]]
        if (more := len(change.fields) - max_fields) > 0:
            cells.append([f"and {more} more", ""])
        for path, values in cells or [["", change.what]]:
            rows.append([where, path, values])
            where = ""
    return rows


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _count(count: object, noun: str) -> str:
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


LATENCY_HEAD = ("", ">base, ms", ">this change, ms", ">ratio", ">noise band", ">tolerated")
LATENCY_WORDS = {"pass": "not slower than the base", "fail": "refused", "unsure": "cannot tell"}


def latency_rows(facts: Facts) -> list[list[str]]:
    """Rows of a percentile's name, milliseconds of base and change, their ratio, its noise band, the tolerated ratio."""
    return [
        [
            str(name),
            number(base_ms),
            number(head_ms),
            latency_ratio(more),
            f"{latency_ratio(low)} … {latency_ratio(high)}",
            latency_ratio(tolerated),
        ]
        for name, base_ms, head_ms, more, low, high, tolerated in facts.latency.table
    ]


def latency_ratio(more: object) -> str:
    """A part above the base's as a ratio to it."""
    return number(float(more) + 1) if isinstance(more, int | float) else "–"


def latency_outcome(facts: Facts) -> str:
    """The verdict with its main figures; empty where latency was not measured."""
    if not (gate := facts.gates.get("latency")):
        return ""
    word, rows = str(gate.verdict), latency_rows(facts)
    if word == "pass" and rows:
        name, _, _, ratio, band, tolerated = rows[0]
        return f"{LATENCY_WORDS[word]}: {name} × {ratio} ({band}), tolerated × {tolerated}"
    if word == "pass":
        return str(gate.checks[0].value) if gate.checks else ""
    return f"{LATENCY_WORDS[word]}: {main_check(gate)}" if word in LATENCY_WORDS else main_check(gate)


def latency_section(facts: Facts) -> str:
    """The part of the comment: folded when latency passes, else with its table in sight."""
    if not (outcome := escape(latency_outcome(facts), 300)):
        return ""
    rows = [[escape(cell, 60) for cell in row] for row in latency_rows(facts)]
    lines = table(LATENCY_HEAD, rows) if rows else ""
    if facts.gates["latency"].verdict == "pass" and lines:
        return details(f"Latency: {outcome}", lines)
    return "\n\n".join(filter(None, [f"**Latency**: {outcome}", lines]))
