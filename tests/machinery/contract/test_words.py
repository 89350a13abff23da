"""words: what a field allows, and that every check of a contract means the same by it."""

from __future__ import annotations

import ast
import json
import math
import os
import random
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import jsonschema
import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from slipway import problem
from slipway.contract import data_check, reading
from slipway.contract.words import FLOAT32_MAX, Rule, describe, figure
from slipway.errors import DataError
from slipway.loadtest import canary_replay
from slipway.serving.parquet_chunks import ChunkValidator
from slipway.serving.validation import BadRequest, Reader
from support.paths import ROOT

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "60"))
"""Contracts that the property test draws."""


@pytest.mark.parametrize(("node", "text"), [
    ({"type": "number"}, "a number"),
    ({"type": "number", "minimum": 0, "maximum": 1234567}, "a number from 0 to 1234567"),
    ({"type": "number", "maximum": 0.1234567}, "a number of at most 0.1234567"),
    ({"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 24}, "a number above -1 and below 24"),
    ({"type": "number", "minimum": 0, "exclusiveMaximum": 24}, "a number of at least 0 and below 24"),
    ({"type": "integer", "multipleOf": 5}, "a whole number, a multiple of 5"),
    ({"type": "string", "minLength": 2}, "a text of at least 2 characters"),
    ({"type": "string", "pattern": "^a$"}, "a text that matches the regular expression ^a$"),
    ({"type": "string", "enum": ["a", "b"]}, "one of 'a', 'b'"),
    ({"type": "string", "const": "a"}, "'a'"),
    ({"type": "boolean"}, "true or false"),
    ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true or false, or null"),
    ({"type": "string", "format": "date"}, "a date, such as 2013-06-01"),
])  # fmt: skip
def test_rule_is_described_in_words(node: dict[str, Any], text: str) -> None:
    assert describe(Rule.of(node)) == text


@pytest.mark.parametrize("node", [
    {"type": "number", "maxDigits": 3}, {"type": "number", "default": 3}, {"type": "array"}, {"$ref": "#/$defs/x"},
    {"anyOf": [{"type": "number", "minProperties": 1}, {"type": "null"}]}, {"type": "string", "format": "email"},
])  # fmt: skip
def test_unknown_keyword_or_type_is_refused(node: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="contract: "):
        Rule.of(node)


# All checks of a contract against Pydantic's own verdict


Colour = Enum("Colour", {"RED": "red", "BLUE": "", "LONG": "é🚀"})
CHOICES: tuple[Any, ...] = (Literal["a"], Literal["red", "b", ""], Colour)
PATTERNS = (
    "^[a-z]+$",
    "b",
    "^.{2}$",
    "[0-9]{2,3}",
    "^a|b$",
    "(?i)^A",
    r"\d",
    r"^\w*$",
    r"\s",
    "^$",
    "é|🚀",
    r"^(a\.)+$",
)
ODD = (0.0, -0.0, 0.1, 0.3, 0.35, 1e-9, 5e-324, 5e8 + 0.4, 1e10 + 0.5, 2.0**53, FLOAT32_MAX, -FLOAT32_MAX, 1e39, -1e300)
TEXTS = st.text(alphabet="abzA15é🚀.\u0301 \n\x00", max_size=4) | st.sampled_from(["red", "a.a.", "12", "٣", "²"])
WRONG: tuple[Any, ...] = ("5", "", 5, 5.5, True, False, "true", [1], {"a": 1}, 10**400)
LIMITS = st.integers(-50, 50) | st.sampled_from([0.1, -0.25, 0.7, 1e6, -1e-3, 12.5, 1e20])


def outcome(work: Any) -> bool:
    try:
        work()
    except (BadRequest, DataError, ValidationError):
        return False
    return True


@st.composite
def fields(draw: st.DrawFn) -> tuple[Any, list[Any]]:
    """An annotation, and values next to its limits."""
    kind = draw(st.sampled_from(["float", "int", "str", "bool", "choice"]))
    words: dict[str, Any] = {}
    values: list[Any] = []
    type_: Any = {"float": float, "int": int, "str": str, "bool": bool}.get(kind)
    if kind in ("float", "int"):
        limits = st.integers(-50, 50) if kind == "int" else LIMITS
        for names in (("ge", "gt"), ("le", "lt")):
            if draw(st.booleans()):
                words[draw(st.sampled_from(names))] = draw(limits)
        if draw(st.booleans()):
            words["multiple_of"] = draw(
                st.integers(1, 9) if kind == "int" else st.sampled_from([0.1, 0.25, 1, 5, 0.01, 3])
            )
        step = words.get("multiple_of", 1)
        times = draw(st.lists(st.integers(-500, 500), min_size=4, max_size=4))
        near = [v for limit in words.values() for v in (limit, limit + step, limit - step, math.nextafter(limit, 1e9))]
        values = [*near, *(n * step for n in times), *(n * step * (1 + 3e-10) for n in times[:2]), times[0] + 0.5, *ODD]
    elif kind == "str":
        words = draw(st.fixed_dictionaries({}, optional={
            "min_length": st.integers(0, 2), "max_length": st.integers(2, 4), "pattern": st.sampled_from(PATTERNS),
        }))  # fmt: skip
        values = [*draw(st.lists(TEXTS, min_size=6, max_size=6)), "ab", "12", "a", "", "b\n"]
    elif kind == "bool":
        values = [True, False]
    else:
        type_ = draw(st.sampled_from(CHOICES))
        values = ["a", "b", "red", "", "é🚀", "A"]
    annotation = Annotated[type_ | None if draw(st.booleans()) else type_, Field(**words)]
    adapter = TypeAdapter(annotation)
    good = [v for v in [*values, None] if outcome(lambda v=v: adapter.validate_json(json.dumps(v), strict=True))]
    fitting = [v for v in good if not isinstance(v, float) or abs(v) <= FLOAT32_MAX]
    assume(fitting)
    return Annotated[annotation, Field(examples=fitting[:2])], [*values, None]


@st.composite
def cases(draw: st.DrawFn) -> tuple[type[BaseModel], list[dict[str, Any]]]:
    """A contract of one to four fields, and rows: values that fit its types, and a few that do not."""
    drawn = draw(st.lists(fields(), min_size=1, max_size=4))
    named = {f"f{number}": annotation for number, (annotation, _) in enumerate(drawn)}
    model: Any = create_model("Drawn", __config__=ConfigDict(extra="forbid"), **{n: (a, ...) for n, a in named.items()})
    pools = {name: st.sampled_from(values) for name, (_, values) in zip(named, drawn, strict=True)}
    rows = draw(st.lists(st.fixed_dictionaries(pools), min_size=3, max_size=3))
    wrong = {name: pool | st.sampled_from(WRONG) for name, pool in pools.items()}
    return model, [*rows, draw(st.fixed_dictionaries(wrong))]


def is_near(rule: Rule, value: Any) -> bool:
    """A number is so near to a multiple that Pydantic, which allows 1e-9, may take it for one."""
    if rule.step is None or rule.type != "number" or isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if abs(value) > FLOAT32_MAX:
        return False
    rest = math.fmod(abs(value), rule.step)
    return 0 < min(rest, rule.step - rest) < 1e-8 + abs(value) * 1e-15


def verdict(model: type[BaseModel], row: dict[str, Any]) -> bool:
    """Pydantic's strict verdict, with the two rules of a contract: 5.0 is whole, and a number fits into 32 bits."""
    types = {column.name: column.type for column in problem.columns(model)}
    plain = dict(row)
    for name, value in row.items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            if not abs(value) <= FLOAT32_MAX:
                return False
            if types[name] is int and float(value).is_integer():
                plain[name] = int(value)
    return outcome(lambda: model.model_validate_json(json.dumps(plain), strict=True))


def typed(model: type[BaseModel], row: dict[str, Any]) -> pl.DataFrame | None:
    """The row as a frame; None where a value is of another type than the contract's."""
    dtypes: dict[type, Any] = {str: pl.String, float: pl.Float64, int: pl.Float64, bool: pl.Boolean}
    schema = {column.name: dtypes[column.type] for column in problem.columns(model)}
    for name, value in row.items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e308
        fits = {pl.String: isinstance(value, str), pl.Float64: is_number, pl.Boolean: isinstance(value, bool)}
        if value is not None and not fits[schema[name]]:
            return None
    if all(isinstance(v, int | None) for v in row.values()):  # a column of whole numbers may be of an integer type
        schema = {name: pl.Int64 if dtype == pl.Float64 else dtype for name, dtype in schema.items()}
    return pl.DataFrame([row], schema=schema)


def document(model: type[BaseModel]) -> dict[str, Any]:
    """What export writes to contract.json, as far as a contract is in it; read back from JSON."""
    names = {kind: problem.names(model, kind) for kind in ("category", "number")}  # type: ignore[arg-type]
    return json.loads(json.dumps({
        "categories": names["category"], "numbers": names["number"], "known": {n: [] for n in names["category"]},
        "inputs": reading.schema(model), "limits": {"max_rows": 9}, "example": problem.example_row(model),
    }))  # type: ignore[no-any-return]  # fmt: skip


def locust_rows() -> Any:
    """The function `row` of the locustfile, whose import would patch this process."""
    tree = ast.parse((ROOT / "loadtests/locustfile.py").read_text("utf-8"))
    wanted = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in ("row", "value", "random_number")]
    space: dict[str, Any] = {"math": math, "random": random, "Any": Any}
    future = ast.parse("from __future__ import annotations").body
    exec(compile(ast.Module([*future, *wanted], []), "locustfile", "exec"), space)  # noqa: S102 - our own file
    return space["row"]


@settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(cases(), st.integers(0, 2**32))
def test_every_check_agrees_with_pydantic(case: tuple[type[BaseModel], list[dict[str, Any]]], seed: int) -> None:
    model, rows = case
    reading.check_inputs(model)
    written = document(model)
    reader = Reader(written)
    described: Any = SimpleNamespace(contract=written, categories=written["categories"], numbers=written["numbers"])
    chunks = ChunkValidator(described)  # it asks a model for its contract alone
    rules = reading.rules(model)
    for row in rows:
        expected, body = verdict(model, row), json.dumps(row).encode()
        if any(is_near(rules[name], value) for name, value in row.items()):  # then all checks agree with each other
            expected = outcome(lambda: reader.read(body))  # noqa: B023
        assert outcome(lambda: reader.read(body)) == expected, "service"  # noqa: B023
        assert outcome(lambda: reader.read(b"[" + body + b"]")) == expected, "service, list"  # noqa: B023
        assert outcome(lambda: reader._read_thoroughly(body, single=True)) == expected, "Pydantic"  # noqa: B023
        frame = typed(model, row)
        if frame is not None:
            assert outcome(lambda: data_check.check_frame(model, frame, where="frame")) == expected, "data check"  # noqa: B023
            table = frame.to_arrow()
            chunks.check_columns(table.schema, where=Path("x.parquet"))
            assert (chunks.first_error(chunks.frame(table)) is None) == expected, "score"
            assert outcome(lambda: reader.check(row)) == expected, "row of a lookup"  # noqa: B023
        if expected and is_exact(written):
            jsonschema.Draft202012Validator(written["inputs"]).validate(row)
    rng = random.Random(seed)
    generate = locust_rows()
    for row in [
        *canary_replay.random_rows(written, 5, rng), generate(written["inputs"]["properties"], written["known"], rng),
        written["example"],
    ]:  # fmt: skip
        assert outcome(lambda: reader.check(row)), row  # noqa: B023
        assert verdict(model, row) or any(is_near(rules[name], value) for name, value in row.items()), row
    for rule in rules.values():
        for limit in (rule.low, rule.high, rule.above, rule.below, rule.step):
            assert limit is None or f" {figure(limit)}" in describe(rule)


def is_exact(written: dict[str, Any]) -> bool:
    """JSON schema means by these words what Pydantic does: it knows no tolerance, and has other patterns."""
    rules = [Rule.of(node) for node in written["inputs"]["properties"].values()]
    return all(rule.pattern is None and (rule.step or 1) in (1, 3, 5) and rule.type != "number" for rule in rules)
