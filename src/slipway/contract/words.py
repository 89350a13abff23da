"""The words of a contract, and what a field allows by them: read from a JSON-schema node, described in a sentence.

`models/contract.json` keeps a contract as JSON schema. Everything that enforces a contract reads it by `Rule.of`:

    check                                   reads a rule in
    data check of `ingest` and `features`   contract/data_check.py, by contract/polars_rules.py
    the service                             serving/validation.py
    `score`                                 serving/parquet_chunks.py, by contract/polars_rules.py
    the page and the error messages         serving/validation.py, `limit`
    generated requests                      loadtest/canary_replay.py, loadtests/locustfile.py

This module imports the standard library alone, and is part of the bento.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FLOAT32_MAX = 3.4e38
"""The model computes in 32 bits: a larger number would become infinite without an error."""
ROUNDING = 2.0**-51
"""A number is a multiple when it differs from one by at most this share of itself: 0.3 is one of 0.1, in 64 bits."""
INT64_EXACT = 2**53
"""Numbers are read as 64-bit floating point, which holds every whole number up to this one."""
WORDS = {
    "ge": "minimum",
    "gt": "exclusiveMinimum",
    "le": "maximum",
    "lt": "exclusiveMaximum",
    "multiple_of": "multipleOf",
    "min_length": "minLength",
    "max_length": "maxLength",
    "pattern": "pattern",
}
"""Pydantic's words with their keywords in JSON schema."""
KEYWORDS = {
    *WORDS.values(),
    "type",
    "enum",
    "const",
    "format",
    "title",
    "description",
    "examples",
    "unit",
    "anyOf",
    "log",
}
"""Every keyword that a node may have."""
LOG_WORDS = ("drop", "hash")
"""Values of `log`: the prediction log leaves the field out, or holds a keyed hash of it."""
TYPES = {
    "string": "text", "number": "number", "integer": "whole number", "boolean": "true or false",
    "date": "date", "date-time": "moment",
}  # fmt: skip
"""JSON schema's types, and formats of texts, with their names in a rule."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """The values that a field allows."""

    type: str
    """One of the values of TYPES."""
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    step: float | None = None
    """Values are multiples of this number."""
    shortest: int | None = None
    longest: int | None = None
    """Lengths of texts in characters (Unicode code points)."""
    pattern: str | None = None
    """A regular expression in the language of Rust's `regex`, which occurs somewhere in the text."""
    choices: tuple[str, ...] | None = None

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> Rule:
        """Read a node. TypeError for a type or a keyword that is not in the language of a contract."""
        kind, nullable = kind_of(node)
        for keyword in [*node, *kind]:
            if keyword not in KEYWORDS:
                raise TypeError(f"contract: the keyword {keyword!r} is not known; expected: one of {sorted(KEYWORDS)}")
        name = kind.get("format", kind.get("type"))
        if name not in TYPES:
            raise TypeError(f"contract: type {name!r} is not {', '.join(list(TYPES)[:-1])} or {list(TYPES)[-1]}")
        choices = kind.get("enum", [kind["const"]] if "const" in kind else None)
        return cls(
            type=TYPES[name], nullable=nullable, low=kind.get("minimum"), high=kind.get("maximum"),
            above=kind.get("exclusiveMinimum"), below=kind.get("exclusiveMaximum"), step=kind.get("multipleOf"),
            shortest=kind.get("minLength"), longest=kind.get("maxLength"), pattern=kind.get("pattern"),
            choices=None if choices is None else tuple(choices),
        )  # fmt: skip

    @property
    def is_number(self) -> bool:
        """True for numbers and whole numbers."""
        return self.type in ("number", "whole number")

    @property
    def exact_step(self) -> float | None:
        """The step of a number: 1 for a whole number without another one."""
        return self.step if self.step is not None or self.type != "whole number" else 1

    @property
    def range(self) -> tuple[float | None, float | None]:
        """The smallest and the largest number; None where the limit itself is not allowed (`above`, `below`)."""
        low = -FLOAT32_MAX if self.low is None and self.above is None else self.low
        return low, FLOAT32_MAX if self.high is None and self.below is None else self.high


def kind_of(node: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    """Split a JSON-schema node into its node without null, and whether it allows null."""
    options = node.get("anyOf", [node])
    kinds = [option for option in options if option.get("type") != "null"]
    return kinds[0], len(kinds) < len(options)


def describe_range(rule: Rule) -> str:
    """The limits of a number for a sentence: " from 1 to 7", " above 0 and of at most 7", or nothing."""
    if rule.low is not None and rule.high is not None:
        return f" from {figure(rule.low)} to {figure(rule.high)}"
    limits = {"above": rule.above, "of at least": rule.low, "below": rule.below, "of at most": rule.high}
    text = " and ".join(f"{word} {figure(value)}" for word, value in limits.items() if value is not None)
    return f" {text}" if text else ""


def describe_length(rule: Rule) -> str:
    """The lengths of a text for a sentence: " of 1 to 16 characters", or nothing."""
    if rule.longest is not None:
        return f" of {rule.shortest or 0} to {rule.longest} characters"
    return f" of at least {rule.shortest} characters" if rule.shortest else ""


def describe(rule: Rule, *, unit: str = "") -> str:
    """The values that a rule allows: "a number from -40 to 130 (°F), or null"."""
    if rule.choices is not None:
        text = f"one of {', '.join(map(repr, rule.choices))}" if len(rule.choices) > 1 else repr(rule.choices[0])
    elif rule.type == "text":
        text = f"a text{describe_length(rule)}"
        text += f" that matches the regular expression {rule.pattern}" if rule.pattern is not None else ""
    elif rule.is_number:
        text = f"a {rule.type}{describe_range(rule)}"
        text += f", a multiple of {figure(rule.step)}" if rule.step is not None else ""
        text += f" ({unit})" if unit else ""
    else:
        samples = {"moment": "a date and time, such as 2013-06-01T15:00:00Z", "date": "a date, such as 2013-06-01"}
        text = samples.get(rule.type, rule.type)
    return f"{text}, or null" if rule.nullable else text


def figure(value: float) -> str:
    """A number in as few digits as name it exactly: 5 for 5.0, 1234567 and not 1.23457e+06."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value).removesuffix(".0")
