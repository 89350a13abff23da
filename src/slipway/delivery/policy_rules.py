"""What one new line of a ledger must hold: order, clock, source, verdicts, an honest copy, its evidence; `policy` asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from slipway.core import config, git, ledger
from slipway.core.ledger import withdrawn
from slipway.core.verdict import Check
from slipway.delivery import evidence, policy_rules
from slipway.delivery.evidence import Evidence
from slipway.errors import CheckFailed, Inconclusive, SlipwayError

ACTIONS = {"staging": ("release", "rollback"), "production": ("promote", "rollback")}
OWN = {"at", "env", "action", "evidence", "supersedes"}
"""What a copied line has of its own; everything else is the copied line's."""
Ask = Callable[[ledger.Line, str | None], Evidence]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a new line is held against: those before it, staging as main has it, limits, the moment, whom to ask."""

    lines: Sequence[ledger.Line]
    staging: Sequence[ledger.Line]
    limits: config.Release
    now: datetime
    source: str
    ask: Ask
    root: Path


def check(name: str, limit: str, work: Callable[[], str]) -> Check:
    """`work()`'s sentence as a check that holds; its error as one that fails, or as unsure."""
    held: bool | None
    try:
        said, held = work(), True
    except SlipwayError as error:
        said, _, told = str(error).partition(", limit: ")
        limit, held = told or limit, None if isinstance(error, Inconclusive) else False
    return Check(name=name, value=said, limit=limit, ok=held)


def checks(new: ledger.Line, env: str, case: Case) -> list[Check]:
    """All that one new line of the ledger of `env` must hold."""
    name = f"{env}, {new.action} of {new.bento}"
    found = [
        check(f"{name}: order", "follows the line before", partial(ordered, new, env, case)),
        check(f"{name}: clock", f"≤ {case.limits.max_clock_skew_minutes} minutes ahead", partial(clock, new, case)),
    ]
    if new.action == "rollback":
        return [*found, check(f"{name}: restores", "a former line, with a reason", partial(restores, new, case))]
    found.append(check(f"{name}: source", "newer than all that ran", partial(newer, new, case)))
    found.append(check(f"{name}: verdicts", "pass", partial(judged, new)))
    if new.action == "promote":
        found.append(check(f"{name}: copy", "staging's line", partial(copied, new, case)))
        waived = "waiver" in (new.evidence or {})
        title = f"WAIVED without evidence: {name}" if waived else f"{name}: evidence"
        found.append(check(title, "a pass of staging", partial(waiver if waived else evidenced, new, case)))
    return found


def ordered(new: ledger.Line, env: str, case: Case) -> str:
    """Of this environment, an action of it, superseding what ran before."""
    if new.env != env or new.action not in ACTIONS[env]:
        raise CheckFailed(f"it is a {new.action} of {new.env}, limit: {' or '.join(ACTIONS[env])} of {env}")
    before = case.lines[-1].identity if case.lines else None
    if new.supersedes != before:
        raise CheckFailed(f"it supersedes {new.supersedes}, limit: {before}")
    return f"line {len(case.lines) + 1}"


def clock(new: ledger.Line, case: Case) -> str:
    """Not from the future, and not before the line before it, by more than clocks may differ."""
    skew = timedelta(minutes=case.limits.max_clock_skew_minutes)
    if new.at.tzinfo is None:
        raise CheckFailed(f"{new.at.isoformat()} has no time zone, limit: UTC")
    if new.at - case.now > skew:
        raise CheckFailed(f"{(new.at - case.now) / timedelta(minutes=1):.4g} minutes ahead")
    if case.lines and case.lines[-1].at - new.at > skew:
        raise CheckFailed(f"{new.at.isoformat()} is before {case.lines[-1].at.isoformat()}, the line before it")
    return new.at.isoformat()


def newer(new: ledger.Line, case: Case) -> str:
    """A source commit newer than all that ran there, and not one that was rolled back."""
    policy_rules.require_newer_commit(new.commit, list(case.lines), chapter="policy", root=case.root)
    policy_rules.refuse_withdrawn(new, case.lines, chapter="policy")
    return new.commit[:12]


def judged(new: ledger.Line) -> str:
    """Every verdict that a release needs, and no other word than pass."""
    words = {
        chapter: str(new.verdicts.get(chapter, "missing"))
        for chapter in (*policy_rules.REQUIRED_VERDICTS, *new.verdicts)
    }
    if bad := [f"{chapter} {word}" for chapter, word in words.items() if word != "pass"]:
        raise CheckFailed(", ".join(bad))
    return ", ".join(words)


def restores(new: ledger.Line, case: Case) -> str:
    """What the environment ran before and was not withdrawn, unchanged, and a reason."""
    reason = (new.evidence or {}).get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise CheckFailed("it has no reason, limit: a sentence in its evidence")
    gone = {old.identity for old in ledger.withdrawn(case.lines)}
    if new.identity in gone:
        raise CheckFailed(f"{new.bento} was itself withdrawn, limit: a line that was not")
    _same(new, [old for old in case.lines[:-1] if old.identity != case.lines[-1].identity], what="former line")
    return reason


