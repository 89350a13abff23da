from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError, field_validator, model_validator
from ruamel.yaml.error import YAMLError

from slipway.core.strict_model import StrictModel, describe_errors, describe_syntax_error, parse_yaml


class Inner(StrictModel):
    low: float
    high: float

    @model_validator(mode="after")
    def _ordered(self) -> Inner:
        if self.low > self.high:
            raise ValueError(f"low is {self.low}, above high")
        return self


class Outer(StrictModel):
    name: str
    limits: tuple[Inner, ...] = ()

    @field_validator("name")
    @classmethod
    def _lower(cls, name: str) -> str:
        if name != name.lower():
            raise ValueError(f"{name} is not in lower case")
        return name


def test_model_that_fits_cannot_be_changed() -> None:
    model = Outer(name="a", limits=(Inner(low=1, high=2),))
    with pytest.raises(ValidationError, match="frozen"):
        model.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(("values", "message"), [
    ({}, "key name is missing"),
    ({"name": "a", "nmae": 3}, "unknown key nmae (value 3)"),
    ({"name": 3}, "name is 3; expected: a text"),
    ({"name": "A"}, "name: A is not in lower case"),
    ({"name": "a", "limits": [{"low": 1}]}, "key limits.0.high is missing"),
    ({"name": "a", "limits": [{"low": 3, "high": 2}]}, "limits.0: low is 3.0, above high"),
    ({"name": "a", "limits": [{"low": 1, "high": float("inf")}]}, "limits.0.high is inf; expected: a finite number"),
    ({"name": "a", "limits": [{"low": float("nan"), "high": 1}]}, "limits.0.low is nan; expected: a finite number"),
    ({"nmae": 3}, "key name is missing; unknown key nmae (value 3)"),
])  # fmt: skip
def test_every_error_is_in_the_sentence(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    assert describe_errors(caught.value) == message


@pytest.mark.parametrize(
    ("whole", "message"), [("the file", "the file is 3; expected: "), ("slo.yaml", "slo.yaml is 3; expected: ")]
)
def test_top_level_is_called_by_its_name(whole: str, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(3)
    assert describe_errors(caught.value, top_level=whole).startswith(message)


@pytest.mark.parametrize(("text", "message"), [
    ("a: 1\nuntil: 2013-02-30\n", "line 2, column 8: 2013-02-30 is not a date, such as 2013-10-31: day is out of range"),
    ("a: {b: [1, 2013-13-01]}", "line 1, column 12: 2013-13-01 is not a date, such as 2013-10-31: month must be in 1..12"),
    ("at: 2013-02-01T25:00:00Z", "line 1, column 5: 2013-02-01T25:00:00Z is not a date, such as 2013-10-31: hour must be"),
    ("!!int many", "line 1, column 1: many is not a whole number: "),
    ("on: !!bool maybe", "line 1, column 5: maybe is not true or false: "),
    (f"seed: {'9' * 5000}", f"line 1, column 7: {'9' * 40} is not a whole number: Exceeds the limit"),
    ("[" * 1200, "nested too deeply"),
    ("a: [", "line 1"),
    ("a: *b", "line 1, column 4: found undefined alias"),
])  # fmt: skip
def test_text_that_has_no_value_is_an_error_of_yaml(text: str, message: str) -> None:
    with pytest.raises(YAMLError) as caught:
        parse_yaml(text)
    assert message in describe_syntax_error(caught.value)


def test_text_that_has_a_value_is_read() -> None:
    assert parse_yaml("a: 1\nb: 2013-02-28") == {"a": 1, "b": date(2013, 2, 28)}
    assert parse_yaml("") is None
