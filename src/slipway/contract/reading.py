"""Read a contract, which a problem writes as a Pydantic model, and refuse every word that a contract cannot use.

Pydantic has many more words than the data check, the service and `score` enforce. A word that one of them did not know
would be silence there, so the language is closed: `words` of a field are in `contract.words.WORDS`, or are an error.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Union

from slipway.contract.words import FLOAT32_MAX, INT64_EXACT, LOG_WORDS, WORDS, Rule
from slipway.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

Kind = Literal["category", "number", "time"]
KINDS: Mapping[type, Kind] = {
    str: "category", float: "number", int: "number", bool: "number", date: "time", datetime: "time",
}  # fmt: skip
FITTING = {
    str: {"min_length", "max_length", "pattern"},
    float: {"ge", "gt", "le", "lt", "multiple_of"},
    int: {"ge", "gt", "le", "lt", "multiple_of"},
}
"""The words that a type takes; a type that is not listed takes none."""
NEUTRAL = {
    "annotation",
    "title",
    "description",
    "examples",
    "json_schema_extra",
    "frozen",
    "repr",
    "metadata",
    "alias_priority",
}
"""Attributes of a field that allow and refuse no value; `json_schema_extra` and `metadata` are read on their own."""
HARMLESS = {"title", "frozen", "use_attribute_docstrings", "protected_namespaces"}
"""Settings of `model_config` that allow and refuse no value."""
HOOKS = ("__init__", "__new__", "model_post_init", "__get_pydantic_core_schema__", "__get_pydantic_json_schema__")
TYPES = "str, float, int, bool, date, datetime, Literal or Enum of texts, each also with `| None`"
REQUIRED = "a field that callers always send: without default, and with `| None` if its value may be missing"
INSTEAD = {
    "default": REQUIRED,
    "default_factory": REQUIRED,
    "alias": "a field that has the name that callers send",
    "validation_alias": "a field that has the name that callers send",
    "serialization_alias": "a field that has the name that callers send",
    "strict": "no `strict`: every check of a contract is strict",
    "allow_inf_nan": "no `allow_inf_nan`: a number is always finite, and `| None` stands for a missing one",
    "max_digits": "`float` with `multiple_of`",
    "decimal_places": "`float` with `multiple_of`",
    "exclude": "no such field",
    "Decimal": "float",
}
"""Advice for a word: the text to write instead; `WORD` for the others."""
WORD = f"one of the words {', '.join(WORDS)}, or a type: {TYPES}"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One field of a contract: its kind, its range, whether it may be missing, how to describe it."""

    name: str
    kind: Kind
    nullable: bool
    low: float | None
    """The smallest allowed number, by `ge`."""
    high: float | None
    """The largest allowed number, by `le`."""
    unit: str
    description: str
    example: Any
    type: type
    """str (also for `Literal` and `Enum`), float, int, bool, date or datetime."""


def columns(model: type[BaseModel]) -> list[Column]:
    """The fields of `model` in their order. ConfigError names a field and the word or type that it cannot have."""
    _check_model(model)
    return [_column(_Place(model, name), info) for name, info in model.model_fields.items()]


def names(model: type[BaseModel], kind: Kind) -> list[str]:
    """The names of the fields of one kind, in order."""
    return [column.name for column in columns(model) if column.kind == kind]


def example_row(model: type[BaseModel]) -> dict[str, Any]:
    """A row that keeps the contract, from the examples of its fields."""
    return {column.name: column.example for column in columns(model)}


def schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a contract, in which every field is complete: no reference, and no other fields."""
    columns(model)
    document = model.model_json_schema()
    definitions = document.pop("$defs", {})
    document["properties"] = {name: _complete(node, definitions) for name, node in document["properties"].items()}
    return document if document.get("additionalProperties") is False else document | {"additionalProperties": False}


def rules(model: type[BaseModel]) -> dict[str, Rule]:
    """Read the rule of each field from the JSON schema, as the service does."""
    return {name: Rule.of(node) for name, node in schema(model)["properties"].items()}


def check_inputs(model: type[BaseModel]) -> None:
    """Check that a model can be asked with this contract: texts and numbers, each with an example that is valid."""
    from pydantic import ValidationError

    for column in columns(model):
        place = _Place(model, column.name)
        if column.kind == "time":
            _refuse(place, f"the type {column.type.__name__}", "a number made of it: inputs are texts and numbers")
        if not model.model_fields[column.name].examples:
            _refuse(place, "no `examples`", "a valid value, such as `examples=[5]`: the service starts with it")
    try:
        model.model_validate_json(json.dumps(example_row(model)), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        _refuse(_Place(model, str(first["loc"][0])), f"the example {first['input']!r}", first["msg"])


@dataclass(frozen=True)
class _Place:
    """A field of a contract, or the whole contract."""

    model: type[BaseModel]
    field: str | None = None

    def __str__(self) -> str:
        model = f"{self.model.__module__}.{self.model.__qualname__.rpartition('>.')[2]}"
        return f"field {self.field} of the contract {model}" if self.field else f"the contract {model}"


def _refuse(place: _Place, what: str, instead: str) -> NoReturn:
    raise ConfigError(
        f"{place} has {what}", expected=instead,
        hint="change the contract; docs/reference/contract.md lists the words of a contract",
    )  # fmt: skip


def _refuse_word(place: _Place, word: str, instead: str = "") -> NoReturn:
    _refuse(place, f"the word `{word}`, which a contract cannot use", instead or INSTEAD.get(word, WORD))


def _check_model(model: type[BaseModel]) -> None:
    """Refuse settings, validators and methods that change what a model accepts."""
    place = _Place(model)
    for word, value in model.model_config.items():
        if word == "extra" and value != "forbid":
            _refuse(place, f"`extra={value!r}`", '`ConfigDict(extra="forbid")`: no request may have other fields')
        if word not in (*HARMLESS, "extra"):
            _refuse_word(place, word, "a `model_config` without it")
    decorators = model.__pydantic_decorators__
    for kind in (field.name for field in dataclasses.fields(decorators)):
        for name in getattr(decorators, kind):
            _refuse(place, f"`{name}`, one of its {kind}", f"no function; {WORD}")
    for owner in model.__mro__:
        if owner.__module__.partition(".")[0] in ("pydantic", "builtins", "typing", "abc"):
            continue
        for hook in HOOKS:
            own = vars(owner).get(hook)
            if own is not None and not getattr(own, "__module__", "").startswith("pydantic."):
                _refuse(place, f"a method `{hook}`", "a class of fields alone")


def _column(place: _Place, info: FieldInfo) -> Column:
    _check_attributes(place, info)
    value_type, nullable, words = _read_type(place, info.annotation)
    base = _base(place, value_type)
    for word, value in _words(place, info.metadata):
        _add(place, words, word, value)
    _check_words(place, value_type, words)
    examples = [example.value if isinstance(example, enum.Enum) else example for example in info.examples or ()]
    return Column(
        name=str(place.field), kind=KINDS[base], nullable=nullable, low=words.get("ge"), high=words.get("le"),
        unit=_unit(place, info), description=info.description or "", example=examples[0] if examples else None,
        type=base,
    )  # fmt: skip


def _check_attributes(place: _Place, info: FieldInfo) -> None:
    """Refuse every attribute of a field that is set and can change what it accepts, or what a caller may leave out."""
    from pydantic.fields import FieldInfo

    plain = FieldInfo()
    for word in (name for name in FieldInfo.__slots__ if name[0] != "_" and name not in NEUTRAL):
        if getattr(info, word) is not getattr(plain, word):
            _refuse_word(place, word)


def _unit(place: _Place, info: FieldInfo) -> str:
    extra = {} if info.json_schema_extra is None else info.json_schema_extra
    if not isinstance(extra, dict):
        _refuse(place, "a function as `json_schema_extra`", '`json_schema_extra={"unit": "…"}`, or none')
    for word in extra.keys() - {"unit", "log"}:
        _refuse(place, f"`{word}` in `json_schema_extra`", f"only `unit` and `log` there; {WORD}")
    if "log" in extra and extra["log"] not in LOG_WORDS:
        _refuse(place, f"`log: {extra['log']!r}` in `json_schema_extra`", f"one of {', '.join(LOG_WORDS)}")
    return str(extra.get("unit", ""))


def _read_type(place: _Place, annotation: Any) -> tuple[Any, bool, dict[str, Any]]:
    """Return the type of a field without null, whether it may be null, and the words that stand within its type."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        if len(members) != 1:
            _refuse(place, f"the type {_type_name(annotation)}", f"one type; {TYPES}")
        value_type, _, words = _read_type(place, members[0])
        return value_type, True, words
    if typing.get_origin(annotation) is typing.Annotated:
        value_type, nullable, words = _read_type(place, annotation.__origin__)
        for item in annotation.__metadata__:
            for word, value in _words(place, _constraints(place, item)):
                _add(place, words, word, value)
        return value_type, nullable, words
    return annotation, False, {}


