"""`rollback`: an environment goes back to what its ledger says it ran before, in one commit, with the reason."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from slipway.core import config, environment, git, ledger
from slipway.delivery import evidence, gitops_commit
from slipway.errors import ConfigError, Refused
from slipway.reporting.markdown import prose, table

MAX_REASON = 2000
"""Characters of a reason or of an AnalysisRun's words that are kept."""


def start(params: config.Params, *, push: bool, root: Path) -> str | None:
    """The tip of main as it is now, where a change will be pushed; None for the working tree, which must be clean."""
    if push:
        return gitops_commit.fetched(root, attempts=params.comment.attempts)
    git.identity(root)
    git.clean(root, leave="releases/")
    return None


def known(env: str, tip: str | None, root: Path) -> list[ledger.Line]:
    """The ledger at `tip`, or the working tree's."""
    return ledger.read_at(env, tip, root) if tip else ledger.read(env, root)


def withdrawn(lines: Sequence[ledger.Line]) -> list[ledger.Line]:
    """The lines that a rollback took back and no later line brought again, oldest first."""
    found = dict[str, ledger.Line]()
    before: ledger.Line | None = None
    for line in lines:
        if line.action == "rollback" and before is not None:
            found[before.identity] = before
        found.pop(line.identity, None)
        before = line
    return list(found.values())


def refuse(new: ledger.Line, lines: Sequence[ledger.Line], *, chapter: str) -> None:
    """Refused when `new` is of a source commit that was rolled back; an older one `release.forward` refuses."""
    for old in withdrawn(lines):
        if old.commit == new.commit:
            raise Refused(
                f"{chapter}: {new.bento} of commit {new.commit[:12]} was rolled back in {old.env}, "
                f"limit: a source commit newer than {old.commit[:12]}",
                hint="fix the cause in a pull request; its merge is a newer commit",
            )


def previous(lines: Sequence[ledger.Line]) -> ledger.Line:
    """The line to restore: the newest that is another one than now and was not itself withdrawn; else Refused."""
    now = ledger.newest(lines)
    if now is None:
        raise Refused("rollback: the environment never ran anything", hint="slipway release log")
    gone = {line.identity for line in withdrawn(lines)} | {now.identity}
    for line in reversed(lines):
        if line.identity not in gone and bool(line.image) == bool(now.image):  # an overlay cannot go back to no image
            return line
    raise Refused(
        f"rollback: there is nothing before {now.bento} to go back to, limit: an earlier line that was not withdrawn",
        hint=f"slipway release log --env {now.env}",
    )


def line(lines: Sequence[ledger.Line], *, at: datetime, reason: str, aborted: str | None) -> ledger.Line:
    """The line that restores the previous one; with `aborted` (what an AnalysisRun said) it never was stable."""
    told = {"reason": reason} | ({"aborted": aborted} if aborted else {})
    update = {"at": at, "action": "rollback", "evidence": told, "supersedes": lines[-1].identity if lines else None}
    return previous(lines).model_copy(update=update)


def maker(known: Sequence[ledger.Line], *, at: datetime, reason: str, aborted: str | None) -> gitops_commit.Make:
    """What makes the line on each new tip of main; Refused once the environment runs something else there."""

    def make(_: str, lines: list[ledger.Line]) -> ledger.Line | None:
        if lines[-1:] != list(known[-1:]):
            env = known[-1].env
            raise Refused(f"rollback: {env} was changed meanwhile", hint=f"slipway release log --env {env}")
        return line(lines, at=at, reason=reason, aborted=aborted)

    return make


def body(lines: Sequence[ledger.Line], *, reason: str, aborted: str | None) -> str:
    """The pull request's text: what goes, what comes back, and why. Pure."""
    old, back = lines[-1], previous(lines)
    rows = [["withdrawn", *_cells(old)], ["restored", *_cells(back)]]
    parts = [
        f"Rolls {old.env} back, because: {prose(reason, MAX_REASON)}",
        table(["", "bento", "digest", "source commit", "was put there"], rows),
    ]
    if aborted:
        said = prose(aborted, MAX_REASON)
        parts.append(f"Its canary was aborted, so it never was stable. The analysis said:\n\n> {said}")
    parts.append(f"`{old.bento}` is not promoted again; a release of a newer source commit is.")
    return "\n\n".join(parts) + "\n"


def _cells(line: ledger.Line) -> list[str]:
    at = f"{line.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return [f"`{line.bento}`", f"`{evidence.digest(line)[:19]}`", f"`{line.commit[:12]}`", at]


def words(aborted: str | None) -> str | None:
    """What an AnalysisRun said, in one line; `-` reads it from standard input. Never from a file that a caller names."""
    text = sys.stdin.read() if aborted == "-" else aborted or ""
    return " ".join(text.split())[:MAX_REASON] or None


def run(
    params: config.Params, *, env: str, reason: str, aborted: str | None = None, of: str | None = None,
    push: bool = False, root: Path = Path(),
) -> str:  # fmt: skip
    """The previous line of releases/ENV.jsonl → its newest, and the overlay with it, in one commit or pull request.

    With `of`, a digest, nothing is done once the environment runs another one: what told us to roll back
    (a notification, perhaps twice) spoke of that digest and no other.
    """
    root, why, said = root.resolve(), " ".join(reason.split())[:MAX_REASON], words(aborted)
    if not why:
        raise ConfigError("rollback: the reason is empty, limit: a sentence", hint="--reason 'why it has to go'")
    lines, at = known(env, start(params, push=push, root=root), root), git.now()
    if of and lines and evidence.digest(lines[-1]) != of.rpartition("@")[2]:
        return tell(f"{env} does not run {prose(of, 100)} any more: nothing to roll back")
    back = previous(lines)

    text = body(lines, reason=why, aborted=said) if push and gitops_commit.mode(env, params) == "pull-request" else why
    make = maker(lines, at=at, reason=why, aborted=said)
    done = gitops_commit.write(env, make, title=f"Roll {env} back to {back.bento}", body=text, push=push, params=params,
                      root=root)  # fmt: skip
    return tell(f"{env} ← {back.bento}, as before" + (f"; {done.said}" if done.said else ""))


def tell(said: str) -> str:
    """Also on the run's page, in a workflow."""
    if summary := environment.step_summary():
        with summary.open("a", encoding="utf-8") as file:
            file.write(f"{prose(said, 1000)}\n")
    return said
