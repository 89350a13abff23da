"""Validate request bodies against `models/contract.json`, and describe every error in a sentence.

msgspec parses and checks in one pass, several times as fast as Pydantic, but reports only the first error. A body that
it refuses is therefore validated again by Pydantic, which reports all of them. Tests hold that both accept the same.
The service imports this module, so it imports only these two packages and the standard library.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from msgspec.structs import astuple
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

FLOAT32_MAX = 3.4e38
"""The model computes in 32 bits: a larger number would become infinite without an error."""
LISTED = 100
"""Errors listed in one response; `more` counts the rest."""
COUNTED = 50_000
"""More errors than this are only counted: describing them all would delay other requests."""
BODY = "a JSON object, or a list of them"
"""Description of a valid body."""
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
        nodes = {name: self._properties[name] for name in names}
        self.values: Callable[[Mapping[str, Any]], Row] = _getter(names)
        fields = [(name, annotation(node, msgspec.Meta)) for name, node in nodes.items()]
        struct: Any = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
        structs: Any = Annotated[list[struct], msgspec.Meta(min_length=1, max_length=max_rows)]
        self._first, self._all = msgspec.json.Decoder(struct), msgspec.json.Decoder(structs)
        typed: Any = TypedDict  # its functional form: the fields are known only at run time
        row: Any = with_config(STRICT)(typed("Row", {name: annotation(node) for name, node in nodes.items()}))
        rows: Any = Annotated[list[row], Field(min_length=1, max_length=max_rows)]
        self._one: TypeAdapter[dict[str, Any]] = TypeAdapter(row)
        self._many: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(rows)

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """Return the rows of a JSON body, and whether it was a single object; BadRequest 400 or 422."""
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
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
            raise explain(error, self._properties, single=single) from None

    def check(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Validate a row that did not come as JSON; BadRequest 422."""
        try:
            return self._one.validate_python(row)
        except ValidationError as error:
            raise explain(error, self._properties, single=True) from None


def _getter(names: list[str]) -> Callable[[Mapping[str, Any]], Row]:
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


def annotation(node: Mapping[str, Any], mark: Callable[..., Any] = Field) -> Any:
    """Convert a JSON-schema node (a string or a number, possibly nullable) to a Python type.

    `mark` annotates the limits: Pydantic's `Field` and `msgspec.Meta` take the same arguments.
    """
    kind, nullable = kind_of(node)
    if kind["type"] == "string":
        type_: Any = Annotated[str, mark(min_length=kind.get("minLength"), max_length=kind.get("maxLength"))]
    elif kind["type"] in ("number", "integer"):
        step = 1 if kind["type"] == "integer" else None  # JSON writes a whole number as 5 or as 5.0
        low, high = range_of(kind)
        type_ = Annotated[float, mark(ge=low, le=high, multiple_of=step)]
    else:
        raise TypeError(f"contract: type {kind['type']!r} is not string, number or integer")
    return type_ | None if nullable else type_


def kind_of(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Split a JSON-schema node into its node without null, and whether it allows null."""
    options = node.get("anyOf", [node])
    kinds = [option for option in options if option.get("type") != "null"]
    return kinds[0], len(kinds) < len(options)


def range_of(kind: Mapping[str, Any]) -> tuple[float, float]:
    """Return the smallest and the largest allowed number."""
    return kind.get("minimum", -FLOAT32_MAX), kind.get("maximum", FLOAT32_MAX)


def limit(node: Mapping[str, Any]) -> str:
    """Describe the values that a JSON-schema node allows: "a number from -40 to 130 (°F), or null"."""
    kind, nullable = kind_of(node)
    if kind.get("type") == "string":
        shortest, longest = kind.get("minLength", 0), kind.get("maxLength")
        text = f"a text of {shortest} to {longest} characters" if longest is not None else "a text"
        text = {"date-time": "a date and time, such as 2013-06-01T15:00:00Z"}.get(kind.get("format", ""), text)
    else:
        text = f"a {'whole ' if kind.get('type') == 'integer' else ''}number{_range_text(kind)}"
        text += f" ({node['unit']})" if node.get("unit") else ""
    return f"{text}, or null" if nullable else text


def _range_text(kind: Mapping[str, Any]) -> str:
    """The limits of a number for a sentence: " from 1 to 7", " of at least 1", or nothing."""
    low, high = kind.get("minimum"), kind.get("maximum")
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    return f" of at least {low:g}" if low is not None else f" of at most {high:g}" if high is not None else ""


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