def _constraints(place: _Place, item: Any) -> list[Any]:
    """The constraints of one item of `Annotated[…]`: a `Field(…)` has several."""
    from pydantic.fields import FieldInfo

    if isinstance(item, FieldInfo):
        _check_attributes(place, item)
        _unit(place, item)
        return list(item.metadata)
    return [item]


def _words(place: _Place, metadata: list[Any]) -> Iterator[tuple[str, Any]]:
    """Yield the constraints of a field with their values; refuse those that are not words of a contract."""
    import annotated_types

    for item in metadata:
        if isinstance(item, annotated_types.GroupedMetadata):
            yield from _words(place, list(item))
            continue
        fields = dataclasses.fields(item) if dataclasses.is_dataclass(item) and not isinstance(item, type) else ()
        values = {field.name: getattr(item, field.name) for field in fields} or dict(getattr(item, "__dict__", {}))
        name = getattr(item, "__name__", type(item).__name__)
        if not values:
            _refuse_word(place, name)
        for word, value in values.items():
            if word in WORDS:
                yield word, value
            elif word not in INSTEAD and not name.startswith("_"):
                _refuse_word(place, name)
            elif value is not None and (word, value) != ("allow_inf_nan", False):
                _refuse_word(place, word)


def _add(place: _Place, words: dict[str, Any], word: str, value: Any) -> None:
    if word in words:
        _refuse(place, f"the word `{word}` twice", "one of them")
    words[word] = value


def _base(place: _Place, value_type: Any) -> type:
    """The type of a field's values; `Literal` and `Enum` of texts are texts."""
    if typing.get_origin(value_type) is Literal:
        values: tuple[Any, ...] = typing.get_args(value_type)
    elif isinstance(value_type, type) and issubclass(value_type, enum.Enum):
        values = tuple(member.value for member in value_type)
        if value_type._missing_.__func__ is not enum.Enum._missing_.__func__:  # type: ignore[attr-defined]
            _refuse(place, f"an Enum {value_type.__name__} with `_missing_`", "an Enum that accepts its values alone")
    elif value_type in KINDS:
        return value_type  # type: ignore[no-any-return]
    else:
        name = _type_name(value_type)
        _refuse(place, f"the type {name}", INSTEAD.get(name, TYPES))
    if not values or not all(type(value) is str for value in values):
        _refuse(place, f"the values {', '.join(map(repr, values))}", "texts; for numbers, `int` with `ge` and `le`")
    return str


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) and not typing.get_args(annotation) else str(annotation)


def _check_words(place: _Place, value_type: Any, words: Mapping[str, Any]) -> None:
    """Refuse a word that the type does not take, and a value that it cannot have."""
    for word, value in words.items():
        fitting = FITTING.get(value_type, set())
        if word not in fitting:
            listed = ", ".join(sorted(fitting)) or "no word"
            _refuse(place, f"the word `{word}` on the type {_type_name(value_type)}", f"{listed} on this type")
        if value_type in (float, int):
            _check_number(place, word, value, whole=value_type is int)
        if word == "pattern" and not isinstance(value, str):
            _refuse(
                place, "a compiled `pattern`", "the pattern as a text: Pydantic reads a compiled one by other rules"
            )
    for closed, open_ in (("ge", "gt"), ("le", "lt")):
        if closed in words and open_ in words:
            _refuse(place, f"both `{closed}` and `{open_}`", "one of them")


def _check_number(place: _Place, word: str, value: Any, *, whole: bool) -> None:
    """Refuse a limit that is no finite number, that 32 bits cannot hold, or that a whole number cannot have."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or abs(value) > FLOAT32_MAX:
        _refuse(place, f"`{word}={value!r}`", f"a number from {-FLOAT32_MAX:g} to {FLOAT32_MAX:g}")
    if word == "multiple_of" and value <= 0:
        _refuse(place, f"`{word}={value!r}`", "a number above 0")
    if isinstance(value, int) and abs(value) > INT64_EXACT:
        _refuse(place, f"`{word}={value!r}`", f"a whole number of at most {INT64_EXACT}, or a float such as 1e20")
    if whole and not isinstance(value, int):
        _refuse(place, f"`{word}={value!r}` on the type int", "a whole number, such as 5")


def _complete(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON-schema node with the definitions that it refers to written out."""
    if "$ref" in node:
        return {**definitions[node["$ref"].rpartition("/")[2]]} | {
            key: value for key, value in node.items() if key != "$ref"
        }
    options = [_complete(option, definitions) for option in node.get("anyOf", ())]
    return {**node, **({"anyOf": options} if options else {})}
