"""Rules for one new ledger line: its order, clock, source, verdicts, copy and evidence.

`release`, `promote` and `rollback` obey the same rules when they write a line, and `policy` checks all of them again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from slipway.core import base_limits, config, git, ledger
from slipway.core.verdict import Check
from slipway.delivery import evidence
from slipway.delivery.evidence import Evidence
from slipway.errors import CheckFailed, Inconclusive, SlipwayError

ACTIONS = {env: ("promote" if number else "release", "rollback") for number, env in enumerate(ledger.ENVIRONMENTS)}
"""The actions in each environment's ledger: the first environment gets releases, later ones promotions."""
REQUIRED_VERDICTS = ("export", "evaluate", "prove", "judge", "package")
LINE_FIELDS = {"at", "env", "action", "evidence", "supersedes"}
"""Fields that each line sets itself; a copied line takes all others as they are."""
PREFIX = re.compile(r"^(policy|promote|rollback): ")
"""The command that an error's message begins with: the name of a check stands there instead."""
FindEvidence = Callable[[ledger.Line, str | None], Evidence]
"""Reads the evidence about a line: the newest, or that of one commit."""


# Rules that writing and checking a line share


def require_newer_commit(commit: str, lines: Sequence[ledger.Line], *, chapter: str, root: Path) -> None:
    """CheckFailed unless `commit` descends from every commit that the environment of `lines` already ran."""
    for old in lines:
        if not git.is_ancestor(old.commit, commit, root=root):
            raise CheckFailed(
                f"{chapter}: commit {commit[:12]} is not a descendant of {old.commit[:12]}, which {old.env} already ran",
                hint="release from the tip of main",
            )


def refuse_withdrawn(new: ledger.Line, lines: Sequence[ledger.Line], *, chapter: str) -> None:
    """CheckFailed when `new` is of a source commit that was rolled back. `require_newer_commit` refuses older ones."""
    for old in ledger.withdrawn_lines(lines):
        if old.commit == new.commit:
            raise CheckFailed(
                f"{chapter}: {new.bento} of commit {new.commit[:12]} was rolled back in {old.env}",
                expected=f"a source commit newer than {old.commit[:12]}",
                hint="fix the cause in a pull request and merge it: the merge is a newer commit",
            )


def line_to_restore(lines: Sequence[ledger.Line]) -> ledger.Line:
    """The newest line with another identity than the last one that was not itself withdrawn; CheckFailed without one."""
    last = ledger.newest_line(lines)
    if last is None:
        raise CheckFailed(
            "rollback: the environment has no release yet", hint="release something first: slipway release"
        )
    excluded = {line.identity for line in ledger.withdrawn_lines(lines)} | {last.identity}
    for line in reversed(lines):
        # an overlay cannot go back to no image
        if line.identity not in excluded and bool(line.image) == bool(last.image):
            return line
    raise CheckFailed(
        f"rollback: there is no release before {last.bento} to restore",
        expected="an earlier ledger line that was not rolled back",
        hint=f"slipway release log --env {last.env}",
    )


# Checks of `policy`


@dataclass(frozen=True, kw_only=True)
class LineContext:
    """The data that a new line is checked against: `lines` before it, and the `staging` ledger on main.

    `find_evidence` reads the evidence from `source`.
    """

    lines: Sequence[ledger.Line]
    staging: Sequence[ledger.Line]
    limits: config.Release
    now: datetime
    source: str
    find_evidence: FindEvidence
    root: Path


def as_check(name: str, limit: str, rule: Callable[[], str]) -> Check:
    """Call `rule`: the sentence it returns is a passing check, its error a failing one, or an unsure one if Inconclusive."""
    ok: bool | None
    try:
        value, ok = rule(), True
    except SlipwayError as error:
        value, limit = PREFIX.sub("", error.message), error.allowed.replace("at most ", "≤ ") or limit
        ok = None if isinstance(error, Inconclusive) else False
    return Check(name=name, value=value, limit=limit, ok=ok, text=f"{name}: {value}")


