"""What a caller may send: `models/contract.json` as one compiled validator, and its refusals as sentences.

msgspec reads and checks in one pass, several times as fast as Pydantic, but names only the first thing that is wrong.
So a body that it refuses goes to Pydantic, which BentoML brings along, for the whole list; tests hold the two alike.
The service imports this: nothing but these two and the standard library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from msgspec.structs import astuple
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

FLOAT32_MAX = 3.4e38
"""The model computes in 32 bits: a larger number would silently become infinite."""
LISTED = 100
"""Errors shown in one answer; `more` counts the rest."""
COUNTED = 50_000
"""More errors than this are only counted: to describe them all would hold up the other requests."""
STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

Row = tuple[Any, ...]
"""The values of one row: categories, then numbers, each in the contract's order; None is missing."""


@dataclass
class BadRequest(Exception):
    """A request that is answered with `status` and `errors`, each {row, field, value, limit, message}."""

    status: int
    errors: list[dict[str, Any]]
    more: int = 0
    headers: dict[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"errors": self.errors, **({"more": self.more} if self.more else {})}


def refusal(status: int, message: str, *, limit: str | None = None, value: Any = None, **headers: str) -> BadRequest:
    """A BadRequest about the request as a whole."""
    error = {"row": None, "field": None, "value": value, "limit": limit, "message": message}
    return BadRequest(status, [error], headers=headers)


