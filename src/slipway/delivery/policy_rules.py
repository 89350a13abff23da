"""What one new line of a ledger must hold: order, clock, source, verdicts, an honest copy, its evidence; `policy` asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from slipway.core import config, ledger
from slipway.core.verdict import Check
from slipway.delivery import evidence, release, rollback
from slipway.delivery.evidence import Evidence
from slipway.errors import Refused, SlipwayError, Unsure

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
        limit, held = told or limit, None if isinstance(error, Unsure) else False
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
        raise Refused(f"it is a {new.action} of {new.env}, limit: {' or '.join(ACTIONS[env])} of {env}")
    before = case.lines[-1].identity if case.lines else None
    if new.supersedes != before:
        raise Refused(f"it supersedes {new.supersedes}, limit: {before}")
    return f"line {len(case.lines) + 1}"


def clock(new: ledger.Line, case: Case) -> str:
    """Not from the future, and not before the line before it, by more than clocks may differ."""
    skew = timedelta(minutes=case.limits.max_clock_skew_minutes)
    if new.at.tzinfo is None:
        raise Refused(f"{new.at.isoformat()} has no time zone, limit: UTC")
    if new.at - case.now > skew:
        raise Refused(f"{(new.at - case.now) / timedelta(minutes=1):.4g} minutes ahead")
    if case.lines and case.lines[-1].at - new.at > skew:
        raise Refused(f"{new.at.isoformat()} is before {case.lines[-1].at.isoformat()}, the line before it")
    return new.at.isoformat()


def newer(new: ledger.Line, case: Case) -> str:
    """A source commit newer than all that ran there, and not one that was rolled back."""
    release.forward(new.commit, list(case.lines), chapter="policy", root=case.root)
    rollback.refuse(new, case.lines, chapter="policy")
    return new.commit[:12]


def judged(new: ledger.Line) -> str:
    """Every verdict that a release needs, and no other word than pass."""
    words = {chapter: str(new.verdicts.get(chapter, "missing")) for chapter in (*release.VERDICTS, *new.verdicts)}
    if bad := [f"{chapter} {word}" for chapter, word in words.items() if word != "pass"]:
        raise Refused(", ".join(bad))
    return ", ".join(words)


def restores(new: ledger.Line, case: Case) -> str:
    """What the environment ran before and was not withdrawn, unchanged, and a reason."""
    reason = (new.evidence or {}).get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise Refused("it has no reason, limit: a sentence in its evidence")
    gone = {old.identity for old in rollback.withdrawn(case.lines)}
    if new.identity in gone:
        raise Refused(f"{new.bento} was itself withdrawn, limit: a line that was not")
    _same(new, [old for old in case.lines[:-1] if old.identity != case.lines[-1].identity], what="former line")
    return reason


def copied(new: ledger.Line, case: Case) -> str:
    """A line that staging has on main, field by field."""
    _same(new, case.staging, what="line of staging on main")
    return new.bento


def _same(new: ledger.Line, lines: Sequence[ledger.Line], *, what: str) -> None:
    """Refused unless a line of `lines` is `new` but for what is a line's own; names the fields that differ."""
    mine = new.model_dump(exclude=OWN)
    found = [old.model_dump(exclude=OWN) for old in lines if old.identity == new.identity]
    if not found:
        raise Refused(f"{new.identity} is on no {what}, limit: one of them")
    if mine not in found:
        wrong = ", ".join(field for field, value in mine.items() if found[-1][field] != value)
        raise Refused(f"{wrong}: not what the {what} says, limit: an exact copy")


def evidenced(new: ledger.Line, case: Case) -> str:
    """The source says a fresh pass about exactly this digest, and the line quotes it as it is."""
    quoted, of = new.evidence, evidence.digest(new)
    if not quoted:
        raise Refused("it has no evidence, limit: a pass of staging")
    found = evidence.require(case.ask(new, None), of, now=case.now, limits=case.limits, chapter="policy")
    told = {key: quoted.get(key) for key in found.record()}
    evidence.fresh(_moment(told["at"]), now=case.now, limits=case.limits, what="policy: the evidence that it quotes")
    if (told["load"], told["of"]) != ("pass", of):
        raise Refused(f"it quotes {told['load']} about {str(told['of'])[:19]}, limit: pass about {of[:19]}")
    if told["by"] != case.source:
        return f"{case.source} says pass; its numbers are those of {told['by']}, which was not asked"
    if case.source == "status" and told["commit"] != found.commit:
        found = case.ask(new, str(told["commit"]))
    if (told["commit"], told["at"]) == (found.commit, found.record()["at"]) or case.source == "status":
        wrong = [f"{key} {told[key]}, limit: {value}" for key, value in found.record().items() if told[key] != value]
        if wrong:
            raise Refused(f"it quotes {wrong[0]}")
    return f"pass, {told['at']}, by {told['by']}"


def waiver(new: ledger.Line, _: Case) -> str:
    """A reason; whoever owns production's ledger approves it by approving the pull request."""
    reason = (new.evidence or {}).get("waiver")
    if not isinstance(reason, str) or not reason.strip() or set(new.evidence or {}) != {"waiver"}:
        raise Refused("the waiver is not a reason alone, limit: a sentence")
    return reason


def _moment(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        at = datetime.min
    if at.tzinfo is None:
        raise Refused(f"it quotes evidence of {text!r}, limit: a moment with its time zone")
    return at