def check_line(new: ledger.Line, env: str, case: LineContext) -> list[Check]:
    """All checks of one new line in the ledger of `env`."""
    name = f"{env}, {new.action} of {new.bento}"
    results = [
        as_check(f"{name}: order", "a line that follows the last one", partial(check_order, new, env, case)),
        as_check(f"{name}: clock", f"≤ {case.limits.max_clock_skew_minutes} minutes ahead",
              partial(check_clock, new, case)),
    ]  # fmt: skip
    if new.action == "rollback":
        rule = partial(check_restored_line, new, case)
        return [*results, as_check(f"{name}: restores", "a copy of an earlier line, with a reason", rule)]
    results.append(
        as_check(f"{name}: source", "a commit newer than all that ran there", partial(check_source, new, case))
    )
    results.append(as_check(f"{name}: verdicts", "pass", partial(check_verdicts, new)))
    if new.restart_at or restart_at_source(new, root=case.root):
        title = f"RESTARTED without a comparison with production: {name}"
        results.append(as_check(title, "restart_at as params.yaml has it", partial(check_restart, new, case)))
    if new.action == "promote":
        results.append(as_check(f"{name}: copy", "a copy of staging's line", partial(check_copy, new, case)))
        waived = "waiver" in (new.evidence or {})
        title = f"WAIVED without evidence: {name}" if waived else f"{name}: evidence"
        rule = partial(check_waiver, new) if waived else partial(check_evidence, new, case)
        results.append(as_check(title, "a passed load test of staging", rule))
    return results


def check_order(new: ledger.Line, env: str, case: LineContext) -> str:
    """The line is of this environment, with one of its actions, and supersedes the last line."""
    if new.env != env or new.action not in ACTIONS[env]:
        raise CheckFailed(f"the line is a {new.action} of {new.env}", expected=f"{' or '.join(ACTIONS[env])} of {env}")
    before = case.lines[-1].identity if case.lines else None
    if new.supersedes != before:
        raise CheckFailed(
            f"the line supersedes {new.supersedes or 'nothing'}", expected=before or "nothing", value=new.supersedes
        )
    return f"line {len(case.lines) + 1} follows the one before it"


def check_clock(new: ledger.Line, case: LineContext) -> str:
    """The line is neither from the future nor before the last line, by more than clocks may differ."""
    skew = timedelta(minutes=case.limits.max_clock_skew_minutes)
    if new.at.tzinfo is None:
        raise CheckFailed(f"the time {new.at.isoformat()} has no time zone", expected="UTC")
    if new.at - case.now > skew:
        raise CheckFailed(f"the line is dated {(new.at - case.now) / timedelta(minutes=1):.4g} minutes in the future")
    if case.lines and case.lines[-1].at - new.at > skew:
        raise CheckFailed(
            f"the line is dated {new.at.isoformat()}, before the previous line ({case.lines[-1].at.isoformat()})"
        )
    return f"the line is dated {new.at.isoformat()}"


def check_source(new: ledger.Line, case: LineContext) -> str:
    """The source commit is newer than all that ran in the environment, and was not rolled back there."""
    require_newer_commit(new.commit, case.lines, chapter="policy", root=case.root)
    refuse_withdrawn(new, case.lines, chapter="policy")
    return f"commit {new.commit[:12]} is newer than all that ran there"


def check_verdicts(new: ledger.Line) -> str:
    """Every verdict that a release needs is in the line, and all its verdicts are pass."""
    words = {chapter: str(new.verdicts.get(chapter, "missing")) for chapter in (*REQUIRED_VERDICTS, *new.verdicts)}
    if others := [f"{chapter} {word}" for chapter, word in words.items() if word != "pass"]:
        raise CheckFailed(f"these verdicts did not pass: {', '.join(others)}")
    return f"these verdicts passed: {', '.join(words)}"


def restart_at_source(new: ledger.Line, *, root: Path) -> str | None:
    """`judge.restart_at` of the line's source commit, if it names what production ran there: the judge obeyed it."""
    if git.find_commit(new.commit, root=root) is None:
        return None  # `check_source` refuses it
    judge = base_limits.params_at(new.commit, root=root).get("judge")
    production = ledger.newest_line(ledger.read_at("production", new.commit, root))
    setting = judge.get("restart_at") if isinstance(judge, dict) else None
    return setting if production and setting == production.commit else None


