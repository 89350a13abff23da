"""contract: what is derived from a Pydantic model written once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from enum import Enum
from typing import Annotated, Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel, Field

from slipway import problem
from slipway.contract import data_check
from slipway.errors import ConfigError, DataError


class Boat(BaseModel):
    name: Annotated[str, Field(min_length=2, max_length=8, examples=["Ida"])]
    length: Annotated[float, Field(ge=1, le=30, examples=[9], json_schema_extra={"unit": "metres"})]
    age: Annotated[float | None, Field(ge=0, le=99)]
    launched: datetime


NAN, INFINITY = float("nan"), float("inf")
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def boats(**changes: Any) -> pl.DataFrame:
    good = {"name": ["Ida", "Eos"], "length": [9.0, 12.5], "age": [None, 3.0], "launched": [NOON, NOON]}
    return pl.DataFrame(good).with_columns(**{name: pl.Series(values) for name, values in changes.items()})


def test_columns_know_kind_range_and_unit() -> None:
    name, length, age, launched = problem.columns(Boat)
    assert [c.kind for c in (name, length, age, launched)] == ["category", "number", "number", "time"]
    assert (length.low, length.high, length.unit, length.nullable) == (1, 30, "metres", False)
    assert (age.nullable, name.low, name.example) == (True, None, "Ida")
    assert problem.names(Boat, "number") == ["length", "age"]


def test_a_type_nobody_can_check_is_refused() -> None:
    class Odd(BaseModel):
        tags: list[str]

    with pytest.raises(ConfigError, match="field tags of the contract"):
        problem.columns(Odd)


def test_a_frame_that_keeps_the_contract_passes() -> None:
    data_check.check_frame(Boat, boats(), where="boats")
    data_check.check_frame(Boat, boats(length=pl.Series([9, 12.5], dtype=pl.Float32), row_id=["a", "b"]), where="boats")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"length": [9.0, 1048.4]}, "column length is 1048.4 (the worst of 1 row); allowed: 1 to 30 (metres)"),
        ({"length": [0.5, 48.0]}, "column length is 48 (the worst of 2 rows); allowed: 1 to 30 (metres)"),
        ({"length": [-70.0, 48.0]}, "column length is -70 (the worst of 2 rows); allowed: 1 to 30 (metres)"),
        ({"length": [9.0, None]}, "column length has no value in 1 row; expected: a value in every row"),
        ({"name": [None, "Eos"]}, "column name has no value in 1 row; expected: a value in every row"),
        (
            {"age": [float("nan"), 3.0]},
            "column age is NaN or infinite in 1 row; expected: a finite number or null",
        ),
        (
            {"age": [float("inf"), 3.0]},
            "column age is NaN or infinite in 1 row; expected: a finite number or null",
        ),
        ({"length": ["9", "12"]}, "column length has type String; expected: number"),
        ({"name": ["", "Eos"]}, "column name is '' (the first of 1 row); allowed: 2 to 8 characters"),
        (
            {"name": ["Ida", "Andromeda"]},
            "column name is 'Andromeda' (the first of 1 row); allowed: 2 to 8 characters",
        ),
        ({"name": [1.0, 2.0]}, "column name has type Float64; expected: category"),
        ({"launched": [NOON.date(), NOON.date()]}, "column launched has type Date; expected: time"),
    ],
)
def test_a_breach_names_column_value_limit_and_rows(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        data_check.check_frame(Boat, boats(**changes), where="boats")
    assert str(caught.value) == f"boats: {message}"


@pytest.mark.parametrize("depth", [NAN, INFINITY, -INFINITY])
def test_a_number_without_bounds_is_finite(depth: float) -> None:
    class Lake(BaseModel):
        depth: float | None

    data_check.check_frame(Lake, pl.DataFrame({"depth": [1e9, None]}), where="lakes")
    with pytest.raises(DataError, match="lakes: column depth is NaN or infinite in 1 row"):
        data_check.check_frame(Lake, pl.DataFrame({"depth": [depth, 3.0]}), where="lakes")


def test_all_breaches_are_told_at_once() -> None:
    with pytest.raises(DataError, match=r"column length is 99.*; column age is -1"):
        data_check.check_frame(Boat, boats(length=[9.0, 99.0], age=[-1.0, 3.0]), where="boats")


def test_a_missing_column_is_named() -> None:
    with pytest.raises(DataError, match="boats lacks the column length, age; it has name, launched"):
        data_check.check_frame(Boat, boats().drop("length", "age"), where="boats")


def test_an_example_is_a_row() -> None:
    assert problem.example_row(Boat) == {"name": "Ida", "length": 9, "age": None, "launched": None}


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Sail(BaseModel):
    hour: Annotated[float, Field(gt=-1, lt=24, json_schema_extra={"unit": "h"})]
    reef: Annotated[int, Field(ge=0, multiple_of=2)]
    area: Annotated[float | None, Field(ge=0, multiple_of=0.5)]
    code: Annotated[str, Field(pattern="^[a-z]+$", max_length=4)]
    colour: Colour
    rig: Literal["sloop", "ketch"] | None
    wet: bool
    day: date


def sails(**changes: Any) -> pl.DataFrame:
    good = {"hour": [23.9], "reef": [2], "area": [1.5], "code": ["ab"], "colour": ["red"], "rig": ["sloop"],
            "wet": [True], "day": [NOON.date()]}  # fmt: skip
    return pl.DataFrame(good).with_columns(**{name: pl.Series(values) for name, values in changes.items()})


def test_a_frame_that_keeps_every_word_passes() -> None:
    data_check.check_frame(Sail, sails(), where="sails")
    data_check.check_frame(Sail, sails(reef=[2.0], area=pl.Series([None], dtype=pl.Float64), hour=[0]), where="sails")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hour": [99.5]}, "column hour is 99.5 (the worst of 1 row); allowed: above -1 and below 24 (h)"),
        ({"hour": [24.0]}, "column hour is 24 (the worst of 1 row); allowed: above -1 and below 24 (h)"),
        ({"reef": [2.5]}, "column reef is 2.5 (the first of 1 row); allowed: multiples of 2"),
        ({"reef": [3]}, "column reef is 3 (the first of 1 row); allowed: multiples of 2"),
        ({"area": [0.75]}, "column area is 0.75 (the first of 1 row); allowed: multiples of 0.5"),
        ({"area": [1e39]}, "column area is 1e+39 (the worst of 1 row); allowed: 0 to any"),
        ({"code": ["a\n"]}, "column code is 'a\\n' (the first of 1 row); allowed: "
         "a text that matches ^[a-z]+$, any to 4 characters"),
        ({"colour": ["green"]}, "column colour is 'green' (the first of 1 row); allowed: 'red', 'blue'"),
        ({"rig": ["yawl"]}, "column rig is 'yawl' (the first of 1 row); allowed: 'sloop', 'ketch'"),
        ({"wet": [1]}, "column wet has type Int64; expected: Boolean"),
        ({"reef": ["2"]}, "column reef has type String; expected: whole number"),
        ({"day": [NOON]}, "column day has type Datetime(time_unit='us', time_zone='UTC'); expected: Date"),
    ],
)  # fmt: skip
def test_a_breach_of_each_word_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        data_check.check_frame(Sail, sails(**changes), where="sails")
    assert str(caught.value) == f"sails: {message}"


def test_a_limit_of_many_digits_is_named_exactly() -> None:
    class Tall(BaseModel):
        height: Annotated[float, Field(le=1234567)]

    with pytest.raises(DataError, match=r"column height is 1234567\.25 .*; allowed: any to 1234567$"):
        data_check.check_frame(Tall, pl.DataFrame({"height": [1234567.25]}), where="frame")


def test_a_number_that_32_bits_cannot_hold_is_refused() -> None:
    class Tall(BaseModel):
        height: float

    with pytest.raises(DataError, match=r"column height is 1e\+300 .*; allowed: -3.4e\+38 to 3.4e\+38$"):
        data_check.check_frame(Tall, pl.DataFrame({"height": [1e300]}), where="frame")
