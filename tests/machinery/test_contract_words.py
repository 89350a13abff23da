"""contract_words: what a field allows, and that every check of a contract means the same by it."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.contract_words import Rule, describe


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
