"""The strict base of all models of files that people write, and sentences about a file that does not fit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import ScalarNode

BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
"""Pydantic's errors about a bound: the key of the bound in their context, and its name in a sentence."""
KINDS = {
    "int": "a whole number", "float": "a number", "finite": "a finite number", "string": "a text",
    "bool": "true or false", "date": "a date, such as 2013-10-31", "datetime": "a date and time, such as 2013-10-31T17:00Z",
    "dict": "a section with keys", "model": "a section with keys", "list": "a list",
}  # fmt: skip
"""By the first part of the names of Pydantic's errors about a type: what it expects."""


class FieldError(ValueError):
    """An error that a validator of a whole model raises about one of its fields: `FieldError("low", "is 3")`."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(problem)
        self.field = field


class StrictModel(BaseModel):
    """Frozen; an unknown or missing key, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def describe_errors(error: ValidationError, *, top_level: str = "the file", most: int | None = None) -> str:
    """The errors of a validation in one line: dotted key, value, what is allowed; at most `most` of them.

    `top_level` is the name of the top level, which has no key.
    """
    return "; ".join(_describe(each, top_level) for each in error.errors()[:most])


def _describe(error: Any, top_level: str) -> str:
    key = ".".join(str(part) for part in error["loc"]) or top_level
    kind, context = error["type"], error.get("ctx", {})
    if key.endswith("[key]"):
        return (
            f"{key.rpartition('.')[0].rpartition('.')[0]} has the key {error['input']!r}; expected: {_expected(error)}"
        )
    if kind == "extra_forbidden":
        return f"unknown key {key} (value {error['input']!r})"
    if kind == "missing":
        return f"key {key} is missing"
    if kind == "value_error":
        reason = context["error"]
        return f"{key}.{reason.field} {reason}" if isinstance(reason, FieldError) else f"{key}: {reason}"
    if kind == "json_invalid":
        return f"{key} is not valid JSON: {context['error']}"
    if kind in BOUNDS:
        bound, words = BOUNDS[kind]
        return f"{key} is {error['input']!r}; allowed: {words} {context[bound]:g}"
    return f"{key} is {error['input']!r}; expected: {_expected(error)}"


def _expected(error: Any) -> str:
    """A short text for the value that a Pydantic error is about; Pydantic's own message for a rare one."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "string_pattern_mismatch":
        return f"a text of the form {context['pattern']}"
    if kind == "string_too_short":
        return (
            f"at least {context['min_length']} characters" if context["min_length"] > 1 else "a text that is not empty"
        )
    first = kind.removesuffix("_from_float").partition("_")[0]
    if kind.endswith(("_type", "_parsing", "_from_float", "_number", "_from_date_parsing")) and first in KINDS:
        return KINDS[first]
    return str(error["msg"])


def parse_yaml(text: str) -> Any:
    """The value of a YAML text; YAMLError for every text that has none.

    The library raises other errors for a date that does not exist, a number with too many digits, and deep nesting.
    """
    try:
        return YAML(typ="safe").load(text)
    except RecursionError:
        raise YAMLError("sections or lists are nested too deeply") from None
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        raise _locate_scalar(text, error) from None


def _locate_scalar(text: str, error: Exception) -> YAMLError:
    """The error of a YAML text with the first value that cannot be read, and its place."""
    yaml = YAML(typ="safe", pure=True)
    nodes = [yaml.compose(text)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ScalarNode):
            try:
                yaml.constructor.construct_object(node, deep=True)
            except Exception as reason:
                problem = f"{node.value[:40]} is not {KINDS.get(_yaml_kind(node.tag), 'a value')}: {reason}"
                return MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        elif isinstance(node.value, list):
            nodes += [
                part
                for child in reversed(node.value)
                for part in (reversed(child) if isinstance(child, tuple) else [child])
            ]
    return YAMLError(" ".join(str(error).split()))


def _yaml_kind(tag: object) -> str:
    """The key of KINDS for a tag of YAML, such as `tag:yaml.org,2002:timestamp`."""
    name = str(tag).rpartition(":")[2]
    return "date" if name == "timestamp" else name


def describe_syntax_error(error: Exception) -> str:
    """The place and the reason of an error in YAML, or the first bytes that are not UTF-8, in one line."""
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start + 1} is not UTF-8 text"
    mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
    if mark is None or problem is None:
        return " ".join(str(error).split())[:300]
    sentence = f"{getattr(error, 'context', None)} {problem}" if problem.startswith("but ") else problem
    start = getattr(error, "context_mark", None)
    where = f" (in the part that starts on line {start.line + 1})" if start and start.line != mark.line else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {sentence}{where}"