class Reader:
    """Bodies → rows that keep the contract, in one pass of compiled code."""

    def __init__(self, contract: Mapping[str, Any]) -> None:
        self._properties: dict[str, Any] = contract["inputs"]["properties"]
        names, most = [*contract["categories"], *contract["numbers"]], contract["limits"]["max_rows"]
        nodes = {name: self._properties[name] for name in names}
        self.values: Callable[[Mapping[str, Any]], Row] = _getter(names)
        fields = [(name, annotation(node, msgspec.Meta)) for name, node in nodes.items()]
        struct: Any = msgspec.defstruct("Row", fields, forbid_unknown_fields=True, gc=False)
        structs: Any = Annotated[list[struct], msgspec.Meta(min_length=1, max_length=most)]
        self._first, self._all = msgspec.json.Decoder(struct), msgspec.json.Decoder(structs)
        typed: Any = TypedDict  # its functional form: the fields are known only at run time
        row: Any = with_config(STRICT)(typed("Row", {name: annotation(node) for name, node in nodes.items()}))
        rows: Any = Annotated[list[row], Field(min_length=1, max_length=most)]
        self._one: TypeAdapter[dict[str, Any]] = TypeAdapter(row)
        self._many: TypeAdapter[list[dict[str, Any]]] = TypeAdapter(rows)

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """The rows of a JSON body, and whether it was one object; BadRequest 400 or 422."""
        single = not body.lstrip(b" \t\r\n").startswith(b"[")
        try:
            if single:
                return [astuple(self._first.decode(body))], True
            return [astuple(row) for row in self._all.decode(body)], False
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [self.values(row) for row in self._explained(body, single=single)], single

    def _explained(self, body: bytes, *, single: bool) -> list[dict[str, Any]]:
        """The same by Pydantic, whose error holds everything that is wrong."""
        try:
            return [self._one.validate_json(body)] if single else self._many.validate_json(body)
        except ValidationError as error:
            raise explain(error, self._properties, single=single) from None

    def check(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row that did not come as JSON; BadRequest 422."""
        try:
            return self._one.validate_python(row)
        except ValidationError as error:
            raise explain(error, self._properties, single=True) from None


def _getter(names: list[str]) -> Callable[[Mapping[str, Any]], Row]:
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)


def annotation(node: Mapping[str, Any], mark: Callable[..., Any] = Field) -> Any:
    """A JSON-schema node (text or number, or one of them or null) as a Python type.

    `mark` says limits as the library wants them: Pydantic's `Field` and `msgspec.Meta` take the same words.
    """
    kind, nullable = kind_of(node)
    if kind["type"] == "string":
        found: Any = Annotated[str, mark(min_length=kind.get("minLength"), max_length=kind.get("maxLength"))]
    elif kind["type"] in ("number", "integer"):
        step = 1 if kind["type"] == "integer" else None  # JSON writes a whole number as 5 or as 5.0
        low, high = range_of(kind)
        found = Annotated[float, mark(ge=low, le=high, multiple_of=step)]
    else:
        raise TypeError(f"contract: type {kind['type']!r} is not string, number or integer")
    return found | None if nullable else found


def kind_of(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """What a JSON-schema node allows beside null, and whether it allows null."""
    options = node.get("anyOf", [node])
    found = [option for option in options if option.get("type") != "null"]
    return found[0], len(found) < len(options)


def range_of(kind: Mapping[str, Any]) -> tuple[float, float]:
    """From where to where a number may lie."""
    return kind.get("minimum", -FLOAT32_MAX), kind.get("maximum", FLOAT32_MAX)


def limit(node: Mapping[str, Any]) -> str:
    """What a JSON-schema node allows, in words: "-40 to 130 °F, or null"."""
    kind, nullable = kind_of(node)
    if kind.get("type") == "string":
        least, most = kind.get("minLength", 0), kind.get("maxLength")
        text = f"a text of {least} to {most} characters" if most is not None else "a text"
        text = {"date-time": "a moment like 2013-06-01T15:00:00Z"}.get(kind.get("format", ""), text)
    else:
        low, high = range_of(kind)
        text = f"{low:g} to {high:g} {node.get('unit', '')}".strip()
        text += ", a whole number" if kind.get("type") == "integer" else ""
    return f"{text}, or null" if nullable else text


def explain(error: ValidationError, properties: Mapping[str, Any], *, single: bool) -> BadRequest:
    """A ValidationError as the answer: 400 for what is no JSON, else 422."""
    count = error.error_count()
    if count > COUNTED:
        return BadRequest(
            422, refusal(422, f"{count:,} values break the contract", limit="see /docs.json").errors, count
        )
    found = error.errors(include_url=False)
    first = found[0]
    if first["type"] == "json_invalid":
        return refusal(400, first["msg"], limit="a JSON object, or a list of them")
    if first["type"] == "too_long" and not first["loc"]:
        rows, most = first["ctx"]["actual_length"], first["ctx"]["max_length"]
        return refusal(422, f"the body has {rows} rows, limit: {most}", limit=f"{most} rows", value=rows)
    shown = [_sentence(each, properties, single=single) for each in found[:LISTED]]
    return BadRequest(422, shown, count - len(shown))


def _sentence(error: Any, properties: Mapping[str, Any], *, single: bool) -> dict[str, Any]:
    loc = (0, *error["loc"]) if single else error["loc"]
    row, name = (loc[0] if loc else None), (str(loc[1])[:100] if len(loc) > 1 else None)
    where = name if single or row is None else f"row {row}: {name}"
    given = error["input"]
    value = None if error["type"] == "missing" else shown(given)
    told = "null" if value is None else repr(value) if isinstance(given, str) else str(value)
    if name is None:
        what = "the body" if single or row is None else f"row {row}"
        allowed = "at least one row" if error["type"] == "too_short" else "a JSON object, or a list of them"
        message = f"{what} is {told}, limit: {allowed}"
    elif error["type"] == "extra_forbidden":
        allowed = f"the fields of the contract: {', '.join(properties)}"
        message = f"{where} is no field of the contract"
    else:
        allowed = limit(properties[name]) if name in properties else str(error["msg"])
        message = f"{where} is {'missing' if error['type'] == 'missing' else told}, limit: {allowed}"
    return {"row": row, "field": name, "value": value, "limit": allowed, "message": message}


def shown(value: Any) -> Any:
    """A value as it may be echoed: short, and always JSON."""
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
