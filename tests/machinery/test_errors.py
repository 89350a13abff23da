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


def test_docstring_draws_the_whole_family() -> None:
    drawn = dict(re.findall(r"[├└]── (\w+)\s+(\d)", errors.__doc__ or ""))
    family = {error.__name__: str(error.code) for error in errors.SlipwayError.__subclasses__()}
    assert drawn == family