def check_restart(new: ledger.Line, case: LineContext) -> str:
    """The line names the commit with which it was not compared, as params.yaml of its source does."""
    setting = restart_at_source(new, root=case.root)
    if new.restart_at != setting:
        raise CheckFailed(
            f"the line has restart_at {new.restart_at or 'nowhere'}, but judge.restart_at in params.yaml of its source is "
            f"{setting or 'not in force'}",
            expected=setting or "no restart_at", value=new.restart_at,
        )  # fmt: skip
    return f"judged by the baseline and the floors, because judge.restart_at names commit {str(setting)[:12]}"


def check_restored_line(new: ledger.Line, case: LineContext) -> str:
    """The line copies a former one that was not withdrawn, and has a reason."""
    reason = (new.evidence or {}).get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise CheckFailed("the rollback has no reason", expected="a sentence as `reason` in its evidence")
    withdrawn = {old.identity for old in ledger.withdrawn_lines(case.lines)}
    if new.identity in withdrawn:
        raise CheckFailed(f"{new.bento} was itself rolled back", expected="a release that was not rolled back")
    former = [old for old in case.lines[:-1] if old.identity != case.lines[-1].identity]
    _require_copy(new, former, place="earlier line")
    return f"it restores an earlier line, because: {reason}"


def check_copy(new: ledger.Line, case: LineContext) -> str:
    """The line copies one that staging has on main."""
    _require_copy(new, case.staging, place="line of staging on main")
    return f"{new.bento} is copied from staging"


def _require_copy(new: ledger.Line, lines: Sequence[ledger.Line], *, place: str) -> None:
    """CheckFailed unless `new` equals one of `lines` but for LINE_FIELDS; the message names the fields that differ."""
    copy = new.model_dump(exclude=LINE_FIELDS)
    originals = [old.model_dump(exclude=LINE_FIELDS) for old in lines if old.identity == new.identity]
    if not originals:
        raise CheckFailed(f"no {place} has {new.identity}", expected=f"the image of a {place}", value=new.identity)
    if copy not in originals:
        fields = dict.fromkeys([*copy, *originals[-1]])
        changed = ", ".join(field for field in fields if copy.get(field) != originals[-1].get(field))
        raise CheckFailed(f"{changed} differs from the {place}", expected="an exact copy")


def check_evidence(new: ledger.Line, case: LineContext) -> str:
    """The source has a fresh pass about exactly this digest, and the line quotes it unchanged."""
    expected = evidence.digest(new)
    if not new.evidence:
        raise CheckFailed("the line has no evidence")
    current = case.find_evidence(new, None)
    evidence.require_pass(current, expected, now=case.now, limits=case.limits, chapter="policy")
    quoted = {key: new.evidence.get(key) for key in current.record()}
    quoted_at = _parse_quoted_time(quoted["at"])
    evidence.require_fresh(quoted_at, now=case.now, limits=case.limits, subject="the evidence that the line quotes")
    if (quoted["load"], quoted["of"]) != ("pass", expected):
        raise CheckFailed(
            f"the line quotes {quoted['load']} for {str(quoted['of'])[:19]}",
            expected=f"pass for {expected[:19]}",
        )
    if quoted["by"] != case.source:
        return f"{case.source} has a pass; the numbers in the line are from {quoted['by']}, which was not read"
    if case.source == "status" and quoted["commit"] != current.commit:
        current = case.find_evidence(new, str(quoted["commit"]))
    record = current.record()
    if (quoted["commit"], quoted["at"]) == (current.commit, record["at"]) or case.source == "status":
        for key, value in record.items():
            if quoted[key] != value:
                raise CheckFailed(f"the line quotes {key} {quoted[key]}", expected=str(value), value=quoted[key])
    return f"staging passed its load test at {quoted['at']} (read from: {quoted['by']})"


def check_waiver(new: ledger.Line) -> str:
    """The evidence is a waiver with a reason and nothing else; a code owner approves it with the pull request."""
    reason = (new.evidence or {}).get("waiver")
    if not isinstance(reason, str) or not reason.strip() or set(new.evidence or {}) != {"waiver"}:
        raise CheckFailed("the waiver is not a reason alone", expected="a sentence and no other field")
    return reason


def _parse_quoted_time(text: Any) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        at = datetime.min
    if at.tzinfo is None:
        raise CheckFailed(
            f"the line quotes evidence of {text!r}", expected="a date and time with a time zone", value=text
        )
    return at
