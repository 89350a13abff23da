"""`promote`: production takes what staging ran and judged, with the evidence, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.cluster import manifests
from slipway.core import config, git, ledger
from slipway.core.environment import Actions
from slipway.delivery import evidence, gitops_commit, policy_rules
from slipway.errors import CheckFailed, ConfigError
from slipway.reporting import sections
from slipway.reporting.markdown import MARKS, details, escape, figure, table

CARD = Path("reports/model_card.md")
MAX_CARD = 20_000
"""Characters of the card in a pull request's text."""
MAX_FIELDS = 5
"""Of an object that changes."""


def line(staged: ledger.Line, before: ledger.Line | None, *, at: datetime, proof: Mapping[str, Any]) -> ledger.Line:
    """Staging's line as production's next one, with the evidence as it is quoted."""
    update = {"at": at, "env": "production", "action": "promote", "evidence": dict(proof),
              "supersedes": before.identity if before else None}  # fmt: skip
    return staged.model_copy(update=update)


def refuse(new: ledger.Line, lines: list[ledger.Line], *, root: Path) -> None:
    """CheckFailed when `new` is older than, or beside, what production ran, or was rolled back there."""
    policy_rules.require_newer_commit(new.commit, lines, chapter="promote", root=root)
    policy_rules.refuse_withdrawn(new, lines, chapter="promote")


