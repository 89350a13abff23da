"""verdict: a word computed from checks in one place."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.core import files
from slipway.core.verdict import Check, Verdict, describe_check
from slipway.errors import CheckFailed, Inconclusive


def check(ok: bool | None, name: str = "auc floor") -> Check:
    return Check(name=name, value=0.61, low=0.6, high=0.62, limit="≥ 0.65", ok=ok)


@pytest.mark.parametrize(
    ("oks", "word"),
    [
        ([True, True], "pass"),
        ([True, False], "fail"),
        ([None, False], "fail"),
        ([True, None], "unsure"),
        ([], "unsure"),
    ],
)
def test_word_follows_from_the_checks(oks: list[bool | None], word: str) -> None:
    assert Verdict(chapter="judge", checks=[check(ok) for ok in oks]).word == word


def test_enforce_names_only_the_failed_checks() -> None:
    verdict = Verdict(chapter="judge", checks=[check(True, "log_loss"), check(False), check(None, "rows")])
    with pytest.raises(CheckFailed) as caught:
        verdict.enforce(hint="look at reports/judge.json")
    assert str(caught.value) == "judge: fail: auc floor is 0.61 [0.6, 0.62]; allowed: at least 0.65"
    assert (caught.value.hint, caught.value.code) == ("look at reports/judge.json", 4)


def test_enforce_is_unsure_when_nothing_was_measured() -> None:
    with pytest.raises(Inconclusive, match="load: unsure: nothing was measured"):
        Verdict(chapter="load", checks=[]).enforce()


def test_enforce_returns_on_pass() -> None:
    Verdict(chapter="judge", checks=[check(True)]).enforce()


def test_record_has_the_keys_of_the_design(tmp_path: Path) -> None:
    verdict = Verdict(chapter="judge", checks=[check(True)], rows=9, seconds=3.14159, inputs={"champion": None})
    verdict.write(tmp_path / "reports" / "judge.json")
    record = files.read_json(tmp_path / "reports" / "judge.json")
    assert list(record) == ["chapter", "verdict", "checks", "rows", "seconds", "inputs"]
    assert list(record["checks"][0]) == ["name", "value", "limit", "ok", "low", "high"]
    assert (record["verdict"], record["seconds"]) == ("pass", 3.142)


def test_sentence_shows_a_text_value() -> None:
    assert (
        describe_check(Check(name="parity", value="nan", limit="≤ 1e-05", ok=False))
        == "parity is nan; allowed: at most 1e-05"
    )
