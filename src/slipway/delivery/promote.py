"""`promote`: move production to the image that staging ran and judged, and quote the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.cluster import manifests
from slipway.core import config, ledger
from slipway.core.environment import Actions
from slipway.delivery import evidence, gate_records, gitops_commit, policy_rules
from slipway.errors import CheckFailed, ConfigError
from slipway.github import step_summary
from slipway.reporting import sections
from slipway.reporting.markdown import MARKS, details, escape, figure, table

CARD = Path("reports/model_card.md")
MAX_CARD = 20_000
"""Characters of the model card in a pull request's text."""
MAX_FIELDS = 5
"""Fields listed of an object that changes."""


def make_line(
    staged: ledger.Line, before: ledger.Line | None, *, at: datetime, proof: Mapping[str, Any]
) -> ledger.Line:
    """Production's next line: a copy of staging's with the evidence `proof`."""
    update = {"at": at, "env": "production", "action": "promote", "evidence": dict(proof),
              "supersedes": before.identity if before else None}  # fmt: skip
    return staged.model_copy(update=update)


def require_promotable(new: ledger.Line, lines: list[ledger.Line], *, root: Path) -> None:
    """CheckFailed when `new` is not newer than all that production ran, or was rolled back there."""
    policy_rules.require_newer_commit(new.commit, lines, chapter="promote", root=root)
    policy_rules.refuse_withdrawn(new, lines, chapter="promote")


