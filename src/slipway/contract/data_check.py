"""Check frames against the data contract, which a problem writes once as a Pydantic model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from slipway.contract.reading import columns, rules
from slipway.contract.words import FLOAT32_MAX, Rule, describe_range, figure
from slipway.errors import DataError

if TYPE_CHECKING:
    import polars as pl


def check_types(model: type[BaseModel], frame: pl.DataFrame, *, where: str) -> None:
    """Check that `frame` has the columns of `model` with their types; DataError names each missing or wrong column."""
    import polars as pl

    hint = f"run `make repro`. If the error stays, correct {_name(model)} or the code that makes this data"
    absent = [c.name for c in columns(model) if c.name not in frame.columns]
    if absent:
        message = f"{where} lacks the column {', '.join(absent)}; it has {', '.join(frame.columns)}"
        raise DataError(message, hint=hint)
    sentences = []
    for column in columns(model):
        dtype = frame.schema[column.name]
        fits = {
            "str": dtype == pl.String, "float": dtype.is_float() or dtype.is_integer(),
            "int": dtype.is_float() or dtype.is_integer(), "bool": dtype == pl.Boolean, "date": dtype == pl.Date,
            "datetime": dtype == pl.Datetime("us", "UTC"),
        }  # fmt: skip
        if not fits[column.type.__name__]:
            expected = {"int": "whole number", "bool": "Boolean", "date": "Date"}.get(column.type.__name__, column.kind)
            sentences.append(f"column {column.name} has type {dtype}; expected: {expected}")
    if sentences:
        raise DataError(f"{where}: " + "; ".join(sentences), hint=hint)


def check_frame(model: type[BaseModel], frame: pl.DataFrame, *, where: str) -> None:
    """Check every value of a frame against `model`, vectorised; DataError names column, value, limit and rows.

    Columns outside the contract are allowed: a frame also carries ids and times.
    """
    import pandera.polars as pa
    import polars.selectors as cs

    check_types(model, frame, where=where)
    frame = frame.with_columns(cs.integer().cast(float))
    units, schema = {column.name: column.unit for column in columns(model)}, {}
    for name, rule in rules(model).items():
        checks = [pa.Check(_check(rule), name="contract")]
        schema[name] = pa.Column(frame.schema[name], checks=checks, nullable=rule.nullable)
    try:
        pa.DataFrameSchema(schema).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        names = error.failure_cases["column"].unique(maintain_order=True)
        sentences = [
            text for name in names for text in _breaches(rules(model)[name], frame.get_column(name), units[name])
        ]
        raise DataError(f"{where}: {'; '.join(sentences)}", hint=_hint(model)) from None


def _check(rule: Rule) -> Any:
    from slipway.contract import polars_rules

    return lambda data: data.lazyframe.select(polars_rules.valid(data.key, rule))


def _hint(model: type[BaseModel]) -> str:
    return f"correct the data, or the contract {_name(model)}, and run `make repro`"


def _name(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__name__}"


def _breaches(rule: Rule, values: pl.Series, unit: str) -> list[str]:
    """Describe what is wrong in a column: one sentence for each kind of breach, with a value and the number of rows."""
    name, sentences = values.name, []
    if not rule.nullable and (nulls := values.null_count()):
        sentences.append(f"column {name} has no value in {_rows(nulls)}; expected: a value in every row")
    if rule.is_number:
        return [*sentences, *_number_breaches(rule, values, unit)]
    wrong = values.filter(~_valid(rule, values))
    if len(wrong):
        first = f"column {name} is {wrong[0][:40]!r} (the first of {_rows(len(wrong))})"
        sentences.append(f"{first}; allowed: {_describe_text(rule)}")
    return sentences


def _valid(rule: Rule, values: pl.Series) -> pl.Series:
    from slipway.contract import polars_rules

    return values.to_frame().select(polars_rules.valid(values.name, rule)).to_series().fill_null(value=True)


def _describe_text(rule: Rule) -> str:
    if rule.choices is not None:
        return ", ".join(map(repr, rule.choices))
    shortest, longest = ("any" if length is None else str(length) for length in (rule.shortest, rule.longest))
    pattern = f"a text that matches {rule.pattern}" if rule.pattern is not None else ""
    lengths = f"{shortest} to {longest} characters" if (rule.shortest, rule.longest) != (None, None) else ""
    return ", ".join(part for part in (pattern, lengths) if part)


def _number_breaches(rule: Rule, values: pl.Series, unit: str) -> list[str]:
    import polars as pl

    from slipway.contract import polars_rules

    name, sentences = values.name, []
    numbers = values.drop_nulls()
    finite = numbers.filter(numbers.is_finite())
    if bad := len(numbers) - len(finite):
        sentences.append(f"column {name} is NaN or infinite in {_rows(bad)}; expected: a finite number or null")
    inside = finite.to_frame().select(polars_rules.in_range(name, rule)).to_series()
    if len(outside := finite.filter(~inside)):
        low, high = (
            (rule.low if rule.low is not None else rule.above),
            (rule.high if rule.high is not None else rule.below),
        )
        middle = ((low or 0.0) + (high or 0.0)) / 2
        worst = polars_rules.row(outside.to_frame().sort((pl.col(name) - middle).abs(), descending=True), 0)[name]
        limit = f"{_describe_limits(rule)} ({unit})" if unit else _describe_limits(rule)
        sentences.append(f"column {name} is {figure(worst)} (the worst of {_rows(len(outside))}); allowed: {limit}")
    if len(uneven := finite.filter(~finite.to_frame().select(polars_rules.is_multiple(name, rule)).to_series())):
        allowed = "whole numbers" if rule.step is None else f"multiples of {figure(rule.step)}"
        first = f"column {name} is {figure(polars_rules.row(uneven.to_frame(), 0)[name])} (the first of {_rows(len(uneven))})"
        sentences.append(f"{first}; allowed: {allowed}")
    return sentences


def _describe_limits(rule: Rule) -> str:
    """The limits of a number: "1 to 30", "any to 30", "above 0 and below 24"."""
    if rule.above is not None or rule.below is not None:
        return describe_range(rule).strip()
    if rule.low is None and rule.high is None:
        return f"{-FLOAT32_MAX:g} to {FLOAT32_MAX:g}"
    return " to ".join("any" if limit is None else figure(limit) for limit in (rule.low, rule.high))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"
