"""Polars expressions for what a field allows: the data check and `score` ask a whole column at once.

A value is valid here exactly when `validation` accepts it. A Float32 column is compared in 32 bits: its 0.1, which is
0.10000000149, keeps a limit of 0.1 and is a multiple of 0.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from slipway.contract.words import ROUNDING, Rule

ROUNDING_FLOAT32 = 2.0**-23
"""The same as ROUNDING, for a column of 32 bits."""


def valid(name: str, rule: Rule) -> pl.Expr:
    """Return the expression that is true where a value is allowed, and null where there is none."""
    column = pl.col(name)
    if rule.choices is not None:
        return column.is_in(pl.Series(rule.choices, dtype=pl.String).implode())
    if rule.type == "text":
        lengths = column.str.len_chars().is_between(rule.shortest or 0, 2**31 if rule.longest is None else rule.longest)
        return lengths if rule.pattern is None else lengths & column.str.contains(rule.pattern)
    if rule.is_number:
        even = [is_multiple(name, rule)] if rule.step is not None or rule.type == "whole number" else []
        return pl.all_horizontal(in_range(name, rule), *even)
    return pl.when(column.is_not_null()).then(True)


def in_range(name: str, rule: Rule) -> pl.Expr:
    """Return the expression that is true where a number is within its limits; NaN is above every limit."""
    column, (low, high) = pl.col(name), rule.range
    above = column >= low if low is not None else column > rule.above
    return above & (column <= high if high is not None else column < rule.below)


def is_multiple(name: str, rule: Rule) -> pl.Expr:
    """Return the expression that is true where a number is a multiple of the rule's step, if it has one."""
    column, step, exact = pl.col(name), rule.step, rule.type == "whole number"
    if step is None:
        return column % 1 == 0 if exact else pl.when(column.is_not_null()).then(True)
    near = column.map_batches(lambda values: _multiples(values, step, exact=exact), return_dtype=pl.Boolean)
    return pl.when(column.is_not_null()).then(near)


def _multiples(values: pl.Series, step: float, *, exact: bool) -> pl.Series:
    """Return by C's `fmod` which values are multiples: Polars' `%` is not exact beyond 2⁵³."""
    size = np.abs(values.cast(pl.Float64).to_numpy())
    share = 0.0 if exact else ROUNDING_FLOAT32 if values.dtype == pl.Float32 else ROUNDING
    with np.errstate(invalid="ignore"):  # of infinity, which is out of range too
        rest = np.fmod(size, step)
        return pl.Series(np.minimum(rest, step - rest) <= size * share)


def broken(name: str, rule: Rule) -> pl.Expr:
    """Return the expression that is true where a value, or its absence, is not allowed."""
    return (~valid(name, rule)).fill_null(not rule.nullable).alias(name)


def row(frame: pl.DataFrame, number: int) -> dict[str, Any]:
    """Return a row as JSON has it: a Float32 number in as few digits as name it, 0.1 and not 0.10000000149."""
    values = frame.row(number, named=True)
    short = [name for name, dtype in frame.schema.items() if dtype == pl.Float32 and values[name] is not None]
    return values | {name: float(str(np.float32(values[name]))) for name in short}


def has_rounded_limit(rule: Rule) -> bool:
    """Return whether 32 bits cannot hold one of the rule's limits exactly."""
    limits = (rule.low, rule.high, rule.above, rule.below, rule.step)
    return any(limit is not None and float(np.float32(limit)) != limit for limit in limits)