def copied(new: ledger.Line, case: Case) -> str:
    """A line that staging has on main, field by field."""
    _same(new, case.staging, what="line of staging on main")
    return new.bento


def _same(new: ledger.Line, lines: Sequence[ledger.Line], *, what: str) -> None:
    """CheckFailed unless a line of `lines` is `new` but for what is a line's own; names the fields that differ."""
    mine = new.model_dump(exclude=OWN)
    found = [old.model_dump(exclude=OWN) for old in lines if old.identity == new.identity]
    if not found:
        raise CheckFailed(f"{new.identity} is on no {what}, limit: one of them")
    if mine not in found:
        wrong = ", ".join(field for field, value in mine.items() if found[-1][field] != value)
        raise CheckFailed(f"{wrong}: not what the {what} says, limit: an exact copy")


def evidenced(new: ledger.Line, case: Case) -> str:
    """The source says a fresh pass about exactly this digest, and the line quotes it as it is."""
    quoted, of = new.evidence, evidence.digest(new)
    if not quoted:
        raise CheckFailed("it has no evidence, limit: a pass of staging")
    found = evidence.require_pass(case.ask(new, None), of, now=case.now, limits=case.limits, chapter="policy")
    told = {key: quoted.get(key) for key in found.record()}
    evidence.require_fresh(
        _moment(told["at"]), now=case.now, limits=case.limits, what="policy: the evidence that it quotes"
    )
    if (told["load"], told["of"]) != ("pass", of):
        raise CheckFailed(f"it quotes {told['load']} about {str(told['of'])[:19]}, limit: pass about {of[:19]}")
    if told["by"] != case.source:
        return f"{case.source} says pass; its numbers are those of {told['by']}, which was not asked"
    if case.source == "status" and told["commit"] != found.commit:
        found = case.ask(new, str(told["commit"]))
    if (told["commit"], told["at"]) == (found.commit, found.record()["at"]) or case.source == "status":
        wrong = [f"{key} {told[key]}, limit: {value}" for key, value in found.record().items() if told[key] != value]
        if wrong:
            raise CheckFailed(f"it quotes {wrong[0]}")
    return f"pass, {told['at']}, by {told['by']}"


def waiver(new: ledger.Line, _: Case) -> str:
    """A reason; whoever owns production's ledger approves it by approving the pull request."""
    reason = (new.evidence or {}).get("waiver")
    if not isinstance(reason, str) or not reason.strip() or set(new.evidence or {}) != {"waiver"}:
        raise CheckFailed("the waiver is not a reason alone, limit: a sentence")
    return reason


def _moment(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        at = datetime.min
    if at.tzinfo is None:
        raise CheckFailed(f"it quotes evidence of {text!r}, limit: a moment with its time zone")
    return at


def refuse_withdrawn(new: ledger.Line, lines: Sequence[ledger.Line], *, chapter: str) -> None:
    """CheckFailed when `new` is of a source commit that was rolled back; an older one `release.forward` refuses."""
    for old in withdrawn(lines):
        if old.commit == new.commit:
            raise CheckFailed(
                f"{chapter}: {new.bento} of commit {new.commit[:12]} was rolled back in {old.env}, "
                f"limit: a source commit newer than {old.commit[:12]}",
                hint="fix the cause in a pull request; its merge is a newer commit",
            )


def line_to_restore(lines: Sequence[ledger.Line]) -> ledger.Line:
    """The line to restore: the newest that is another one than now and was not itself withdrawn; else CheckFailed."""
    now = ledger.newest(lines)
    if now is None:
        raise CheckFailed("rollback: the environment never ran anything", hint="slipway release log")
    gone = {line.identity for line in withdrawn(lines)} | {now.identity}
    for line in reversed(lines):
        if line.identity not in gone and bool(line.image) == bool(now.image):  # an overlay cannot go back to no image
            return line
    raise CheckFailed(
        f"rollback: there is nothing before {now.bento} to go back to, limit: an earlier line that was not withdrawn",
        hint=f"slipway release log --env {now.env}",
    )


REQUIRED_VERDICTS = ("export", "evaluate", "prove", "judge", "package")


def require_newer_commit(commit: str, lines: list[ledger.Line], *, chapter: str, root: Path) -> None:
    """CheckFailed when `commit` is older than, or beside, one that the environment of `lines` already ran."""
    for old in lines:
        if not git.is_ancestor(old.commit, commit, root=root):
            raise CheckFailed(
                f"{chapter}: commit {commit[:12]} is no descendant of {old.commit[:12]}, which {old.env} already ran",
                hint="release from the tip of main",
            )