def pull_request_body(
    new: ledger.Line, before: ledger.Line | None, *, manifests: str | None = None, card: str | None = None
) -> str:
    """The pull request's body: verdicts with their sources, metrics, changes in the cluster, the model card.

    `manifests` is the difference of the rendered manifests in Markdown; None when they could not be rendered.
    """
    current = f"`{before.bento}` of commit `{before.commit[:12]}`" if before else "nothing yet"
    parts = [
        f"Moves production to `{new.bento}` of commit `{new.commit[:12]}`"
        f"{f' (#{new.pull_request})' if new.pull_request else ''}. Production runs {current}.",
        *_waiver_warning(new.evidence or {}),
        *_restart_warning(new),
        table(["gate", "verdict", "from"], _verdict_rows(new)),
        table(["metric", ">production", ">this release"], _metric_rows(new, before)),
        manifests if manifests else "The rendered manifests were not compared, because kustomize was not installed.",
        details("Model card", card)
        if card
        else f"Run `slipway report` at commit `{new.commit[:12]}` for the model card.",
        "The check `policy` reads the evidence again before the merge. It must be a recent pass of this digest.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _waiver_warning(proof: Mapping[str, Any]) -> list[str]:
    """A warning that quotes the waiver, if there is one."""
    if "waiver" not in proof:
        return []
    return [
        "> [!CAUTION]\n> **Waiver.** There is no evidence from staging. A code owner must approve this without it. "
        f"Reason: {escape(proof['waiver'], gitops_commit.MAX_REASON)}"
    ]


def _restart_warning(new: ledger.Line) -> list[str]:
    """A warning that the release was not compared with production, if it was not."""
    if not new.restart_at:
        return []
    return [
        "> [!CAUTION]\n> **Restarted.** `judge` compared this release with the baseline and the floors, not with production: "
        f"`judge.restart_at` named commit `{escape(new.restart_at[:12])}`."
    ]


def _verdict_rows(new: ledger.Line) -> list[list[str]]:
    """One row per gate; the load verdict first, with its source, time, and the numbers that the source has."""
    rows = [[chapter, f"{MARKS[word]} {word}", "the release"] for chapter, word in sorted(new.verdicts.items())]
    proof = new.evidence or {}
    if "load" not in proof:
        return rows
    numbers = [f"p95 {figure(proof['p95_ms'])} ms"] if proof.get("p95_ms") is not None else []
    numbers += [f"{proof['requests']:,} requests"] if proof.get("requests") else []
    sources = {"machine": "reports/load.json", "cluster": "the gate's log", "status": "the commit status"}
    commit = f"staging at `{str(proof['commit'])[:12]}`" if proof.get("commit") else ""
    at = str(proof.get("at", ""))[:16].replace("T", " ") + " UTC"
    notes = [sources.get(str(proof.get("by")), "?"), commit, at, *numbers]
    word = proof["load"]
    return [["load", f"{MARKS.get(word, '❔')} {escape(word)}", ", ".join(filter(None, notes))], *rows]


def _metric_rows(new: ledger.Line, before: ledger.Line | None) -> list[list[str]]:
    old = before.metrics if before else {}
    return [[escape(k), figure(old[k]) if k in old else "–", figure(value)] for k, value in new.metrics.items()]


def quote_evidence(
    staged: ledger.Line, params: config.Params, *, source: str, root: Path, at: datetime, actions: Actions | None
) -> dict[str, Any]:
    """The evidence of `source` as the production line quotes it; CheckFailed or Inconclusive when it is no fresh pass."""
    with evidence.github_client(source, params, actions) as client:
        current = evidence.find(source, params, staged, root=root, client=client)
    return evidence.require_pass(current, evidence.digest(staged), now=at, limits=params.release).record()


def run(
    params: config.Params, *, source: str | None = None, waive: str | None = None, push: bool = False,
    actions: Actions | None = None, root: Path = Path(),
) -> str:  # fmt: skip
    """Write staging's newest line and the evidence about it to production's ledger and overlay; one commit or pull request.

    `source` is where evidence is read from (default: see `default_evidence_source`); `waive` is the reason to go
    without evidence, which code owners must approve.
    """
    root = root.resolve()
    tip = gitops_commit.starting_tip(params, push=push, root=root)
    staging, lines = (gitops_commit.ledger_at(env, tip, root) for env in ledger.ENVIRONMENTS)
    new, before, at = ledger.newest_line(staging), ledger.newest_line(lines), ledger.now()
    if new is None:
        raise CheckFailed("promote: staging has no release yet", hint="slipway release")
    if before and before.identity == new.identity:
        return step_summary.write(f"production already has {before.bento}: nothing to promote")
    require_promotable(new, lines, root=root)
    if waive is not None:
        quoted = quote_waiver(waive, params, push=push)
    else:
        origin = source or default_evidence_source(new)
        quoted = quote_evidence(new, params, source=origin, root=root, at=at, actions=actions)

    proposed = make_line(new, before, at=at, proof=quoted)
    text = f"Evidence: {json.dumps(quoted, ensure_ascii=False)}"
    if tip and gitops_commit.release_mode("production", params) == "pull-request":
        preview = manifest_changes(proposed, tip, root)
        text = pull_request_body(proposed, before, manifests=preview, card=model_card(new, root))
    made: list[ledger.Line] = []
    make = gate_records.collecting(line_factory(new, at=at, quoted=quoted, root=root), made)
    result = gitops_commit.commit_line("production", make, title=f"Promote {new.bento} to production", body=text, push=push,
                                 params=params, root=root)  # fmt: skip
    if result.commit is None:
        return step_summary.write(f"production has {new.bento} by now: nothing to promote")
    gate_records.append(made, push=push, root=root)
    verdict = f"load test: {quoted['load']}" if "load" in quoted else "WAIVED without evidence"
    sentence = f"{new.bento} to production ({verdict}): {result.message}"
    step_summary.write(f"promotion of {sentence}")
    return sentence


def line_factory(staged: ledger.Line, *, at: datetime, quoted: Mapping[str, Any], root: Path) -> gitops_commit.MakeLine:
    """A function that makes production's line on a tip of main; it raises CheckFailed once staging runs another image."""

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        current, last = ledger.newest_line(ledger.read_at("staging", tip, root)), ledger.newest_line(lines)
        if last and last.identity == staged.identity:
            return None
        if current is None or current.identity != staged.identity:
            raise CheckFailed(
                f"promote: staging changed from {staged.bento} to {current.bento if current else 'nothing'} meanwhile",
                hint="run slipway promote again",
            )
        require_promotable(staged, lines, root=root)
        return make_line(staged, last, at=at, proof=quoted)

    return make


def default_evidence_source(staged: ledger.Line) -> str:
    """The source of evidence when none is named: the commit status of an image, this machine's report without one."""
    return "status" if staged.image else "machine"


def quote_waiver(reason: str, params: config.Params, *, push: bool) -> dict[str, Any]:
    """The waiver that a line without evidence quotes; CheckFailed when it would reach main without a pull request."""
    sentence = " ".join(reason.split())[: gitops_commit.MAX_REASON]
    if not sentence:
        raise ConfigError("promote: the waiver has no reason", expected="a sentence", hint="write --waive 'the reason'")
    if push and gitops_commit.release_mode("production", params) == "direct":
        raise CheckFailed(
            "promote: a waiver needs a code owner's approval, but release.mode is direct, which pushes without one",
            expected="pull-request",
            value="direct",
            hint="set release.mode to pull-request in params.yaml; or commit without --push and open a pull request",
        )
    return {"waiver": sentence}


def manifest_changes(new: ledger.Line, tip: str, root: Path) -> str | None:
    """The changes that the promotion would make in the cluster, as Markdown; None when they cannot be rendered.

    Only commits are rendered, so the promotion is committed in a scratch checkout, on no branch.
    """
    try:
        with gitops_commit.scratch_checkout("preview", tip, root) as work:
            head = gitops_commit.commit_files(gitops_commit.write_line(new, work), title="Preview", body="", root=work)
        changed = manifests.diff(tip, head, root=root)
    except ConfigError:
        return None
    rows = [[escape(cell) for cell in row] for row in sections.change_rows(changed, MAX_FIELDS)]
    return table(["object", "field", ""], rows) if rows else "The rendered manifests do not change."


def model_card(new: ledger.Line, root: Path) -> str | None:
    """The model card in reports/, when it is about this line's model; else None."""
    path = root / CARD
    text = path.read_text(encoding="utf-8")[:MAX_CARD] if path.exists() else ""
    return text if new.model_sha256 in text else None
