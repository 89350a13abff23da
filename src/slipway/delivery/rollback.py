"""`rollback`: restore the previous line of an environment's ledger in one commit, with the reason."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from slipway.core import config, ledger
from slipway.delivery import evidence, gate_records, gitops_commit
from slipway.delivery.gitops_commit import MAX_REASON, ledger_at, starting_tip
from slipway.delivery.policy_rules import line_to_restore
from slipway.errors import CheckFailed, ConfigError
from slipway.github import step_summary
from slipway.reporting.markdown import escape, table


def make_line(lines: Sequence[ledger.Line], *, at: datetime, reason: str, aborted: str | None) -> ledger.Line:
    """The line that restores the previous one. `aborted`, an AnalysisRun's message, marks that the last never was stable."""
    evidence = {"reason": reason} | ({"aborted": aborted} if aborted else {})
    update = {"at": at, "action": "rollback", "evidence": evidence, "supersedes": lines[-1].identity if lines else None}
    return line_to_restore(lines).model_copy(update=update)


def line_factory(
    before: Sequence[ledger.Line], *, at: datetime, reason: str, aborted: str | None
) -> gitops_commit.MakeLine:
    """A function that makes the line on a tip of main; it raises CheckFailed when the ledger no longer ends as `before`."""

    def make(_: str, lines: list[ledger.Line]) -> ledger.Line | None:
        if lines[-1:] != list(before[-1:]):
            env = before[-1].env
            raise CheckFailed(
                f"rollback: the ledger of {env} changed during this rollback",
                hint=f"read `slipway release log --env {env}`, then run it again",
            )
        return make_line(lines, at=at, reason=reason, aborted=aborted)

    return make


def pull_request_body(lines: Sequence[ledger.Line], *, reason: str, aborted: str | None) -> str:
    """The pull request's body: the withdrawn line, the restored one, and the reason."""
    old, restored = lines[-1], line_to_restore(lines)
    rows = [["withdrawn", *_cells(old)], ["restored", *_cells(restored)]]
    parts = [
        f"Rolls {old.env} back. Reason: {escape(reason, MAX_REASON)}",
        table(["", "bento", "digest", "source commit", "released at"], rows),
    ]
    if aborted:
        message = escape(aborted, MAX_REASON)
        parts.append(
            f"The canary of `{old.bento}` was aborted, so it never became stable. Message of the analysis:\n\n> {message}"
        )
    parts.append(f"`{old.bento}` cannot be promoted again. A release of a newer source commit can.")
    return "\n\n".join(parts) + "\n"


def _cells(line: ledger.Line) -> list[str]:
    at = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return [f"`{line.bento}`", f"`{evidence.digest(line)[:19]}`", f"`{line.commit[:12]}`", at]


def aborted_message(aborted: str | None) -> str | None:
    """An AnalysisRun's message in one line; `-` reads it from standard input, and no value reads a file."""
    text = sys.stdin.read() if aborted == "-" else aborted or ""
    return " ".join(text.split())[:MAX_REASON] or None


def run(
    params: config.Params, *, env: str, reason: str, aborted: str | None = None, only_digest: str | None = None,
    push: bool = False, root: Path = Path(),
) -> str:  # fmt: skip
    """Restore the previous line of releases/ENV.jsonl and its overlay, in one commit or pull request.

    With `only_digest`, nothing happens when the environment runs another one: the notification that asks for a
    rollback is about that digest, and may arrive twice.
    """
    root, sentence, message = root.resolve(), " ".join(reason.split())[:MAX_REASON], aborted_message(aborted)
    if not sentence:
        raise ConfigError("rollback: the reason is empty", expected="a sentence", hint="write --reason 'the reason'")
    lines, at = ledger_at(env, starting_tip(params, push=push, root=root), root), ledger.now()
    if only_digest and lines and evidence.digest(lines[-1]) != only_digest.rpartition("@")[2]:
        return step_summary.write(f"{env} no longer runs {escape(only_digest, 100)}: nothing to roll back")
    restored = line_to_restore(lines)

    proposed = push and gitops_commit.release_mode(env, params) == "pull-request"
    text = pull_request_body(lines, reason=sentence, aborted=message) if proposed else sentence
    made: list[ledger.Line] = []
    make = gate_records.collecting(line_factory(lines, at=at, reason=sentence, aborted=message), made)
    result = gitops_commit.commit_line(env, make, title=f"Roll {env} back to {restored.bento}", body=text, push=push,
                                 params=params, root=root)  # fmt: skip
    gate_records.append(made, push=push, root=root)
    sentence = f"{env} to {restored.bento}: {result.message}"
    step_summary.write(f"rollback of {sentence}")
    return sentence
