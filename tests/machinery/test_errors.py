"""errors: one family, one exit code each."""

from __future__ import annotations

import re

import pytest

from slipway import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.ConfigError, 2), (errors.DataError, 3), (errors.CheckFailed, 4), (errors.Inconclusive, 5)],
)
def test_each_error_has_its_exit_code(error: type[errors.SlipwayError], code: int) -> None:
    raised = error("what went wrong", hint="the next command")
    assert isinstance(raised, errors.SlipwayError)
    assert (raised.code, str(raised), raised.hint) == (code, "what went wrong", "the next command")


def test_text_is_the_message_and_its_limit() -> None:
    error = errors.CheckFailed("the error rate is 0.2", allowed="≤ 0.001", value=0.2, hint="see reports/load.json")
    assert str(error) == "the error rate is 0.2; allowed: ≤ 0.001"
    assert (error.message, error.allowed) == ("the error rate is 0.2", "≤ 0.001")
    assert (error.value, error.hint) == (0.2, "see reports/load.json")


def test_text_without_a_limit_is_the_message() -> None:
    error = errors.DataError("a.csv does not exist")
    assert str(error) == error.message == "a.csv does not exist"
    assert (error.allowed, error.value, error.hint) == ("", None, "")


def test_message_may_hold_the_word_limit_itself() -> None:
    error = errors.CheckFailed("auc is 0.6; allowed: 0.7; rows is 3", allowed="≥ 9")
    assert (error.message, error.allowed) == ("auc is 0.6; allowed: 0.7; rows is 3", "≥ 9")


def test_docstring_draws_the_whole_family() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+)\s+(\d)", errors.__doc__ or ""))
    family = {error.__name__: str(error.code) for error in errors.SlipwayError.__subclasses__()}
    assert drawn == family
