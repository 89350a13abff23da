"""Build the service's OpenAPI document from `models/contract.json`; the page at `/` shows it."""

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
    "413": "too many bytes",
    "415": "the content type is not application/json",
    "422": "too many rows, or a value breaks the contract: field, value and limit are named",
}


def document(contract: Mapping[str, Any], *, version: str) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document: every status the service sends, and examples that work."""
    question, inputs = contract.get("question"), contract["inputs"]
    title = contract["labels"].get("title", contract["problem"])
    prediction = {"type": "number", "description": _prediction_text(contract)}
    schemas: dict[str, Any] = {"Inputs": inputs, "Error": ERROR, "Errors": ERRORS}
    paths: dict[str, Any] = {"/predict": {"post": _predict(contract, prediction)}}
    if question:
        schemas["Question"] = question
        paths["/ask"] = {"post": _ask(question, prediction)}
    paths |= {
        "/metrics": {"get": _get("Metrics of the service, for Prometheus")},
        "/livez": {"get": _get("Answers while the process lives")},
        "/readyz": {"get": _get("Answers once the model has answered")},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, "description": _about(title, contract)},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _predict(contract: Mapping[str, Any], prediction: Any) -> dict[str, Any]:
    max_rows, example = contract["limits"]["max_rows"], contract["example"]
    rows = {"type": "array", "minItems": 1, "maxItems": max_rows, "items": _ref("Inputs")}
    return _post(
        "Predict one row, or many",
        "One object is answered with `prediction`, a list of objects with `predictions` in the same order. "
        "An unknown category is answered, and counted.",
        request={"anyOf": [_ref("Inputs"), rows]},
        response={
            "anyOf": [
                _object(prediction=prediction),
                _object(predictions={"type": "array", "items": prediction}),
            ]
        },
        examples={
            "one": {"summary": "one row", "value": example},
            "many": {"summary": "two rows", "value": [example] * 2},
        },
    )


def _ask(question: Mapping[str, Any], prediction: Any) -> dict[str, Any]:
    return _post(
        "Ask as a person would",
        "What a caller cannot know is looked up; the inputs used are returned.",
        request=_ref("Question"),
        response=_object(prediction=prediction, inputs=_ref("Inputs")),
        examples=_examples(question),
        more_errors={"404": "the question is well put, and nothing the model could use is known of it"},
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _prediction_text(contract: Mapping[str, Any]) -> str:
    labels = contract["labels"]
    if contract["task"] == "binary":
        return f"probability that the answer is {labels.get('positive', contract['target'])!r}, 0 to 1"
    return f"{contract['target']}, {labels.get('unit', '')}".strip(", ")


def _about(title: str, contract: Mapping[str, Any]) -> str:
    limits = contract["limits"]
    return (  # the title is repeated because the page's style sheet hides it
        f"## {title}\n{contract['inputs'].get('description', '')} "
        f"Trained on what was known before {contract['data']['test_from']}. "
        f"At most {limits['max_rows']:,} rows and {limits['max_body_bytes']:,} bytes in one request."
    )


def _examples(schema: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: node["examples"][0] for name, node in schema["properties"].items() if node.get("examples")}
    return {"one": {"value": values}} if set(schema.get("required", ())) <= set(values) else {}


def _post(
    summary: str, text: str, *, request: Any, response: Any, examples: Any, more_errors: Mapping[str, str] | None = None
) -> dict[str, Any]:
    errors = {
        status: {"description": description, "content": {"application/json": {"schema": _ref("Errors")}}}
        for status, description in {**STATUSES, **(more_errors or {})}.items()
    }
    body = {"schema": request, **({"examples": examples} if examples else {})}
    success = {"description": "the prediction", "content": {"application/json": {"schema": response}}}
    return {
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {"200": success, **errors},
    }


def _get(summary: str) -> dict[str, Any]:
    success = {"description": "well", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": summary, "responses": {"200": success}}
