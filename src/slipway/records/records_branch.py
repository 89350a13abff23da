"""Read the records branch and append to it; concurrent writers lose no line, and no line is ever changed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway.core import git
from slipway.errors import Inconclusive, SlipwayError
from slipway.records import git_branch, record
from slipway.records.git_branch import CHECKED, LOCAL, NAME, REMOTE
from slipway.records.record import Record

ATTEMPTS = 8
"""Attempts to append while other writers append too."""


@dataclass(frozen=True, kw_only=True)
class _State:
    """The branch as this clone has it: its commit in this clone and at origin, and the texts there."""

    local: str | None
    origin: str | None
    text: str
    pending: str
    tip: str | None


def read(root: Path = Path()) -> list[Record]:
    """The records that this clone has, oldest first: those of origin as last fetched, then those not yet pushed.

    Nothing is fetched. DataError names the line that is not a record; without a branch there are no records.
    """
    state = _state(root)
    where = f"{NAME}:{git_branch.FILE}"
    hint = git_branch.mend_hint(state.tip, root=root) if state.tip and _is_damaged(state) else ""
    return record.parse(state.text + state.pending, where=where, hint=hint)


def newest_commit(root: Path = Path()) -> str | None:
    """The commit of the branch that `read` reads; None without a branch."""
    return _state(root).tip


def append(records: Sequence[Record], *, root: Path = Path(), push: bool = False, title: str = "") -> str:
    """Append records, and those that an earlier call could not push; return a sentence.

    With `push` and a remote origin they are there afterwards, else they wait in this clone's branch for the next push.
    Inconclusive if origin does not answer: the records then wait as well. DataError if the branch is damaged.
    """
    root = root.resolve()
    lines, message = [each.line() for each in records], title or _title(records)
    git_branch.require_not_checked_out(root)
    git.require_identity(root)
    push = push and git_branch.has_origin(root)
    problem = ""
    for attempt in range(ATTEMPTS):
        unreachable = git_branch.fetch(root) if push else ""
        state = _state(root)
        _require_readable(state, root)
        made = _commit(state, lines, message, root)
        if made is None:
            return "nothing to record"
        if not git_branch.move(LOCAL, made, state.local, root=root):
            problem = f"another process of this clone moved {NAME}"
        elif not push:
            return f"{_count(len(lines))} on {NAME} of this clone"
        elif not (problem := unreachable or git.push(f"{made}:{LOCAL}", root=root)) or _has_arrived(made, root):
            for name in (REMOTE, CHECKED):  # a clone of one branch does not follow this one by itself
                git.run("update-ref", name, made, root=root)
            return f"{_count(len(lines))} on {NAME}"
        _wait(attempt)
    raise Inconclusive(
        f"origin did not accept {_count(len(lines))} on {NAME} in {ATTEMPTS} attempts: {problem}",
        hint=f"they are on the branch {NAME} of this clone; the next command that appends pushes them too",
    )


def append_or_explain(records: Sequence[Record], *, root: Path = Path(), push: bool = False, title: str = "") -> str:
    """Append, or return the reason why not in one line; empty on success. For writers that must not fail for it."""
    try:
        append(records, root=root, push=push, title=title)
    except SlipwayError as error:
        return f"the verdicts are not on {NAME} yet: {error}"
    return ""


def _state(root: Path) -> _State:
    local, origin = (git_branch.tip(name, root=root) for name in (LOCAL, REMOTE))
    if local is None or origin is None or local == origin:
        only = origin or local
        return _State(local=local, origin=origin, text=git_branch.text_at(only, root=root), pending="", tip=only)
    if git_branch.contains(origin, local, root=root):
        return _State(local=local, origin=origin, text=git_branch.text_at(origin, root=root), pending="", tip=origin)
    text, own = (git_branch.text_at(commit, root=root) for commit in (origin, local))
    if git_branch.contains(local, origin, root=root):
        return _State(local=local, origin=origin, text=text, pending=own[len(text) :], tip=origin)
    present = set(text.split("\n"))
    pending = "".join(f"{row}\n" for row in own.split("\n") if row not in present)
    return _State(local=local, origin=origin, text=text, pending=pending, tip=origin)


def _is_damaged(state: _State) -> bool:
    try:
        record.parse(state.text, where=NAME)
    except SlipwayError:
        return True
    return False


def _require_readable(state: _State, root: Path) -> None:
    """DataError, which names the command that mends it, if a line of the branch is not a record."""
    if state.tip and _is_damaged(state):
        record.parse(state.text, where=f"{NAME}:{git_branch.FILE}", hint=git_branch.mend_hint(state.tip, root=root))
    record.parse(state.pending, where=f"{NAME} of this clone", hint=f"git branch -D {NAME}")


def _commit(state: _State, lines: Sequence[str], title: str, root: Path) -> str | None:
    """A commit with what waits and the new lines on the newest one, or the newest one itself; None if there is nothing."""
    present = {f"{row}\n" for row in (state.text + state.pending).split("\n")}
    added = state.pending + "".join(dict.fromkeys(line for line in lines if line not in present))
    if not added:
        return state.local if lines or state.local != state.origin else None
    return git_branch.write(state.text + added, state.tip, title=title, root=root)


def _has_arrived(commit: str, root: Path) -> bool:
    """Return whether origin has the commit although the push reported an error: its answer may have been lost."""
    if git_branch.fetch(root):
        return False
    after = git_branch.tip(REMOTE, root=root)
    return after is not None and git_branch.contains(after, commit, root=root)


def _title(records: Sequence[Record]) -> str:
    names = list(dict.fromkeys(each.chapter for each in records))
    return f"Record {', '.join(names[:4])}{' …' if len(names) > 4 else ''}" if names else "Record what waited"


def _count(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


def _wait(attempt: int) -> None:
    """Sleep longer after each attempt, for a random time: two writers that race must not meet again."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.05 * 2**attempt, 2.0))  # noqa: S311 - no secret
