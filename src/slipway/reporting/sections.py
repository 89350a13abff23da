"""Sections on delivery (effect of the change on the cluster, effect of the merge) and latency.

They read records that a stranger may have written: every sentence here is plain text, not markup.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slipway.reporting.markdown import details, escape, table
from slipway.reporting.report_model import Change, Delivery, Facts
from slipway.reporting.summary import describe_gate, main_check
from slipway.reporting.wording import capitalised, count, is_number, number

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
    sentences = [] if delivery.by else ["The manifests were not rendered: kustomize is not installed here"]
    if not delivery.files:
        sentences.append("No file below k8s/ changes, so this pull request itself changes nothing in the cluster")
    elif not delivery.by:
        sentences.append(f"{count(delivery.files, 'file')} below k8s/ changed; their effect on the cluster is unknown")
    else:
        sentences += _rendered(delivery)
    return [*sentences, merge_sentence(delivery), *_rules(facts)]


def _rendered(delivery: Delivery) -> list[str]:
    """The differences of the rendered objects as sentences, environment by environment."""
    sentences = [
        f"{env}: the effect is unknown, since it does not build here, or not at the base" for env in delivery.unknown
    ]
    sentences += [_synced(row) for row in planned_syncs(delivery) if row.changed]
    manual = [change.env for change in delivery.changes if change.env not in delivery.envs]
    sentences += [f"{env}: {count(manual.count(env), 'object')} changed; no Application syncs that, so a person must apply it"
                  for env in dict.fromkeys(manual)]  # fmt: skip
    if (more := delivery.objects - len(delivery.changes)) > 0:
        sentences.append(f"{count(more, 'more object')} changed, not listed here")
    return sentences or [
        f"{count(delivery.files, 'file')} below k8s/ changed, but no rendered object, so Argo CD syncs nothing"
    ]


def _synced(row: Sync) -> str:
    objects = count(row.changed, "object")
    if not row.synced:
        return f"{row.env}: {objects} changed, all of them hooks; Argo CD ignores these, so nothing is synced and nothing runs"
    pods = f"; {_names(row.pods)}" if row.pods else "; no pod restarts"
    runs = f"; runs again: {_names(row.runs)}" if row.runs else ""
    return f"{row.env}: Argo CD applies {count(row.changed, 'changed object')}{pods}{runs}"


def merge_sentence(delivery: Delivery) -> str:
    """The release that follows the merge, as a sentence."""
    if not delivery.ships:
        return "The merge releases nothing, since no file of the image changed"
    where = "; on GitHub only once newName in k8s/overlays/staging names a registry" if delivery.local else ""
    return (f"The merge releases a new image, since {_names(delivery.ships)} changed: staging's pods restart with it and are "
            f"load-tested, production's follow by promotion{where}")  # fmt: skip


def _rules(facts: Facts) -> list[str]:
    """The result of the rules of k8s/policy, where any object was rendered."""
    gate = facts.gates.get("manifests")
    checks = [check for check in gate.checks if str(check.name).startswith("rule ")] if gate else []
    broken = [str(check.name).removeprefix("rule ") for check in checks if check.ok is not True]
    if not checks or not (broken or facts.delivery.files):
        return []  # rules that hold for unchanged objects are in the gates table
    if broken:
        return [f"Rules of k8s/policy that are broken: {_names(broken)} (checked without a cluster)"]
    rules = "the one rule" if len(checks) == 1 else f"all {len(checks)} rules"
    return [f"The objects keep {rules} of k8s/policy (checked without a cluster)"]


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


LATENCY_HEAD = ("", ">before, ms", ">this change, ms", ">difference", ">noise interval", ">allowed")
LATENCY_WORDS = {"pass": "not slower than before", "fail": "slower than before", "unsure": "inconclusive"}


def latency_rows(facts: Facts) -> list[list[str]]:
    """Rows of a percentile's name, milliseconds of base and change, their difference in percent, its interval, its limit."""
    return [
        [
            str(name),
            milliseconds(base_ms),
            milliseconds(head_ms),
            percent(more),
            f"{percent(low)} to {percent(high)}",
            f"at most {percent(tolerated)}",
        ]
        for name, base_ms, head_ms, more, low, high, tolerated in facts.latency.table
    ]


def milliseconds(value: object) -> str:
    """A time with three figures."""
    return f"{value:,.3g}" if is_number(value) and value < 1000 else number(value)


def percent(part: object) -> str:
    """A part above the base's in percent, with its sign."""
    return f"{number(round(100 * part, 1), signed=True)} %" if is_number(part) and math.isfinite(part) else "–"


def latency_outcome(facts: Facts) -> str:
    """The verdict with its main figures; empty where latency was not measured."""
    if not (gate := facts.gates.get("latency")):
        return ""
    word, rows = str(gate.verdict), latency_rows(facts)
    if word == "fail":  # the percentiles whose whole interval is above what is allowed
        rows = [row for row, (*_, low, _, allowed) in zip(rows, facts.latency.table, strict=True)
                if is_number(low) and is_number(allowed) and low > allowed]  # fmt: skip
    if rows and word in ("pass", "fail"):
        name, _, _, more, ends, allowed = rows[0]
        return f"{LATENCY_WORDS[word]}: {name} {more} (noise interval {ends}; allowed: {allowed})"
    if word == "pass":
        return str(gate.checks[0].value) if gate.checks else ""
    return f"inconclusive: {main_check(gate)}" if word == "unsure" else main_check(gate)


def gate_sentence(facts: Facts, chapter: str) -> str:
    """A gate in one sentence."""
    outcome = latency_outcome(facts) if chapter == "latency" else ""
    return capitalised(outcome) if outcome else describe_gate(facts, chapter)


def latency_section(facts: Facts) -> str:
    """The part of the comment: folded when latency passes, else with its table in sight."""
    if not (outcome := escape(latency_outcome(facts), 300)):
        return ""
    rows = [[escape(cell, 60) for cell in row] for row in latency_rows(facts)]
    lines = table(LATENCY_HEAD, rows) if rows else ""
    if facts.gates["latency"].verdict == "pass" and lines:
        return details(f"Latency: {outcome}", lines)
    return "\n\n".join(filter(None, [f"**Latency**: {outcome}", lines]))
