from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway.core import git, ledger
from slipway.core.verdict import describe_limit
from slipway.delivery import policy_rules
from slipway.delivery.evidence import Evidence
from slipway.delivery.policy_rules import LineContext
from slipway.errors import CheckFailed, ConfigError, DataError, Inconclusive
from support import release_repository

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=2)
FOUND = Evidence(
    verdict="pass", digest=release_repository.digest(2), at=NOW - timedelta(hours=1), source="status", commit="f" * 40
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits, of which lines are made."""
    root = release_repository.project(tmp_path_factory.mktemp("clause") / "p")
    for number in (1, 2, 3):
        release_repository.commit(root, f"Change {number}")
    return root


@pytest.fixture
def case(params, repository) -> LineContext:
    """Production runs release 1; staging ran 1 and runs 2, which was judged."""
    first = line(1, repository, env="production", action="promote")
    staging = [line(number, repository) for number in (1, 2)]
    return LineContext(lines=[first], staging=staging, limits=params.release, now=NOW, source="status",
                find_evidence=lambda *_: FOUND, root=repository)  # fmt: skip


def line(number: int, root: Path, **changes: Any) -> ledger.Line:
    source = git.commit_hash(f"HEAD~{3 - number}", root=root)
    return release_repository.line(number, **{"at": EARLIER, "commit": source} | changes)


def promoted(case: LineContext, **changes: Any) -> ledger.Line:
    """An honest promotion of release 2, then changed."""
    usual = {"env": "production", "action": "promote", "evidence": FOUND.record(), "at": NOW,
             "supersedes": case.lines[-1].identity}  # fmt: skip
    return line(2, case.root, **usual | changes)


def said(case: LineContext, new: ledger.Line, env: str = "production") -> dict[str, str]:
    """The checks that do not hold, by the last word of their names."""
    return {found.name.split(": ")[-1]: f"{found.value}; {describe_limit(found.limit)}"
            for found in policy_rules.check_line(new, env, case) if not found.ok}  # fmt: skip


def test_an_honest_promotion_holds(case):
    assert said(case, promoted(case)) == {}


@pytest.mark.parametrize(("changes", "part", "told"), [
    ({"env": "staging"}, "order", "the line is a promote of staging; expected: promote or rollback of production"),
    ({"action": "release"}, "order", "the line is a release of production; expected: promote or rollback of production"),
    ({"supersedes": None}, "order", "the line supersedes nothing; expected: registry.example/bikes@sha256:0"),
    ({"supersedes": "else"}, "order", "the line supersedes else; expected: registry"),
    ({"at": NOW + timedelta(minutes=6)}, "clock", "dated 6 minutes in the future; allowed: at most 5 minutes ahead"),
    ({"at": EARLIER - timedelta(minutes=6)}, "clock", ", before the previous line"),
    ({"at": datetime(2026, 3, 8)}, "clock", "has no time zone; expected: UTC"),
    ({"verdicts": {}}, "verdicts", "judge missing"),
    ({"model_sha256": "f" * 64}, "copy", "model_sha256 differs from the line of staging on main"),
    ({"metrics": {"mae": 0.1}}, "copy", "metrics differs from"),
    ({"restart_at": "a" * 40}, "copy", "restart_at differs from the line of staging on main"),
    ({"verdicts": dict.fromkeys((*policy_rules.REQUIRED_VERDICTS, "x"), "pass")}, "copy", "verdicts differs from"),
    ({"image": f"evil.example/bikes@{release_repository.digest(2)}"}, "copy", "no line of staging on main has"),
    ({"image": f"{release_repository.NAME}@{release_repository.digest(9)}"}, "evidence",
     "the load test was of sha256:000000000000"),
    ({"evidence": None}, "evidence", "the line has no evidence; expected: a passed load test of staging"),
    ({"evidence": {}}, "evidence", "the line has no evidence"),
    ({"evidence": FOUND.record() | {"load": "fail"}}, "evidence", "the line quotes fail for sha256:"),
    ({"evidence": FOUND.record() | {"of": release_repository.digest(1)}}, "evidence", "the line quotes pass for sha256:"),
    ({"evidence": FOUND.record() | {"p95_ms": 0.1}}, "evidence", "the line quotes p95_ms 0.1; expected: None"),
    ({"evidence": FOUND.record() | {"requests": 10**6}}, "evidence", "the line quotes requests 1000000; expected: None"),
    ({"evidence": FOUND.record() | {"commit": "e" * 40}}, "evidence", "the line quotes commit eeeeeeeeee"),
    ({"evidence": FOUND.record() | {"at": "soon"}}, "evidence", "the line quotes evidence of 'soon'; expected: a date and time"),
    ({"evidence": FOUND.record() | {"at": "2026-03-08T11:00:00"}}, "evidence", "expected: a date and time with a time zone"),
    ({"evidence": FOUND.record() | {"at": None}}, "evidence", "the line quotes evidence of None"),
    ({"evidence": FOUND.record() | {"at": "2026-03-08T11:30:00+00:00"}}, "evidence", "the line quotes at 2026-03-08T11:30"),
    ({"evidence": FOUND.record() | {"at": "2026-03-08T13:00:00+00:00"}}, "evidence", "60 minutes in the future"),
    ({"evidence": FOUND.record() | {"at": "2026-02-08T13:00:00+00:00"}}, "evidence", "days old; allowed: at most 7 days"),
])  # fmt: skip
def test_a_bent_promotion_is_refused(case, changes, part, told):
    assert told in said(case, promoted(case, **changes)).get(part, "")


@pytest.mark.parametrize(
    "changes", [{"verdict": "fail"}, {"digest": release_repository.digest(1)}, {"at": NOW - timedelta(days=8)}]
)
def test_what_the_source_does_not_say_is_refused_whatever_is_quoted(case, changes):
    bent = replace(case, find_evidence=lambda *_: replace(FOUND, **changes))
    assert "evidence" in said(bent, promoted(bent))


def test_an_unsure_verdict_and_an_unsure_source_are_unsure(case):
    def broken(*_: Any) -> Evidence:
        raise Inconclusive("no answer")

    for ask in (lambda *_: replace(FOUND, verdict="unsure"), broken):
        bent = replace(case, find_evidence=ask)
        (found,) = [one for one in policy_rules.check_line(promoted(bent), "production", bent) if one.ok is not True]
        assert found.ok is None


def test_a_later_verdict_does_not_make_the_quoted_one_wrong(case):
    later = replace(FOUND, commit="e" * 40, at=NOW)

    def ask(_: ledger.Line, only: str | None) -> Evidence:
        return {None: later, FOUND.commit: FOUND}[only]

    assert said(replace(case, find_evidence=ask), promoted(case)) == {}


def test_numbers_of_another_source_are_not_asked_for(case):
    quoted = FOUND.record() | {"by": "cluster", "p95_ms": 7.0, "commit": "e" * 40}
    new = promoted(case, evidence=quoted)
    assert said(case, new) == {}
    told = [one.value for one in policy_rules.check_line(new, "production", case) if one.name.endswith("evidence")]
    assert told == ["status has a pass; the numbers in the line are from cluster, which was not read"]


def test_cluster_that_has_judged_again_only_confirms(case):
    quoted = replace(FOUND, source="cluster", p95_ms=7.0)
    asked = replace(case, source="cluster", find_evidence=lambda *_: replace(quoted, at=NOW, p95_ms=9.0))
    assert said(asked, promoted(case, evidence=quoted.record())) == {}
    same = replace(case, source="cluster", find_evidence=lambda *_: replace(quoted, p95_ms=9.0))
    assert (
        "the line quotes p95_ms 7.0; allowed: 9.0" in said(same, promoted(case, evidence=quoted.record()))["evidence"]
    )


def test_a_waiver_is_loud(case):
    found = policy_rules.check_line(promoted(case, evidence={"waiver": "The gate is being moved"}), "production", case)
    assert [(one.name, one.value) for one in found if one.name.startswith("WAIVED")] == [
        ("WAIVED without evidence: production, promote of bikes:2", "The gate is being moved")
    ]
    assert all(one.ok for one in found)


@pytest.mark.parametrize("proof", [{"waiver": ""}, {"waiver": " "}, {"waiver": 3}, {"waiver": "so", "load": "pass"}])
def test_a_waiver_is_a_reason_and_nothing_else(case, proof):
    (told,) = said(case, promoted(case, evidence=proof)).values()
    assert "the waiver is not a reason alone; expected: a sentence" in told


def test_a_waiver_waives_nothing_but_the_evidence(case):
    assert set(said(case, promoted(case, evidence={"waiver": "so"}, model_sha256="f" * 64))) == {"copy"}


def test_source_must_be_newer_than_all_that_ran(case):
    third = line(3, case.root, env="production", action="promote")
    later = replace(case, lines=[*case.lines, third])
    assert "is not a descendant of" in said(later, promoted(later, supersedes=third.identity))["source"]


def test_what_was_rolled_back_is_refused(case):
    second, back = promoted(case), line(1, case.root, env="production", action="rollback",
                                        supersedes=f"{release_repository.NAME}@{release_repository.digest(2)}")  # fmt: skip
    later = replace(case, lines=[*case.lines, second, back])
    assert "was rolled back in production" in said(later, promoted(later, supersedes=back.identity))["source"]


# Staging's releases, and rollbacks


def test_a_release_needs_its_verdicts(case):
    before = replace(case, lines=case.staging[:1])
    new = line(2, case.root, supersedes=case.staging[0].identity, at=NOW)
    assert said(before, new, "staging") == {}
    bent = new.model_copy(update={"verdicts": dict(new.verdicts) | {"judge": "unsure"}})
    assert said(before, bent, "staging") == {"verdicts": "these verdicts did not pass: judge unsure; expected: pass"}


def rolled(case: LineContext, **changes: Any) -> tuple[LineContext, ledger.Line]:
    """Production ran 1 and 2, and goes back to 1."""
    later = replace(case, lines=[*case.lines, promoted(case)])
    new = later.lines[0].model_copy(update={"at": NOW, "action": "rollback", "evidence": {"reason": "slow"},
                                            "supersedes": later.lines[1].identity} | changes)  # fmt: skip
    return later, new


def test_an_honest_rollback_holds(case):
    assert said(*rolled(case)) == {}


@pytest.mark.parametrize(("changes", "told"), [
    ({"evidence": None}, "the rollback has no reason; expected: a sentence"),
    ({"evidence": {"reason": " "}}, "the rollback has no reason"),
    ({"evidence": {"reason": 3}}, "the rollback has no reason"),
    ({"data_sha256": "f" * 64}, "data_sha256 differs from the earlier line"),
    ({"image": f"{release_repository.NAME}@{release_repository.digest(7)}"}, "no earlier line has"),
    ({"image": f"{release_repository.NAME}@{release_repository.digest(2)}"}, "no earlier line has"),
])  # fmt: skip
def test_a_bent_rollback_is_refused(case, changes, told):
    assert told in said(*rolled(case, **changes))["restores"]


def test_going_back_to_what_was_withdrawn_is_refused(case):
    later, back = rolled(case)
    third = line(3, case.root, env="production", action="promote", supersedes=back.identity)
    again = promoted(case).model_copy(update={"action": "rollback", "evidence": {"reason": "x"},
                                              "supersedes": third.identity})  # fmt: skip
    told = said(replace(later, lines=[*later.lines, back, third]), again)
    assert "bikes:2 was itself rolled back" in told["restores"]


@pytest.mark.parametrize(("error", "ok"), [
    (CheckFailed("is 3", allowed="2"), False), (DataError("is 3", allowed="2"), False),
    (ConfigError("is 3", allowed="2"), False), (Inconclusive("is 3", allowed="2"), None),
])  # fmt: skip
def test_an_error_is_a_check_that_does_not_hold(error, ok):
    def work() -> str:
        raise error

    check = policy_rules.as_check("x", "y", work)
    assert (check.value, check.limit, check.ok) == ("is 3", "2", ok)


def test_an_error_without_a_limit_has_that_of_its_check():
    def work() -> str:
        raise CheckFailed("reads a; allowed: b")

    check = policy_rules.as_check("x", "y", work)
    assert (check.value, check.limit) == ("reads a; allowed: b", "y")
