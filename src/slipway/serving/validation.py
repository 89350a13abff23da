"""Validate request bodies against `models/contract.json`, and describe every error in a sentence.

msgspec parses and checks in one pass, several times as fast as Pydantic, but reports only the first error. A body that
it refuses is therefore validated again by Pydantic, which reports all of them. Tests hold that both accept the same.
A contract with a `pattern` is read by Pydantic alone.
The service imports this module, so it imports only these two packages, `contract.words` and the standard library.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import astuple
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from slipway.contract.words import KEYWORDS, ROUNDING, Rule, describe

LISTED = 100
"""Errors listed in one response; `more` counts the rest."""
COUNTED = 50_000
"""More errors than this are only counted: describing them all would delay other requests."""
BODY = "a JSON object, or a list of them"
"""Description of a valid body."""
UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
"""Byte order marks of UTF-16, with which UTF-32 begins too."""
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Row = tuple[Any, ...]
"""The values of one row: categories, then numbers, each in the contract's order; None is missing."""


@dataclass
class BadRequest(Exception):
    """Ends a request with `status` and `errors`, each {row, field, value, limit, message}."""

    status: int
    errors: list[dict[str, Any]]
    more: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return the body of the response."""
        return {"errors": self.errors, **({"more": self.more} if self.more else {})}


def refusal(status: int, message: str, *, limit: str | None = None, value: Any = None, **headers: str) -> BadRequest:
    """Return a BadRequest about the request as a whole."""
    error = {"row": None, "field": None, "value": value, "limit": limit, "message": message}
    return BadRequest(status, [error], headers=headers)


class Reader:
    """Parses and validates bodies in one pass of compiled code."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self._properties: dict[str, Any] = contract["inputs"]["properties"]
        names, max_rows = [*contract["categories"], *contract["numbers"]], contract["limits"]["max_rows"]
        rules = {name: Rule.of(self._properties[name]) for name in names}
        self._has_pattern = any(rule.pattern is not None for rule in rules.values())
        self.values: Callable[[Mapping[str, Any]], Row] = _getter(names)
        fields = [(name, annotation(rule, msgspec.Meta)) for name, rule in rules.items()]
        struct: Any = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
        structs: Any = Annotated[list[struct], msgspec.Meta(min_length=1, max_length=max_rows)]
        self._first, self._all = msgspec.json.Decoder(struct), msgspec.json.Decoder(structs)
        typed: Any = TypedDict  # its functional form: the fields are known only at run time
        row: Any = with_config(STRICT)(typed("Row", {name: annotation(rule) for name, rule in rules.items()}))
        rows: Any = Annotated[list[row], Field(min_length=1, max_length=max_rows)]
        self._one: TypeAdapter[dict[str, Any]] = TypeAdapter(row)
        self._many: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(rows)

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """Return the rows of a JSON body, and whether it was a single object; BadRequest 400 or 422."""
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
        if self._has_pattern:  # msgspec matches by Python's `re`: other rules, and its time is without a bound
            return [self.values(row) for row in self._read_thoroughly(body, single=single)], single
        try:
            if single:
                return [astuple(self._first.decode(body))], True
            return [astuple(row) for row in self._all.decode(body)], False
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [self.values(row) for row in self._read_thoroughly(body, single=single)], single

    def _read_thoroughly(self, body: bytes, *, single: bool) -> list[dict[str, Any]]:
        """Do the same with Pydantic, whose error lists everything that is wrong."""
        try:
            return [self._one.validate_json(body)] if single else self._many.validate_json(body)
        except ValidationError as error:
            if body.startswith(UTF16_BOMS) or b"\0" in body[:4]:
                raise refusal(
                    400, "the body is not UTF-8, but UTF-16 or UTF-32; JSON is sent in UTF-8", limit="UTF-8"
                ) from None
            raise explain(error, self._properties, single=single) from None

    def check(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Validate a row that did not come as JSON; BadRequest 422."""
        try:
            return self._one.validate_python(row)
        except ValidationError as error:
            raise explain(error, self._properties, single=True) from None


def _getter(names: list[str]) -> Callable[[Mapping[str, Any]], Row]:
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


def annotation(rule: Rule, mark: Callable[..., Any] = Field) -> Any:
    """Convert a rule to a Python type.

    `mark` annotates the limits: Pydantic's `Field` and `msgspec.Meta` take the same arguments.
    """
    if rule.choices is not None:
        type_: Any = Literal[rule.choices]
    elif rule.type == "text":
        pattern = {"pattern": rule.pattern} if mark is Field else {}
        type_ = Annotated[str, mark(min_length=rule.shortest, max_length=rule.longest, **pattern)]
    elif rule.is_number:
        (low, high), step = rule.range, rule.exact_step
        limits: dict[str, Any] = {"ge": low, "le": high, "gt": rule.above, "lt": rule.below}
        # JSON writes a whole number as 5 or as 5.0, and both are read as float
        if mark is not Field:
            type_ = Annotated[float, mark(**limits, multiple_of=step)]
        else:  # without Pydantic's `multiple_of`, which allows a difference of 1e-9
            even = [AfterValidator(partial(_check_multiple, rule))] if step else []
            type_ = Annotated[(float, mark(**limits), *even)]
    elif rule.type == "true or false":
        type_ = bool
    else:
        raise TypeError(f"contract: an input of type {rule.type}; expected: a text, a number, or true or false")
    return type_ | None if rule.nullable else type_


def _check_multiple(rule: Rule, value: float) -> float:
    step = rule.exact_step or 1
    rest = math.fmod(abs(value), step)
    if min(rest, step - rest) > (0 if rule.type == "whole number" else abs(value) * ROUNDING):
        raise ValueError(f"not a multiple of {step}")
    return value


def limit(node: Mapping[str, Any]) -> str:
    """Describe the values that a JSON-schema node allows: "a number from -40 to 130 (°F), or null"."""
    try:
        return describe(
            Rule.of({key: value for key, value in node.items() if key in KEYWORDS}), unit=node.get("unit", "")
        )
    except TypeError:  # a field of a `Question`, which may have any type of Pydantic
        return "a value as /docs.json describes it"


def explain(error: ValidationError, properties: Mapping[str, Any], *, single: bool) -> BadRequest:
    """Convert a ValidationError to a BadRequest: 400 when the body is not JSON, else 422."""
    count = error.error_count()
    if count > COUNTED:
        return BadRequest(
            422,
            refusal(
                422, f"{count:,} values are not allowed; see /docs.json for the allowed ones", limit="see /docs.json"
            ).errors,
            count,
        )
    details = error.errors(include_url=False)
    first = details[0]
    if first["type"] == "json_invalid":
        return refusal(400, f"the body is not valid JSON: {first['ctx']['error']}; expected {BODY}", limit=BODY)
    if first["type"] == "too_long" and not first["loc"]:
        rows, max_rows = first["ctx"]["actual_length"], first["ctx"]["max_length"]
        return refusal(
            422, f"the body has {rows:,} rows; allowed: at most {max_rows:,} rows", limit=f"{max_rows} rows", value=rows
        )
    listed = [_describe(each, properties, single=single) for each in details[:LISTED]]
    return BadRequest(422, listed, count - len(listed))


def _describe(error: Any, properties: Mapping[str, Any], *, single: bool) -> dict[str, Any]:
    """Return one entry of `errors` for one error of Pydantic."""
    loc = (0, *error["loc"]) if single else error["loc"]
    row, name = (loc[0] if loc else None), (str(loc[1])[:100] if len(loc) > 1 else None)
    where = name if single or row is None else f"row {row}: {name}"
    value = None if error["type"] == "missing" else shown(error["input"])
    text = "null" if value is None else repr(value) if isinstance(error["input"], str) else str(value)
    if name is None:
        subject = "the body" if single or row is None else f"row {row}"
        allowed = (
            "at least one row" if error["type"] == "too_short" else BODY if row is None or single else "a JSON object"
        )
        message = f"{subject} is {'an empty list' if error['type'] == 'too_short' else text}; expected {allowed}"
    elif error["type"] == "extra_forbidden":
        allowed = f"one of the fields {', '.join(properties)}"
        similar = difflib.get_close_matches(name, properties, n=1)
        advice = f"did you mean {similar[0]}?" if similar else "see /docs.json for the fields"
        message = f"{where} is not a field of this service; {advice}"
    else:
        allowed = limit(properties[name]) if name in properties else str(error["msg"])
        message = f"{where} is {'missing' if error['type'] == 'missing' else text}; expected {allowed}"
    return {"row": row, "field": name, "value": value, "limit": allowed, "message": message}


def shown(value: Any) -> Any:
    """Shorten a value so that it can be sent back: always valid JSON."""
    match value:
        case None | bool():
            return value
        case int() | float() if -1e15 < value < 1e15:
            return value
        case int() | float():  # infinities, NaN and numbers of a thousand digits
            return "NaN" if value != value else f"{'minus ' if value < 0 else ''}a huge number"
        case str():
            return value if len(value) <= 100 else value[:100] + "…"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)} fields"
        case _:
            return f"a {type(value).__name__}"
