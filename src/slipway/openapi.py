"""The service's OpenAPI document, written from `models/contract.json`; the page at `/` shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ERROR = {
    "type": "object",
    "required": ["row", "field", "value", "limit", "message"],
    "additionalProperties": False,
    "properties": {
        "row": {
            "type": ["integer", "null"],
            "description": "which row, from 0; null for the request as a whole",
        },
        "field": {"type": ["string", "null"]},
        "value": {"description": "what was sent, shortened"},
        "limit": {"type": ["string", "null"], "description": "what is allowed"},
        "message": {"type": "string"},
    },
}
ERRORS = {
    "type": "object",
    "required": ["errors"],
    "additionalProperties": False,
    "properties": {
        "errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Error"}},
        "more": {"type": "integer", "description": "errors that are not listed"},
    },
}
STATUSES = {
    "400": "the body is empty or no JSON",
    "405": "not by this method",
    "408": "the body stopped arriving",
    "413": "too many bytes or rows",
    "415": "the content type is not application/json",
    "422": "a value breaks the contract: field, value and limit are named",
}


def document(contract: Mapping[str, Any], *, version: str) -> dict[str, Any]:
    """OpenAPI 3.1 with every status the service answers and an example that works."""
    question, inputs = contract.get("question"), contract["inputs"]
    title = contract["labels"].get("title", contract["problem"])
    prediction = {"type": "number", "description": _meaning(contract)}
    rows = {
        "type": "array",
        "minItems": 1,
        "maxItems": contract["limits"]["max_rows"],
        "items": _ref("Inputs"),
    }
    one = {"type": "object", "required": ["prediction"], "properties": {"prediction": prediction}}
    many = {"type": "object", "required": ["predictions"],
            "properties": {"predictions": {"type": "array", "items": prediction}}}  # fmt: skip
    example = contract["example"]
    examples = {
        "one": {"summary": "one row", "value": example},
        "many": {"summary": "two rows", "value": [example] * 2},
    }
    paths = {
        "/predict": {"post": _post(
            "Predict one row, or many", {"anyOf": [_ref("Inputs"), rows]}, {"anyOf": [one, many]}, examples=examples,
            text="One object is answered with `prediction`, a list of objects with `predictions` in the same order. "
                 "An unknown category is answered and counted.")},
        "/metrics": {"get": _get("Metrics of this process, for Prometheus", "text/plain")},
        "/livez": {"get": _get("Answers while the process lives", "text/plain")},
        "/readyz": {"get": _get("Answers once the model has answered", "text/plain")},
    }  # fmt: skip
    schemas: dict[str, Any] = {"Inputs": inputs, "Error": ERROR, "Errors": ERRORS}
    if question:
        schemas["Question"] = question
        asked = {"type": "object", "required": ["prediction", "inputs"],
                 "properties": {"prediction": prediction, "inputs": _ref("Inputs")}}  # fmt: skip
        examples = _examples(question)
        paths["/ask"] = {"post": _post("Ask as a person would", _ref("Question"), asked, examples=examples,
                                       text="What a caller cannot know is looked up; the inputs used are returned.")}  # fmt: skip
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _about(contract)},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _meaning(contract: Mapping[str, Any]) -> str:
    labels = contract["labels"]
    if contract["task"] == "binary":
        return f"probability that the answer is {labels.get('positive', contract['target'])!r}, 0 to 1"
    return f"{contract['target']}, {labels.get('unit', '')}".strip(", ")


def _about(contract: Mapping[str, Any]) -> str:
    limits = contract["limits"]
    return (f"{contract['inputs'].get('description', '')} Trained on what was known before {contract['data']['test_from']}. "
            f"At most {limits['max_rows']:,} rows and {limits['max_body_bytes']:,} bytes in one request.")  # fmt: skip


def _examples(schema: Mapping[str, Any]) -> dict[str, Any]:
    values = {
        name: node["examples"][0] for name, node in schema["properties"].items() if node.get("examples")
    }
    return {"one": {"value": values}} if set(schema.get("required", ())) <= set(values) else {}


def _post(summary: str, asked: Any, answered: Any, *, examples: Any, text: str) -> dict[str, Any]:
    errors = {status: {"description": why, "content": {"application/json": {"schema": _ref("Errors")}}}
              for status, why in STATUSES.items()}  # fmt: skip
    given = {"schema": asked, **({"examples": examples} if examples else {})}
    return {
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": {"application/json": given}},
        "responses": {
            "200": {"description": "the prediction", "content": {"application/json": {"schema": answered}}},
            **errors,
        },
    }


def _get(summary: str, kind: str) -> dict[str, Any]:
    answer = {"description": "well", "content": {kind: {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": answer}}
