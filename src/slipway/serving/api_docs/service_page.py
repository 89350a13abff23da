"""Render the service's page at `/`: what each endpoint takes and answers, with examples to copy.

The page is one HTML file without a script, and loads nothing. It shows what the OpenAPI document holds.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from markupsafe import Markup, escape

from slipway.serving.api_docs import openapi
from slipway.serving.validation import BadRequest, Reader, kind_of, limit

URL = "http://localhost:3000"
"""Address in the examples of a rendered page; `at` replaces it with the address that the reader uses."""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The page's content security policy: it may load nothing and run nothing."""
METRICS = {
    "slipway_requests_total": "Requests by `route` and `status`.",
    "slipway_request_seconds": "Time to answer, by `route`: a histogram in seconds.",
    "slipway_prediction": "Predictions: a histogram.",
    "slipway_unknown_categories_total": "Texts that the model has never seen, by `column`.",
    "slipway_model_info": "The model: `problem`, `until` and `model_sha256` as labels.",
}
TYPES = {"string": "text", "number": "number", "integer": "whole number", "array": "list", "object": "object"}
LISTED = 16
"""Longest list of known texts that is shown whole."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One row of a table of inputs or of an answer."""

    name: str
    description: str
    type: str
    allowed: str = ""
    example: str = ""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One endpoint of the page, with its examples as (language, code)."""

    path: str
    method: str
    summary: str
    description: str
    inputs: list[Field]
    inputs_text: str
    answer: list[Field]
    answer_text: str
    answer_example: str
    errors: dict[str, str]
    examples: list[tuple[str, str]]


def render(contract: Mapping[str, Any], *, version: str, prediction: float | None = None) -> str:
    """Return the page as HTML. `prediction` is the model's answer to the contract's example."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slipway.serving.api_docs"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["prose"] = _prose
    document = openapi.document(contract, version=version, prediction=prediction)
    groups = [
        (
            tag["name"],
            tag["description"],
            [each for name, each in _endpoints(document, contract) if name == tag["name"]],
        )
        for tag in document["tags"]
    ]
    error = [_field(name, node) for name, node in openapi.ERROR["properties"].items()]  # type: ignore[attr-defined]
    return environment.get_template("service_page.html.j2").render(
        problem=contract["problem"], title=openapi.title(contract), version=version, labels=contract["labels"],
        facts=openapi.facts(contract), groups=groups, metrics=METRICS,
        error=error, error_example=_error_example(contract),
    ) + "\n"  # fmt: skip


def at(page: str, url: str) -> str:
    """The rendered page with `url` as the service's address in its examples."""
    return page.replace(URL, url)


def _prose(text: str) -> Markup:
    """Escape a sentence and show its `names` as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped


def _endpoints(document: Mapping[str, Any], contract: Mapping[str, Any]) -> Iterator[tuple[str, Endpoint]]:
    """Yield each endpoint of an OpenAPI document with the name of its group."""
    schemas = {"/predict": contract["inputs"], "/ask": contract.get("question")}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = dict(operation["responses"])
            answer = responses.pop("200")
            content_type, content = next(iter(answer["content"].items()))
            yield (
                operation["tags"][0],
                Endpoint(
                    path=path,
                    method=method.upper(),
                    summary=operation["summary"],
                    description=operation.get("description", ""),
                    inputs_text=(schemas.get(path) or {}).get("description", ""),
                    inputs=_inputs(schemas.get(path), contract),
                    answer=[_field(name, node) for name, node in _properties(content["schema"]).items()],
                    answer_text=f"Status `200`, `{content_type}`. {answer['description']}",
                    answer_example=_json(next((each["value"] for each in content.get("examples", {}).values()), None)),
                    errors={status: each["description"] for status, each in responses.items()},
                    examples=_code_examples(path, operation),
                ),
            )


def _inputs(schema: Mapping[str, Any] | None, contract: Mapping[str, Any]) -> list[Field]:
    """The fields of a request, each with what the service allows, in the words of its error messages."""
    if schema is None:
        return []
    required = schema.get("required", ())
    fields = []
    for name, node in schema["properties"].items():
        allowed = _allowed(node, contract["known"].get(name, []))
        example = _json(node["examples"][0]) if node.get("examples") else ""
        optional = "" if name in required else ", or left out"
        fields.append(_field(name, node, allowed=allowed + optional, example=example))
    return fields


def _allowed(node: Mapping[str, Any], values: list[str]) -> str:
    kind, _ = kind_of(node)
    if "enum" in kind:
        return f"one of {', '.join(map(str, kind['enum']))}"
    if kind.get("type") not in ("string", "number", "integer"):
        return "see the OpenAPI document"
    text = limit(node)
    if not values:
        return text
    listed = ", ".join(values) if len(values) <= LISTED else f"{len(values)} values"
    return f"{text}. Seen in training: {listed}"


def _field(name: str, node: Mapping[str, Any], *, allowed: str = "", example: str = "") -> Field:
    return Field(name=name, description=node.get("description", ""), type=_type(node), allowed=allowed, example=example)


def _type(node: Mapping[str, Any]) -> str:
    """The type of a JSON-schema node in words: "text", "list of numbers"."""
    if "$ref" in node:
        return "object"
    names = node.get("type", "")
    kinds = [names] if isinstance(names, str) else names
    if "anyOf" in node:  # whether null is allowed is in the next column
        kinds = [each.get("type", "") for each in node["anyOf"] if each.get("type") != "null"]
    items = f" of {TYPES.get(node['items'].get('type'), 'value')}s" if "items" in node else ""
    return " or ".join(TYPES.get(kind, kind) for kind in kinds if kind) + items or "any"


def _properties(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of an object, or of all its alternatives."""
    options = schema.get("anyOf", [schema])
    return {name: node for option in options for name, node in option.get("properties", {}).items()}


def _json(value: Any) -> str:
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _code_examples(path: str, operation: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same request by curl and by Python's standard library; none where the problem gives no example."""
    if "requestBody" not in operation:
        return [("curl", f"curl {URL}{path}"), ("Python", GET.format(url=URL + path))]
    examples = operation["requestBody"]["content"]["application/json"].get("examples", {})
    if not examples:
        return []
    body = next(iter(examples.values()))["value"]
    data = shlex.quote(json.dumps(body, indent=2, ensure_ascii=False))
    curl = f"curl {URL}{path} \\\n  -H 'content-type: application/json' \\\n  -d {data}"
    lines = "".join(f"    {_json(name)}: {_python(value)},\n" for name, value in body.items())
    return [("curl", curl), ("Python", POST.format(url=URL + path, lines=lines))]


def _python(value: Any) -> str:
    return _json(value) if isinstance(value, str) else repr(value)


GET = """from urllib.request import urlopen

url = "{url}"
with urlopen(url) as response:
    print(response.status, response.read().decode())"""
POST = """import json
from urllib.request import Request, urlopen

row = {{
{lines}}}
request = Request(
    "{url}",
    data=json.dumps(row).encode(),
    headers={{"content-type": "application/json"}},
)
with urlopen(request) as response:
    print(json.load(response))"""


def _error_example(contract: Mapping[str, Any]) -> str:
    """The answer of the service when the first input is missing."""
    example = dict(contract["example"])
    del example[next(iter(contract["inputs"]["properties"]))]
    try:
        Reader(contract).check(example)
    except BadRequest as error:
        return json.dumps(error.document(), indent=2, ensure_ascii=False)
    return ""
