"""The objects of the component `prometheus-operator`, against the kinds that the operator publishes."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from slipway.core.strict_model import parse_yaml
from support.paths import ROOT

COMPONENT = ROOT / "k8s/components/prometheus-operator"
KINDS = ROOT / "tests/machinery/support/operator_kinds"


def written(name: str) -> dict[str, Any]:
    """An object of the component."""
    document: dict[str, Any] = parse_yaml((COMPONENT / f"{name}.yaml").read_text(encoding="utf-8"))
    return document


def strict(schema: Any) -> Any:
    """A kind's schema that refuses fields which it does not name; the API server would drop them without a word."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: strict(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    return changed | {"additionalProperties": False} if named and "additionalProperties" not in schema else changed


def validator(name: str) -> jsonschema.Draft202012Validator:
    """The validator of a kind, by the name of its object's file."""
    kind = parse_yaml((KINDS / f"{name}s.yaml").read_text(encoding="utf-8"))
    return jsonschema.Draft202012Validator(strict(kind["spec"]["versions"][0]["schema"]["openAPIV3Schema"]))


@pytest.mark.parametrize("name", ["prometheusrule", "servicemonitor"])
def test_object_is_of_the_operators_kind(name: str) -> None:
    validator(name).validate(written(name))


def test_unknown_field_is_refused() -> None:
    monitor = written("servicemonitor")
    monitor["spec"]["endpoints"][0]["intervals"] = "15s"
    with pytest.raises(jsonschema.ValidationError, match="'intervals' was unexpected"):
        validator("servicemonitor").validate(monitor)


def test_monitor_selects_the_label_of_the_patch() -> None:
    kustomization = parse_yaml((COMPONENT / "kustomization.yaml").read_text(encoding="utf-8"))
    patched = parse_yaml(kustomization["patches"][0]["patch"])["metadata"]
    assert patched["name"] == "serve"
    assert written("servicemonitor")["spec"]["selector"]["matchLabels"] == patched["labels"]


def test_both_components_have_the_same_rules() -> None:
    copied = parse_yaml((ROOT / "k8s/components/prometheus-annotations/rules.yaml").read_text(encoding="utf-8"))
    assert written("prometheusrule")["spec"] == {"groups": copied["groups"]}
