"""polars_rules: a whole column is checked as the service checks each of its values."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from slipway.contract.polars_rules import broken, has_rounded_limit, row
from slipway.contract.words import Rule

NAN, INFINITY = float("nan"), float("inf")


def wrong(node: dict[str, Any], values: list[Any], dtype: Any = None) -> list[bool]:
    column = pl.Series("x", values, dtype=dtype)
    return column.to_frame().select(broken("x", Rule.of(node))).to_series().to_list()


@pytest.mark.parametrize(("words", "good", "bad"), [
    ({"exclusiveMinimum": -1, "exclusiveMaximum": 24}, [-0.5, 0.0, 23.9], [-1.0, 24.0, 99.5]),
    ({"minimum": 0, "exclusiveMaximum": 1}, [0.0, 0.5], [1.0, -1e-300]),
    ({"multipleOf": 0.1}, [0.3, 0.7, -1.2, 0.0, 3 * 0.1, 1e8, 123456789.1], [0.35, 0.30001, 0.3000000001]),
    ({"multipleOf": 0.5}, [0.5, -1.5, 1e300 / 1e270], [0.25, -0.75]),
    ({}, [3.4e38, -3.4e38, 5e-324], [3.5e38, -1e300, NAN, INFINITY, -INFINITY]),
])  # fmt: skip
def test_number_keeps_its_words(words: dict[str, float], good: list[float], bad: list[float]) -> None:
    assert wrong({"type": "number", **words}, [*good, *bad]) == [False] * len(good) + [True] * len(bad)


def test_whole_number_is_exact_where_pydantic_is_not() -> None:
    assert wrong({"type": "integer"}, [5.0, 5e8 + 0.4, 1e10 + 0.5, 1e300 * 0]) == [False, True, True, False]
    assert wrong({"type": "integer", "multipleOf": 5}, [10, 12, 2**52, 10**15]) == [False, True, True, False]
    assert wrong({"type": "integer", "multipleOf": 7}, [3.4e38]) == [bool(int(3.4e38) % 7)] == [True]


@pytest.mark.parametrize("words", [{"maximum": 0.1}, {"minimum": 0.1}, {"maximum": 0.7}, {"multipleOf": 0.1}])
def test_float32_next_to_a_limit_keeps_it(words: dict[str, float]) -> None:
    value = words.get("maximum", 0.1)
    assert wrong({"type": "number", **words}, [value], pl.Float32) == [False]
    assert wrong({"type": "number", **words, "exclusiveMinimum": value} if "maximum" in words else
                 {"type": "number", "exclusiveMaximum": value}, [value], pl.Float32) == [True]  # fmt: skip


def test_row_has_float32_numbers_in_few_digits() -> None:
    frame = pl.DataFrame(
        {"a": [0.1], "b": [0.1], "c": [None]}, schema={"a": pl.Float32, "b": pl.Float64, "c": pl.Float32}
    )
    assert row(frame, 0) == {"a": 0.1, "b": 0.1, "c": None}
    assert [has_rounded_limit(Rule.of({"type": "number", "maximum": value})) for value in (0.1, 0.5)] == [True, False]


@pytest.mark.parametrize(("words", "good", "bad"), [
    ({"pattern": "^[a-z]+$"}, ["a", "abc"], ["", "A", "a\n", "a b"]),
    ({"pattern": "b"}, ["abc", "b"], ["ac", ""]),
    ({"minLength": 1, "maxLength": 2}, ["é", "🚀🚀", "ü"], ["", "e\u0301e", "abc"]),
    ({"enum": ["a", "b"]}, ["a", "b"], ["", "c", "A"]),
    ({"const": "a"}, ["a"], ["b"]),
])  # fmt: skip
def test_text_keeps_its_words(words: dict[str, Any], good: list[str], bad: list[str]) -> None:
    assert wrong({"type": "string", **words}, [*good, *bad]) == [False] * len(good) + [True] * len(bad)


@pytest.mark.parametrize("node", [
    {"type": "number", "multipleOf": 0.5}, {"type": "integer"}, {"type": "boolean"},
    {"type": "string", "pattern": "a"}, {"type": "string", "enum": ["a"]},
])  # fmt: skip
def test_null_is_allowed_only_where_it_may_be(node: dict[str, Any]) -> None:
    value: Any = {"string": "a", "boolean": True}.get(node["type"], 5)
    assert wrong(node, [None, value]) == [True, False]
    assert wrong({"anyOf": [node, {"type": "null"}]}, [None, value]) == [False, False]
