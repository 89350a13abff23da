"""Build the service's OpenAPI document from `models/contract.json`; `service_page` shows it to people."""

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
            "description": "Which row, counted from 0. Null for the request as a whole.",
        },
        "field": {
            "type": ["string", "null"],
            "description": "Which input. Null for the row or the request as a whole.",
        },
        "value": {"description": "What was sent, shortened."},
        "limit": {"type": ["string", "null"], "description": "What is allowed."},
        "message": {"type": "string", "description": "All of this in one sentence."},
    },
}
ERRORS = {
    "type": "object",
    "required": ["errors"],
    "additionalProperties": False,
    "properties": {
        "errors": {"type": "array", "minItems": 1, "items": {"$ref": "#/components/schemas/Error"}},
        "more": {"type": "integer", "description": "How many errors are not listed."},
    },
}
TAGS = {
    "Predict": "Get predictions from the model.",
    "Health": "Check whether the service runs. Kubernetes calls these.",
    "Metrics": "Read what the service has counted.",
}
"""The groups of the endpoints, in the order of the page."""


def document(contract: Mapping[str, Any], *, version: str, prediction: float | None = None) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document: every status the service sends, and examples that work.

    `prediction` is the model's answer to the contract's example.
    """
    question, inputs = contract.get("question"), contract["inputs"]
    schemas: dict[str, Any] = {"Inputs": inputs, "Error": ERROR, "Errors": ERRORS}
    paths: dict[str, Any] = {"/predict": {"post": _predict(contract, prediction)}}
    if question:
        schemas["Question"] = question
        paths["/ask"] = {"post": _ask(contract, question)}
    paths |= {
        "/livez": {"get": _get("livez", "Health", "Check that the process is alive.", "An empty line.")},
        "/readyz": {"get": _get("readyz", "Health", "Check that the model can answer.", "An empty line.")},
        "/metrics": {
            "get": _get(
                "metrics", "Metrics", "Read the metrics of the service.", "Metrics in Prometheus's text format."
            )
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title(contract),
            "version": version,
            "description": f"{contract['labels'].get('purpose', '')} {facts(contract)}".strip(),
        },
        "servers": [{"url": ".", "description": "The service that this document comes from"}],
        "tags": [{"name": name, "description": description} for name, description in TAGS.items()],
        "paths": paths,
        "components": {"schemas": schemas},
    }


def title(contract: Mapping[str, Any]) -> str:
    """The title of the model in the words of the problem."""
    return str(contract["labels"].get("title", contract["problem"]))


def facts(contract: Mapping[str, Any]) -> str:
    """Description of the data that the model was trained on, and of the largest request."""
    limits = contract["limits"]
    return (
        f"Trained on data before {contract['data']['test_from']}. "
        f"Allowed in one request: at most {limits['max_rows']:,} rows and {limits['max_body_bytes']:,} bytes."
    )


def _predict(contract: Mapping[str, Any], prediction: float | None) -> dict[str, Any]:
    max_rows, example = contract["limits"]["max_rows"], contract["example"]
    rows = {"type": "array", "minItems": 1, "maxItems": max_rows, "items": _ref("Inputs")}
    number = _prediction(contract)
    many = {"type": "array", "items": number, "description": "For a list: one prediction for each row, in its order."}
    one = number | {"description": f"For one object: {number['description']}"}
    answers = {"one": {"prediction": prediction}, "many": {"predictions": [prediction] * 2}}
    return _post(
        contract,
        "predict",
        "Predict from the model's inputs.",
        f"Send one object, or a list of 1 to {max_rows:,} objects. "
        "A text that the model has never seen is accepted, and counted in the metrics.",
        request={"anyOf": [_ref("Inputs"), rows]},
        response={"anyOf": [_object(prediction=one), _object(predictions=many)]},
        examples={
            "one": {"summary": "one row", "value": example},
            "many": {"summary": "two rows", "value": [example] * 2},
        },
        answer="A JSON object with one of these fields.",
        answers={} if prediction is None else {name: {"value": value} for name, value in answers.items()},
    )


def _ask(contract: Mapping[str, Any], question: Mapping[str, Any]) -> dict[str, Any]:
    used = _ref("Inputs") | {"description": "The inputs that the model got, as `/predict` takes them."}
    return _post(
        contract,
        "ask",
        "Predict from what a person knows.",
        "Send one object. The service looks up the model's other inputs, and returns them too.",
        request=_ref("Question"),
        response=_object(prediction=_prediction(contract), inputs=used),
        examples=_examples(question),
        answer="A JSON object with both of these fields.",
        answers={},
        more_errors={"404": "The question is valid, but the service has no data to answer it with."},
    )


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _prediction(contract: Mapping[str, Any]) -> dict[str, str]:
    labels = contract["labels"]
    text = f"{contract['target']}, {labels.get('unit', '')}".strip(", ")
    if contract["task"] == "binary":
        text = f"probability that the answer is {labels.get('positive', contract['target'])!r}, 0 to 1"
    return {"type": "number", "description": f"{text}."}


def _examples(schema: Mapping[str, Any]) -> dict[str, Any]:
    values = {name: node["examples"][0] for name, node in schema["properties"].items() if node.get("examples")}
    return {"one": {"value": values}} if set(schema.get("required", ())) <= set(values) else {}


def _post(
    contract: Mapping[str, Any], name: str, summary: str, text: str, *,
    request: Any, response: Any, examples: Any, answer: str, answers: Any, more_errors: Mapping[str, str] | None = None,
) -> dict[str, Any]:  # fmt: skip
    limits = contract["limits"]
    statuses = {
        "400": "The body is empty, or is not JSON.",
        "405": "The method is not POST.",
        "408": "The body stopped arriving.",
        "413": f"The body has more than {limits['max_body_bytes']:,} bytes.",
        "415": "The content type is not application/json.",
        "422": "A value is missing, unknown or not allowed, or there are too many rows.",
        "500": "The service failed. Its log has the reason.",
    }
    body = {"schema": request, **({"examples": examples} if examples else {})}
    content = {"schema": response, **({"examples": answers} if answers else {})}
    return {
        "tags": ["Predict"],
        "operationId": name,
        "summary": summary,
        "description": text,
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": {
            "200": {"description": answer, "content": {"application/json": content}},
            **_errors(statuses | dict(more_errors or {})),
        },
    }


def _get(name: str, tag: str, summary: str, answer: str) -> dict[str, Any]:
    success = {"description": answer, "content": {"text/plain": {"schema": {"type": "string"}}}}
    responses = {"200": success, **_errors({"405": "The method is not GET or HEAD."})}
    return {"tags": [tag], "operationId": name, "summary": summary, "responses": responses}


def _errors(statuses: Mapping[str, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref("Errors")}}
    return {status: {"description": text, "content": content} for status, text in sorted(statuses.items())}
