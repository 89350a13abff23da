"""The rules in Python; template/test_manifests_rendered.py shows the same objects to an API server that has k8s/policy."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML

from slipway.cluster import admission_rules
from slipway.cluster.admission_rules import RULES, check_rules, pod_specs
from support.paths import ROOT
from support.sample_pods import BAD, GOOD, KINDS, made, pod

POLICY = ROOT / "k8s/policy"


def broken(spec: admission_rules.PodSpec) -> list[str]:
    """The rules that a pod's spec breaks."""
    return [rule for rule, (look, _) in RULES.items() if look(spec)]


@pytest.mark.parametrize(("rule", "spec"), BAD.values(), ids=BAD)
def test_each_bad_pod_breaks_its_rule_and_no_other(rule: str, spec: admission_rules.PodSpec):
    assert broken(spec) == [rule]


@pytest.mark.parametrize("spec", GOOD.values(), ids=GOOD)
def test_a_good_pod_breaks_none(spec: admission_rules.PodSpec):
    assert broken(spec) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_pod_is_found_in_whatever_makes_it(kind: str):
    [spec] = pod_specs(made(kind, "a", pod()))
    assert spec["containers"] == pod()["containers"]


def test_a_job_that_an_analysis_will_make_is_looked_into():
    job = {"spec": {"template": {"spec": pod()}}}
    metrics = [{"provider": {"job": job}}, {"provider": {"prometheus": {"query": "1"}}}]
    one = {"kind": "AnalysisTemplate", "metadata": {"name": "a"}, "spec": {"metrics": metrics}}
    assert list(pod_specs(one)) == [pod()]


def test_what_holds_no_pod_of_its_own_has_none():
    assert list(pod_specs({"kind": "Service", "metadata": {"name": "a"}})) == []
    assert list(pod_specs({"kind": "Rollout", "metadata": {"name": "a"}, "spec": {"workloadRef": {"name": "b"}}})) == []


def test_a_container_for_debugging_needs_a_digest_but_no_limits():
    spec = pod(ephemeralContainers=[{"name": "debug", "image": "sh:1"}])
    assert broken(spec) == ["images"]


def test_two_breaches_of_a_rule_are_both_said():
    spec = BAD["a token in a volume"][1] | {"automountServiceAccountToken": True}
    assert admission_rules.mounted_tokens(spec) == ["automountServiceAccountToken is true", "volume t holds one"]
    spec = pod(securityContext={"runAsUser": 0}, initContainers=[])
    assert admission_rules.root_users(spec) == ["container serve may run as root", "container serve runs as user 0"]


def test_every_rule_is_a_check_that_names_who_breaks_it():
    good = made("Deployment", "serve", pod())
    bad = made("Job", "gate", BAD["a tag"][1])
    found = {check.name: check for check in check_rules({"staging": [good, bad], "production": [good]})}
    assert list(found) == [f"rule {rule}" for rule in RULES]
    assert found["rule images"].value == "staging Job gate: container serve has the image a:1, without a digest"
    assert found["rule images"].ok is False
    assert found["rule user"].value == "3 pods"
    assert found["rule user"].ok is True


def test_many_breaches_are_counted():
    [check, *_] = check_rules({"staging": [made("Deployment", f"d{i}", BAD["a tag"][1]) for i in range(9)]})
    assert check.value is not None
    assert str(check.value).endswith(
        "staging Deployment d2: container serve has the image a:1, without a digest; and 6 more"
    )


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("CronJob", {}), ("CronJob", {"jobTemplate": None}), ("Deployment", {"template": None}),
        ("Deployment", {"template": {"spec": {}}}), ("Deployment", {"template": {"spec": {"containers": None}}}),
        ("Pod", {"containers": 1}), ("Pod", {"initContainers": []}),
    ],
)  # fmt: skip
def test_what_has_not_the_form_of_its_kind_breaks_every_rule(kind: str, spec: dict[str, object]):
    found = check_rules(
        {"staging": [made("Pod", "good", pod()), {"kind": kind, "metadata": {"name": "a"}, "spec": spec}]}
    )
    assert {check.value for check in found} == {f"staging {kind} a: its fields do not have the form of its kind"}
    assert {check.ok for check in found} == {False}


def test_without_pods_no_rule_is_said_to_hold():
    assert check_rules({"staging": [{"kind": "Service", "metadata": {"name": "a"}}], "production": []}) == []


def test_rules_are_those_of_the_policies():
    named = [name for path in sorted(POLICY.glob("*.yaml")) if path.stem not in ("kustomization", "every")
             for name in [YAML(typ="safe").load(path.read_text("utf-8"))["metadata"]["name"]]]  # fmt: skip
    assert sorted(named) == sorted(f"slipway-{rule}" for rule in RULES)


def test_kinds_are_those_of_the_policies():
    text = (POLICY / "every.yaml").read_text("utf-8")
    told = {word for row in re.findall(r"resources: \[(.*?)\]", text) for word in row.split(", ") if "/" not in word}
    assert told == {f"{kind.lower()}s" for kind in KINDS}
