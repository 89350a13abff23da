"""reading: every word that a contract cannot use is refused by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Literal

import annotated_types as at
import pytest
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    Strict,
    StringConstraints,
    WithJsonSchema,
    computed_field,
    create_model,
    field_validator,
    model_validator,
)  # fmt: skip

from slipway import problem
from slipway.contract import reading
from slipway.contract.reading import check_inputs, columns
from slipway.errors import ConfigError


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Size(StrEnum):
    SMALL = "s"
    LARGE = "l"


class Loose(Enum):
    RED = "red"

    @classmethod
    def _missing_(cls, _: object) -> Loose:
        return cls.RED


class Point(BaseModel):
    x: float


def contract(annotation: Any, default: Any = ...) -> type[BaseModel]:
    return create_model("Wind", speed=(annotation, default))


def message(work: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as caught:
        work()
    assert "docs/reference/contract.md" in str(caught.value.hint)
    return str(caught.value)


@pytest.mark.parametrize(("annotation", "what"), [
    (Annotated[float, Field(alias="v")], "`alias`"),
    (Annotated[float, Field(validation_alias="v")], "`validation_alias`"),
    (Annotated[float, Field(serialization_alias="v")], "`serialization_alias`"),
    (Annotated[float | None, Field(default_factory=float)], "`default_factory`"),
    (Annotated[float, Field(exclude=True)], "`exclude`"),
    (Annotated[float, Field(deprecated=True)], "`deprecated`"),
    (Annotated[float, Field(validate_default=True)], "`validate_default`"),
    (Annotated[float, Field(strict=False)], "`strict`"),
    (Annotated[float, Strict()], "`strict`"),
    (Annotated[float, Field(allow_inf_nan=True)], "`allow_inf_nan`"),
    (Annotated[Decimal, Field(max_digits=3)], "the type Decimal; expected: float"),
    (Annotated[float, AfterValidator(abs)], "`AfterValidator`"),
    (Annotated[float, BeforeValidator(abs)], "`BeforeValidator`"),
    (Annotated[float, at.Predicate(bool)], "`Predicate`"),
    (Annotated[float, WithJsonSchema({"type": "number"})], "`WithJsonSchema`"),
    (Annotated[float, "metres"], "`str`"),
    (Annotated[float | None, object()], "`object`"),
    (Annotated[str, StringConstraints(to_lower=True)], "`to_lower`"),
    (Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], "`strip_whitespace`"),
    (Annotated[str, Field(coerce_numbers_to_str=True)], "`coerce_numbers_to_str`"),
    (Annotated[str, Field(pattern=re.compile("^a$"))], "a compiled `pattern`"),
    (Annotated[Annotated[float, AfterValidator(abs)] | None, Field()],
     "`AfterValidator`"),
    (Annotated[Annotated[float, Field(ge=0)], Field(ge=1)] | None, "the word `ge` twice"),
    (Annotated[Annotated[float, at.Ge(0)] | None, Field(ge=1)], "the word `ge` twice"),
    (Annotated[float, Field(ge=0, gt=0)], "both `ge` and `gt`"),
    (Annotated[float, Field(le=0, lt=0)], "both `le` and `lt`"),
    (Annotated[float, Field(le=float("inf"))], "`le=inf`"),
    (Annotated[float, Field(ge=-1e300)], "`ge=-1e+300`; expected: a number from -3.4e+38 to 3.4e+38"),
    (Annotated[float, Field(le=2**53 + 1)], "`le=9007199254740993`"),
    (Annotated[int, Field(ge=1.0)], "`ge=1.0` on the type int"),
    (Annotated[float, Field(json_schema_extra={"minimum": 3})], "`minimum` in `json_schema_extra`"),
    (Annotated[float, Field(json_schema_extra=dict.clear)], "a function as `json_schema_extra`"),
    (Annotated[datetime, Field(ge=datetime(2026, 1, 1))], "the word `ge` on the type datetime"),
    (Annotated[Literal["a"], Field(min_length=1)], "the word `min_length` on the type"),
    (AwareDatetime, "the type AwareDatetime"),
    (float | str, "the type float | str"),
    (float | int | None, "the type float | int | None"),
    (list[float], "the type list[float]"),
    (Point, "the type Point"),
    (Any, "the type Any"),
    (bytes, "the type bytes"),
    (Literal[1, 2], "the values 1, 2; expected: texts; for numbers, `int`"),
    (Literal["a", None], "the values 'a', None"),
    (IntEnum("Grade", "A B"), "the values 1, 2"),
    (Loose, "an Enum Loose with `_missing_`"),
])  # fmt: skip
def test_word_outside_the_language_is_named(annotation: Any, what: str) -> None:
    text = message(lambda: columns(contract(annotation)))
    assert text.startswith("field speed of the contract ")
    assert ".Wind has " in text
    assert what in text
    assert "; expected: " in text


def test_default_is_named_with_its_way_out() -> None:
    text = message(lambda: columns(contract(float | None, None)))
    assert "the word `default`" in text
    assert "with `| None` if its value may be missing" in text


@pytest.mark.parametrize(("config", "what"), [
    ({"extra": "allow"}, "`extra='allow'`"),
    ({"extra": "ignore"}, "`extra='ignore'`"),
    ({"str_to_lower": True}, "`str_to_lower`"),
    ({"str_max_length": 3}, "`str_max_length`"),
    ({"strict": True}, "`strict`"),
    ({"alias_generator": str.upper}, "`alias_generator`"),
    ({"regex_engine": "python-re"}, "`regex_engine`"),
    ({"json_schema_extra": {"required": []}}, "`json_schema_extra`"),
])  # fmt: skip
def test_setting_of_the_model_is_named(config: ConfigDict, what: str) -> None:
    text = message(lambda: columns(create_model("Wind", __config__=config, speed=(float, ...))))
    assert text.startswith("the contract ")
    assert what in text


class Checked(BaseModel):
    speed: float

    @field_validator("speed")
    @classmethod
    def no_storm(cls, speed: float) -> float:
        return speed


class Whole(BaseModel):
    speed: float

    @model_validator(mode="after")
    def calm(self) -> Whole:
        return self


class Computing(BaseModel):
    speed: float

    @computed_field
    def knots(self) -> float:
        return self.speed


class Hooked(BaseModel):
    speed: float

    def model_post_init(self, context: Any) -> None: ...


class Heir(Hooked):
    gusts: float


@pytest.mark.parametrize(("model", "what"), [
    (Checked, "`no_storm`, one of its field_validators"),
    (Whole, "`calm`, one of its model_validators"),
    (Computing, "`knots`, one of its computed_fields"),
    (Hooked, "a method `model_post_init`"),
    (Heir, "a method `model_post_init`"),
])  # fmt: skip
def test_function_of_the_model_is_named(model: type[BaseModel], what: str) -> None:
    assert what in message(lambda: columns(model))


class Weather(BaseModel):
    """All that a contract may say."""

    model_config = ConfigDict(extra="forbid", title="Weather", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=9, pattern="^[a-z]+$", examples=["calm"])]
    code: Annotated[str, StringConstraints(min_length=2), Field(examples=["ab"])]
    sky: Annotated[Literal["clear", "grey"], Field(examples=["grey"])]
    only: Annotated[Literal["one"] | None, Field(examples=[None])]
    colour: Annotated[Colour, Field(description="of the sky", examples=[Colour.RED])]
    size: Annotated[Size | None, Field(examples=["s"])]
    wind: Annotated[float, at.Interval(gt=-1, lt=24), Field(examples=[3], json_schema_extra={"unit": "m/s"})]
    gust: Annotated[Annotated[float, Field(ge=0)] | None, Field(le=90, allow_inf_nan=False, examples=[4.5])]
    rain: Annotated[float, Field(ge=0, multiple_of=0.5, examples=[0.5], repr=False, title="Rain")]
    drops: Annotated[PositiveInt, Field(multiple_of=5, examples=[5])]
    frost: Annotated[bool | None, Field(examples=[True])]


class Log(BaseModel):
    day: date
    at: datetime | None


def test_every_word_of_the_language_is_read() -> None:
    assert [column.type for column in columns(Weather)] == [str] * 6 + [float] * 3 + [int, bool]
    assert [column.name for column in columns(Weather) if column.nullable] == ["only", "size", "gust", "frost"]
    assert [column.kind for column in columns(Log)] == ["time", "time"]
    check_inputs(Weather)


def test_schema_has_every_word_and_no_reference() -> None:
    rules = reading.rules(Weather)
    assert (rules["name"].shortest, rules["name"].longest, rules["name"].pattern) == (1, 9, "^[a-z]+$")
    assert [rules[n].choices for n in ("sky", "only", "colour", "size")] == [
        ("clear", "grey"), ("one",), ("red", "blue"), ("s", "l"),
    ]  # fmt: skip
    assert (rules["wind"].above, rules["wind"].below, rules["wind"].low) == (-1, 24, None)
    assert (rules["gust"].low, rules["gust"].high, rules["gust"].nullable) == (0, 90, True)
    assert (rules["rain"].step, rules["drops"].step, rules["drops"].above) == (0.5, 5, 0)
    assert rules["frost"].type == "true or false"
    assert "$ref" not in str(reading.schema(Weather))


def test_schema_forbids_other_fields() -> None:
    assert reading.schema(Log)["additionalProperties"] is False


def test_example_of_an_enum_is_its_value() -> None:
    assert problem.example_row(Weather)["colour"] == "red"


@pytest.mark.parametrize(("annotation", "what"), [
    (Annotated[float, Field(ge=0)], "has no `examples`"),
    (Annotated[float, Field(examples=[])], "has no `examples`"),
    (Annotated[float, Field(ge=0, examples=[-1])], "has the example -1; expected: Input should be greater than or equal"),
    (Annotated[float, Field(examples=["3"])], "has the example '3'"),
    (Annotated[float, Field(examples=[None])], "has the example None"),
    (Annotated[datetime, Field(examples=["2026-01-01T00:00:00Z"])], "has the type datetime"),
    (Annotated[date | None, Field(examples=[None])], "has the type date; expected: a number made of it"),
])  # fmt: skip
def test_input_without_a_valid_example_is_refused(annotation: Any, what: str) -> None:
    assert what in message(lambda: check_inputs(contract(annotation)))
