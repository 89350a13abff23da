"""The OpenAPI document: complete, valid, and with examples that keep the contract."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slipway.core import files
from slipway.serving.api_docs import openapi
from slipway.serving.validation import Reader


@pytest.fixture(scope="module")
def contract(project: Path) -> Any:
    return files.read_json(project / "models/contract.json")


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        return {node["$ref"]} if "$ref" in node else set().union(*map(references, node.values()))
    return set().union(*map(references, node)) if isinstance(node, list) else set()


def test_every_status_is_described(contract: Any) -> None:
    found = openapi.document(contract, version="1")["paths"]["/predict"]["post"]["responses"]
    assert set(found) == {"200", "400", "405", "408", "413", "415", "422", "500"}


def test_every_reference_leads_somewhere(contract: Any) -> None:
    document = openapi.document(contract, version="1")
    assert references(document) == {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}


def test_the_examples_keep_the_contract(contract: Any) -> None:
    body = openapi.document(contract, version="1")["paths"]["/predict"]["post"]["requestBody"]
    for each in body["content"]["application/json"]["examples"].values():
        Reader(contract).read(json.dumps(each["value"]).encode())


def test_without_a_lookup_nothing_can_be_asked(contract: Any) -> None:
    assert "/ask" not in openapi.document(contract, version="1")["paths"]


def test_with_a_lookup_the_question_is_described(contract: Any) -> None:
    question = {"type": "object", "required": ["day"], "properties": {"day": {"type": "string"}}}
    document = openapi.document({**contract, "question": question}, version="1")
    assert document["components"]["schemas"]["Question"] == question
    assert "404" in document["paths"]["/ask"]["post"]["responses"]
    assert "examples" not in document["paths"]["/ask"]["post"]["requestBody"]["content"]["application/json"]


@pytest.mark.parametrize(
    ("task", "meaning"), [("binary", "probability that the answer is 'late', 0 to 1"), ("regression", "hires, bikes")]
)
def test_the_prediction_is_explained(contract: Any, task: str, meaning: str) -> None:
    labels = {"positive": "late", "unit": "bikes"}
    document = openapi.document({**contract, "task": task, "labels": labels}, version="1")
    assert meaning in json.dumps(document["paths"]["/predict"]["post"]["responses"]["200"])


def test_every_operation_is_in_a_group_with_a_name(contract: Any) -> None:
    document = openapi.document(contract, version="1")
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    assert {each["tags"][0] for each in operations} == {tag["name"] for tag in document["tags"]}
    assert len({each["operationId"] for each in operations}) == len(operations)


def test_the_document_names_model_version_and_limits(contract: Any) -> None:
    info = openapi.document(contract, version="1")["info"]
    assert (info["title"], info["version"]) == (contract["labels"].get("title", "bikes"), "1")
    assert "at most 500 rows and 200,000 bytes" in info["description"]


def test_the_server_is_where_the_document_is(contract: Any) -> None:
    """Also behind a path prefix, because the address is relative to the document's."""
    assert openapi.document(contract, version="1")["servers"][0]["url"] == "."


def test_a_known_prediction_becomes_an_example(contract: Any) -> None:
    answer = openapi.document(contract, version="1", prediction=0.5)["paths"]["/predict"]["post"]["responses"]["200"]
    examples = answer["content"]["application/json"]["examples"]
    assert [each["value"] for each in examples.values()] == [{"prediction": 0.5}, {"predictions": [0.5, 0.5]}]


def test_schemathesis_finds_no_violation(served: int, tmp_path: Path) -> None:
    """No 5xx, no undocumented status, no answer outside its schema, no invalid request accepted."""
    command = [Path(sys.executable).with_name("schemathesis"), "run", f"http://127.0.0.1:{served}/docs.json"]
    options = ["--max-examples", "5", "--seed", "1", "--no-color", "--generation-database", "none"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
