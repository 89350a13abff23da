from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError, field_validator, model_validator

from slipway.core.strict_model import StrictModel, describe_errors


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
