"""Check frames against the data contract, which a problem writes once as a Pydantic model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from slipway.errors import DataError
from slipway.problem import Kind, bound, columns, names

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
    dtypes: dict[Kind, tuple[Any, ...]] = {
        "category": (pl.String,),
        "number": (pl.Float32, pl.Float64),
        "time": (pl.Datetime("us", "UTC"),),
    }
    column_dtypes = [(column, frame.schema[column.name]) for column in columns(model)]
    if wrong := [(column, dtype) for column, dtype in column_dtypes if dtype not in dtypes[column.kind]]:
        sentences = (f"column {column.name} has type {dtype}; expected: {column.kind}" for column, dtype in wrong)
        raise DataError(f"{where}: " + "; ".join(sentences), hint=hint)


def check_frame(model: type[BaseModel], frame: pl.DataFrame, *, where: str) -> None:
    """Check every value of a frame against `model`, vectorised; DataError names column, value, limit and rows.

    Columns outside the contract are allowed: a frame also carries ids and times.
    """
    import pandera.polars as pa
    import polars as pl

    check_types(model, frame, where=where)
    if long := _length_breaches(model, frame):
        raise DataError(f"{where}: " + "; ".join(long), hint=_hint(model))
    schema = {}
    for column in columns(model):
        checks = [pa.Check.ge(column.low)] if column.low is not None else []
        checks += [pa.Check.le(column.high)] if column.high is not None else []
        if column.kind == "number":
            checks.append(pa.Check(lambda data: data.lazyframe.select(pl.col(data.key).is_finite()), name="finite"))
        schema[column.name] = pa.Column(frame.schema[column.name], checks=checks, nullable=column.nullable)
    try:
        pa.DataFrameSchema(schema).validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        sentences = "; ".join(_value_breaches(model, frame, error.failure_cases))
        raise DataError(f"{where}: {sentences}", hint=_hint(model)) from None


def _hint(model: type[BaseModel]) -> str:
    return f"correct the data, or the contract {_name(model)}, and run `make repro`"


def _name(model: type[BaseModel]) -> str:
    return f"{model.__module__}.{model.__name__}"


def _length_breaches(model: type[BaseModel], frame: pl.DataFrame) -> list[str]:
    """One sentence for each column with texts that are too short or too long for the service."""
    sentences = []
    for name in names(model, "category"):
        info = model.model_fields[name]
        shortest, longest = (bound(info, which) for which in ("min_length", "max_length"))
        lengths = frame.get_column(name).str.len_chars()
        outside = ~lengths.is_between(shortest or 0, float("inf") if longest is None else longest).fill_null(True)
        if count := int(outside.sum()):
            first = frame.get_column(name).filter(outside)[0]
            limit = f"{_format_limit(shortest)} to {_format_limit(longest)} characters"
            sentences.append(f"column {name} is {first[:40]!r} (the first of {_rows(count)}); allowed: {limit}")
    return sentences


def _value_breaches(model: type[BaseModel], frame: pl.DataFrame, cases: Any) -> list[str]:
    """Turn pandera's failure cases into sentences: the worst value, the limit, and on how many rows."""
    import polars as pl

    sentences = []
    by_name = {column.name: column for column in columns(model)}
    for name in cases["column"].unique(maintain_order=True):
        column, values = by_name[name], frame.get_column(name)
        if not column.nullable and (nulls := values.null_count()):
            sentences.append(f"column {name} has no value in {_rows(nulls)}; expected: a value in every row")
        if column.kind != "number":
            continue
        if broken := int((~values.drop_nulls().is_finite()).sum()):
            sentences.append(f"column {name} is NaN or infinite in {_rows(broken)}; expected: a finite number or null")
        finite = values.filter(values.is_finite().fill_null(False))
        outside = finite.filter(
            (finite < (column.low if column.low is not None else -float("inf")))
            | (finite > (column.high if column.high is not None else float("inf")))
        )
        if len(outside):
            middle = ((column.low or 0.0) + (column.high or 0.0)) / 2
            worst = outside.to_frame().sort((pl.col(name) - middle).abs(), descending=True).item(0, 0)
            limit = f"{_format_limit(column.low)} to {_format_limit(column.high)}"
            limit += f" ({column.unit})" if column.unit else ""
            sentences.append(f"column {name} is {worst:g} (the worst of {_rows(len(outside))}); allowed: {limit}")
    return sentences


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _format_limit(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"