def body(new: ledger.Line, before: ledger.Line | None, *, manifests: str | None = None, card: str | None = None) -> str:
    """The pull request's text: verdicts with their sources, metrics, what changes in the cluster, the card. Pure.

    `manifests` is the difference of the rendered manifests, Markdown; None when it could not be rendered.
    """
    now = f"it runs `{before.bento}` of commit `{before.commit[:12]}`" if before else "it runs nothing yet"
    parts = [
        f"Moves production to `{new.bento}` of commit `{new.commit[:12]}`"
        f"{f' (#{new.pull_request})' if new.pull_request else ''}; {now}.",
        *_waived(new.evidence or {}),
        table(["gate", "verdict", "from"], _verdicts(new)),
        table(["metric", ">production", ">this one"], _metrics(new, before)),
        manifests if manifests else "The rendered manifests were not compared: kustomize is not here.",
        details("The model's card", card)
        if card
        else f"`slipway report` at `{new.commit[:12]}` writes the model's card.",
        "`make policy` asks for the evidence again when this is merged: the same digest, a pass, and not too old.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _waived(proof: Mapping[str, Any]) -> list[str]:
    """A waiver, so that nobody can overlook it."""
    if "waiver" not in proof:
        return []
    return [
        f"> [!CAUTION]\n> **Waiver.** There is no evidence from staging; this is approved without it: "
        f"{escape(proof['waiver'], gitops_commit.MAX_REASON)}"
    ]


def _verdicts(new: ledger.Line) -> list[list[str]]:
    """A row a gate; the load verdict with whom it comes from, when, and its numbers where the source has them."""
    rows = [[chapter, f"{MARKS[word]} {word}", "the release"] for chapter, word in sorted(new.verdicts.items())]
    proof = new.evidence or {}
    if "load" not in proof:
        return rows
    numbers = [f"p95 {figure(proof['p95_ms'])} ms"] if proof.get("p95_ms") is not None else []
    numbers += [f"{proof['requests']:,} requests"] if proof.get("requests") else []
    where = {"machine": "reports/load.json", "cluster": "the gate's log", "status": "the commit status"}
    said = [where.get(str(proof.get("by")), "?"), f"staging at `{str(proof['commit'])[:12]}`" if proof.get("commit") else "",
            str(proof.get("at", ""))[:16].replace("T", " ") + " UTC", *numbers]  # fmt: skip
    word = proof["load"]
    return [["load", f"{MARKS.get(word, '❔')} {escape(word)}", ", ".join(filter(None, said))], *rows]


def _metrics(new: ledger.Line, before: ledger.Line | None) -> list[list[str]]:
    old = before.metrics if before else {}
    return [[escape(k), figure(old[k]) if k in old else "–", figure(value)] for k, value in new.metrics.items()]


def proof(
    staged: ledger.Line, params: config.Params, *, source: str, root: Path, at: datetime, given: Actions | None
) -> dict[str, Any]:
    """What the production line quotes: the evidence of `source`, when it holds; CheckFailed or Inconclusive when not."""
    with evidence.github_client(source, params, given) as client:
        found = evidence.find(source, params, staged, root=root, client=client)
    return evidence.require_pass(found, evidence.digest(staged), now=at, limits=params.release).record()


def run(
    params: config.Params, *, source: str | None = None, waive: str | None = None, push: bool = False,
    given: Actions | None = None, root: Path = Path(),
) -> str:  # fmt: skip
    """Staging's newest line and the evidence about it → production's, with its overlay; one commit or pull request.

    `source` is where evidence is looked for (default: this machine for a line without an image, else the commit
    status); `waive` is a reason to go without, which code owners must approve.
    """
    root = root.resolve()
    tip = gitops_commit.starting_tip(params, push=push, root=root)
    staging, lines = (gitops_commit.ledger_at(env, tip, root) for env in ledger.ENVIRONMENTS)
    new, before, at = ledger.newest(staging), ledger.newest(lines), git.now()
    if new is None:
        raise CheckFailed("promote: staging never ran anything", hint="slipway release")
    if before and before.identity == new.identity:
        return gitops_commit.write_step_summary(f"production already has {before.bento}: nothing to promote")
    refuse(new, lines, root=root)
    if waive is not None:
        quoted = waiver(waive, params, push=push)
    else:
        quoted = proof(new, params, source=source or default_evidence_source(new), root=root, at=at, given=given)

    proposed = line(new, before, at=at, proof=quoted)
    text = f"Evidence: {json.dumps(quoted, ensure_ascii=False)}"
    if tip and gitops_commit.mode("production", params) == "pull-request":
        text = body(proposed, before, manifests=changes(proposed, tip, root), card=card(new, root))
    make = line_factory(new, at=at, quoted=quoted, root=root)
    done = gitops_commit.write("production", make, title=f"Promote {new.bento} to production", body=text, push=push,
                      params=params, root=root)  # fmt: skip
    if done.commit is None:
        return gitops_commit.write_step_summary(f"production has {new.bento} by now: nothing to promote")
    verdict = f"load verdict {quoted['load']}" if "load" in quoted else "WAIVED"
    return gitops_commit.write_step_summary(
        f"production ← {new.bento}, {verdict}" + (f"; {done.said}" if done.said else "")
    )


def line_factory(staged: ledger.Line, *, at: datetime, quoted: Mapping[str, Any], root: Path) -> gitops_commit.Make:
    """What makes production's line on each new tip of main; CheckFailed once staging runs something else there."""

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        now, last = ledger.newest(ledger.read_at("staging", tip, root)), ledger.newest(lines)
        if last and last.identity == staged.identity:
            return None
        if now is None or now.identity != staged.identity:
            raise CheckFailed(
                f"promote: staging has moved on from {staged.bento} to {now.bento if now else 'nothing'} meanwhile",
                hint="slipway promote",
            )
        refuse(staged, lines, root=root)
        return line(staged, last, at=at, proof=quoted)

    return make


def default_evidence_source(staged: ledger.Line) -> str:
    """Where evidence about a line is looked for when nobody says."""
    return "status" if staged.image else "machine"


def waiver(reason: str, params: config.Params, *, push: bool) -> dict[str, Any]:
    """What a line without evidence quotes. CheckFailed where no pull request would ask the code owners."""
    why = " ".join(reason.split())[: gitops_commit.MAX_REASON]
    if not why:
        raise ConfigError("promote: the waiver has no reason, limit: a sentence", hint="--waive 'why'")
    if push and gitops_commit.mode("production", params) == "direct":
        raise CheckFailed(
            "promote: a waiver is for code owners to approve, and release.mode is direct, limit: pull-request",
            hint="set release.mode: pull-request; or commit without --push and open a pull request",
        )
    return {"waiver": why}


def changes(new: ledger.Line, tip: str, root: Path) -> str | None:
    """What the promotion would change in the cluster, as Markdown; None where it cannot be rendered.

    It is committed beside the working tree, on no branch, for only commits are rendered.
    """
    try:
        with gitops_commit.scratch("preview", tip, root) as work:
            head = gitops_commit.commit(gitops_commit.change(new, work), title="Preview", body="", root=work)
        found = manifests.diff(tip, head, root=root)
    except ConfigError:
        return None
    rows = [[escape(cell) for cell in row] for row in sections.change_rows(found, MAX_FIELDS)]
    named = ["object", "field", ""]
    return table(named, rows) if rows else "The rendered manifests do not change."


def card(new: ledger.Line, root: Path) -> str | None:
    """The model's card, when this checkout has written one, and it is about this very model."""
    path = root / CARD
    text = path.read_text(encoding="utf-8")[:MAX_CARD] if path.exists() else ""
    return text if new.model_sha256 in text else None
