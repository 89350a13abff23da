"""contract: the examples keep it, and every bound refuses the value next to it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from flights.contract import Flight, Inputs
from slipway import problem
from slipway.problem import Column

BOUNDS = [
    pytest.param(column, bound, outside, id=f"{column.name} {bound:g}")
    for column in problem.columns(Inputs)
    for bound, outside in ((column.low, -math.inf), (column.high, math.inf))
    if bound is not None
]


CALENDAR = {"weekday", "plane_year"}
"""Numbers of the calendar, which have no unit."""


def row(**changes: Any) -> dict[str, Any]:
    """The row of examples, with some values changed."""
    return problem.example_row(Inputs) | changes


def test_examples_keep_the_contract() -> None:
    assert Inputs.model_validate(row()).model_dump() == row()


@pytest.mark.parametrize("model", [Flight, Inputs])
def test_every_number_has_bounds_and_a_unit(model: type[BaseModel]) -> None:
    numbers = [column for column in problem.columns(model) if column.kind == "number"]
    assert [c.name for c in numbers if c.low is None or c.high is None] == []
    assert [c.name for c in numbers if not c.unit and c.name not in CALENDAR] == []
    assert [column.name for column in problem.columns(model) if not column.description] == []


@pytest.mark.parametrize(("column", "bound", "outside"), BOUNDS)
def test_a_bound_is_allowed_and_what_lies_outside_is_not(column: Column, bound: float, outside: float) -> None:
    Inputs.model_validate(row(**{column.name: bound}))
    with pytest.raises(ValidationError, match=column.name):
        Inputs.model_validate(row(**{column.name: math.nextafter(bound, outside)}))


@pytest.mark.parametrize("column", problem.columns(Inputs), ids=lambda column: column.name)
def test_only_what_may_be_missing_may_be_missing(column: Column) -> None:
    if column.nullable:
        Inputs.model_validate(row(**{column.name: None}))
    else:
        with pytest.raises(ValidationError, match=column.name):
            Inputs.model_validate(row(**{column.name: None}))


@pytest.mark.parametrize(("text", "allowed"), [("", False), ("U", True), ("U" * 16, True), ("U" * 17, False)])
def test_a_text_has_one_to_sixteen_characters(text: str, allowed: bool) -> None:
    if allowed:
        Inputs.model_validate(row(carrier=text))
    else:
        with pytest.raises(ValidationError, match="carrier"):
            Inputs.model_validate(row(carrier=text))


def test_an_input_that_is_not_in_the_contract_is_refused() -> None:
    with pytest.raises(ValidationError, match="dep_delay"):
        Inputs.model_validate(row(dep_delay=3.0))


def test_the_model_gets_no_column_that_is_known_later() -> None:
    from flights.problem import PROBLEM

    later = {name for name, moment in PROBLEM.known_at.items() if moment != "weather_at"}
    assert later & set(Inputs.model_fields) == set()
