"""k8s/ and argocd/ as they are written, without a cluster: one image each, names that agree, selectors that find their pods."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from slipway.core import config
from slipway.judging import latency_statistics
from slipway.loadtest import canary, slo
from support.paths import ROOT

FILES = sorted(path for folder in ("k8s", "argocd") for path in (ROOT / folder).rglob("*.yaml"))
ENVIRONMENTS = sorted(path.parent.name for path in (ROOT / "k8s/overlays").glob("*/kustomization.yaml"))
SERVED = [ROOT / "k8s" / name for name in ("base", "overlays", "components")]
"""Folders that Argo CD applies; a person applies k8s/policy."""
BUILT = {"Kustomization", "Component"}
LAST = re.compile(r"\nimages:\n  - name: (\w+)\n    newName: (\S+)\n    digest: (sha256:[0-9a-f]{64})\n\Z")
"""The end of an overlay: the only lines that machines write."""
PROGRAMS = {"components/gate": "gate", "components/prediction-log": "uploader"}
"""Components that pin the image of a program."""


def text(path: Path | str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def load(path: Path | str) -> Any:
    return YAML(typ="safe").load(text(path))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def objects() -> dict[str, dict[str, Any]]:
    """Kubernetes objects (and patches that look like one) of k8s/base, overlays and components, by file."""
    found = {name(path): load(path) for path in FILES if any(path.is_relative_to(folder) for folder in SERVED)}
    return {
        path: one for path, one in found.items() if isinstance(one, dict) and "kind" in one and one["kind"] not in BUILT
    }


def inside(one: Any) -> Iterator[dict[str, Any]]:
    """Every mapping in a document."""
    if isinstance(one, dict):
        yield one
    for item in one.values() if isinstance(one, dict) else one if isinstance(one, list) else ():
        yield from inside(item)


def templates() -> dict[str, dict[str, Any]]:
    """Whole pod templates, by file: the ones with an image."""
    found = {
        path: next((m["template"] for m in inside(one) if "template" in m), None) for path, one in objects().items()
    }
    return {path: one for path, one in found.items() if one and "image" in one["spec"]["containers"][0]}


def containers() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """File, pod and container of every container."""
    pods = [(path, one["spec"]) for path, one in templates().items()]
    return [(path, pod, c) for path, pod in pods for c in [*pod["containers"], *pod.get("initContainers", [])]]


OBJECTS, TEMPLATES, CONTAINERS = objects(), templates(), containers()
BASE = load("k8s/base/deployment.yaml")
POD = BASE["spec"]["template"]["spec"]


# Files


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_opens_with_what_it_is_for(path: Path) -> None:
    if path == ROOT / "k8s/base/slo.yaml" or (
        path.parent.parent.name == "components" and "kustomization" not in path.name
    ):
        return
    first = text(path).splitlines()[0]
    assert first.startswith("# ")
    assert len(first.split()) >= 4


@pytest.mark.parametrize("path", FILES, ids=name)
def test_file_holds_one_document(path: Path) -> None:
    assert "\n---" not in text(path)


def test_objects_of_the_base_are_named_by_their_kind() -> None:
    base = {path: one["kind"].lower() for path, one in OBJECTS.items() if path.startswith("k8s/base/")}
    assert {path: f"k8s/base/{kind}.yaml" for path, kind in base.items()} == {path: path for path in base}


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=name)
def test_no_file_is_left_out(folder: Path) -> None:
    home = folder if (folder / "kustomization.yaml").exists() else folder.parent
    listed = text(home / "kustomization.yaml")
    for path in folder.glob("*.yaml"):
        assert path.name == "kustomization.yaml" or path.name in listed, f"{name(path)} is in no kustomization"


def test_objective_is_a_fresh_copy() -> None:
    assert text("k8s/base/slo.yaml") == text("loadtests/slo.yaml"), "run: make lock"


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_set_that_others_own(path: Path) -> None:
    one = load(path)
    keys = {key for mapping in inside(one) for key in mapping}
    assert not keys & {"commonLabels", "generateName", "runAsUser", "newTag", "ttlSecondsAfterFinished"}
    if "replicas" in keys:  # the autoscaler's, but where there is none
        assert "$patch: delete" in text(path.parent / "horizontalpodautoscaler.yaml")


# Images


def test_every_image_is_a_name_that_an_overlay_pins() -> None:
    images = {str(one["image"]) for _, _, one in CONTAINERS}
    assert images == {"serve", "gate"}
    for path, one in OBJECTS.items():
        assert {str(m["image"]) for m in inside(one) if "image" in m} <= images | {"None", "uploader"}, path


@pytest.mark.parametrize("path", ["overlays/staging", "overlays/production", *PROGRAMS])
def test_overlay_ends_with_the_lines_that_machines_write(path: str) -> None:
    said = text(f"k8s/{path}/kustomization.yaml")
    found = LAST.search(said)
    assert found, f"k8s/{path}/kustomization.yaml"
    assert found[1] == PROGRAMS.get(path, "serve")
    assert said.count("digest: sha256:") == said.count("newName:") == 1


def test_images_go_where_staging_says() -> None:
    staging, production, gate, uploader = (
        LAST.search(text(f"k8s/{path}/kustomization.yaml"))
        for path in ("overlays/staging", "overlays/production", *PROGRAMS)
    )
    assert staging
    assert production
    assert gate
    assert production[2] == staging[2]
    assert gate[2] == f"{staging[2]}-gate"
    assert uploader
    assert uploader[2] == f"{staging[2]}-uploader"


# Pods


@pytest.mark.parametrize(
    ("path", "pod", "one"), CONTAINERS, ids=[f"{path}:{one['name']}" for path, _, one in CONTAINERS]
)
def test_container_is_locked_down(path: str, pod: dict[str, Any], one: dict[str, Any]) -> None:
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert one["securityContext"] == {
        "runAsGroup": 10001,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is pod["enableServiceLinks"] is False
    for what in ("requests", "limits"):
        assert set(one["resources"][what]) == {"cpu", "memory"}
    empty = [volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume]
    assert all("sizeLimit" in volume for volume in empty), path


def test_pods_outlive_their_longest_request() -> None:
    waits = POD["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    longest = re.search(r'traffic=\{"timeout": (\d+)\}', text("src/slipway/serving/service.py"))
    assert longest
    assert POD["terminationGracePeriodSeconds"] >= waits + int(longest[1]) + 5


def test_rollout_never_goes_below_what_serves_and_gives_up_soon() -> None:
    assert BASE["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    start = POD["containers"][0]["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] < BASE["spec"]["progressDeadlineSeconds"] <= 120


def test_probes_ask_the_service_for_what_they_mean() -> None:
    paths = {
        kind: POD["containers"][0][f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")
    }
    assert paths == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/livez"}


def test_account_has_no_token() -> None:
    assert load("k8s/base/serviceaccount.yaml")["automountServiceAccountToken"] is False


def test_selectors_find_their_pods() -> None:
    labels = [one["metadata"]["labels"] for one in TEMPLATES.values()]
    assert len({one["app.kubernetes.io/name"] for one in labels}) == len(TEMPLATES)
    asked = [(path, m["matchLabels"]) for path, one in OBJECTS.items() for m in inside(one) if "matchLabels" in m]
    asked += [(path, one["spec"]["selector"]) for path, one in OBJECTS.items() if one["kind"] == "Service"]
    assert len(asked) >= 8
    namespaces = {"slipway/calls": "serve"}  # the label of a namespace that is let in
    for path, wanted in asked:
        assert wanted == namespaces or any(wanted.items() <= one.items() for one in labels), f"{path} finds no pod"


def test_every_pod_has_a_network_policy_of_both_directions() -> None:
    policies = [one["spec"] for one in OBJECTS.values() if one["kind"] == "NetworkPolicy"]
    assert all(sorted(one["policyTypes"]) == ["Egress", "Ingress"] for one in policies)
    held = {one["podSelector"]["matchLabels"]["app.kubernetes.io/name"] for one in policies}
    assert held == {one["metadata"]["labels"]["app.kubernetes.io/name"] for one in TEMPLATES.values()}


def test_service_calls_nobody_and_answers_on_one_port() -> None:
    spec = load("k8s/base/networkpolicy.yaml")["spec"]
    assert spec["egress"] == []
    assert [rule["ports"] for rule in spec["ingress"]] == [[{"port": "http"}]]


def test_ports_are_named_and_exist() -> None:
    [port] = POD["containers"][0]["ports"]
    assert port == {"name": "http", "containerPort": 3000}
    for path, one in OBJECTS.items():
        if one["kind"] == "Service":
            assert [p["targetPort"] for p in one["spec"]["ports"]] == ["http"], path
            assert [p["port"] for p in one["spec"]["ports"]] == [3000], path


def test_autoscaler_and_budget_are_about_the_deployment() -> None:
    assert load("k8s/base/horizontalpodautoscaler.yaml")["spec"]["scaleTargetRef"] == {
        "apiVersion": BASE["apiVersion"], "kind": BASE["kind"], "name": BASE["metadata"]["name"],
    }  # fmt: skip
    assert load("k8s/base/poddisruptionbudget.yaml")["spec"]["selector"] == BASE["spec"]["selector"]


# The gate


def test_load_gate_is_a_hook_whose_log_stays() -> None:
    job = load("k8s/overlays/staging/load-gate.yaml")
    said = job["metadata"]["annotations"]
    assert said["argocd.argoproj.io/hook"] == "PostSync"
    assert said["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    assert job["metadata"]["name"] == "load-gate"
    assert job["spec"]["backoffLimit"] == 0


def test_load_gate_has_time_for_its_schedule() -> None:
    deadline = load("k8s/overlays/staging/load-gate.yaml")["spec"]["activeDeadlineSeconds"]
    assert load("loadtests/slo.yaml")["schedules"]["cluster"]["seconds"] + 60 < deadline <= 300


def test_objective_is_valid_and_agrees_with_the_parameters() -> None:
    objective = slo.read(ROOT / slo.PATH)
    assert objective.golden_difference_at_most == config.load(ROOT / "params.yaml").package.tolerance
    for schedule in objective.schedules.values():
        least = sum(endpoint.min_requests for endpoint in objective.endpoints.values())
        assert schedule.rate * schedule.seconds >= least
    assert canary.Limits.model_validate(objective.canary)
    assert latency_statistics.own_limits(ROOT)


def test_load_gate_is_told_what_it_judges() -> None:
    [gate] = load("k8s/overlays/staging/load-gate.yaml")["spec"]["template"]["spec"]["containers"]
    assert gate["args"][-2:] == ["--of", "$(IMAGE)"]
    [rule] = load("k8s/overlays/staging/kustomization.yaml")["replacements"]
    assert rule["source"]["kind"] == "Deployment"
    assert rule["source"]["options"] == {"delimiter": "@", "index": 1}
    assert rule["targets"][0]["fieldPaths"] == ["spec.template.spec.containers.[name=gate].env.[name=IMAGE].value"]


def test_canary_takes_its_limits_from_slo_yaml() -> None:
    [metric] = load("k8s/components/canary/analysistemplate.yaml")["spec"]["metrics"]
    pod = metric["provider"]["job"]["spec"]["template"]["spec"]
    [gate] = pod["containers"]
    assert {"name": "slo", "mountPath": "/slo", "readOnly": True} in gate["volumeMounts"]
    assert {"name": "slo", "configMap": {"name": "slo"}} in pod["volumes"]
    assert [each for each in gate["args"] if each.startswith("--")] == ["--stable", "--canary", "--of"]


# Argo CD


PROJECT = load("argocd/project.yaml")


def test_project_allows_exactly_the_kinds_that_are_written() -> None:
    kinds = {(one["apiVersion"].rpartition("/")[0], one["kind"]) for one in OBJECTS.values()}
    kinds |= {("", "ConfigMap")} if "configMapGenerator" in load("k8s/base/kustomization.yaml") else set()
    if (ROOT / "k8s/components/canary/rollout.yaml").exists():
        kinds |= {("argoproj.io", "Rollout")}  # a patch makes it of the Deployment
    allowed = [(one["group"], one["kind"]) for one in PROJECT["spec"]["namespaceResourceWhitelist"]]
    assert sorted(allowed) == sorted(kinds)
    assert PROJECT["spec"]["clusterResourceWhitelist"] == []


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_names_agree(env: str) -> None:
    model = config.load(ROOT / "params.yaml").track.model
    app, namespace = load(f"argocd/{env}.yaml"), load(f"argocd/namespaces/{env}.yaml")
    overlay = load(f"k8s/overlays/{env}/kustomization.yaml")
    places = [app["metadata"]["name"], app["spec"]["destination"]["namespace"], namespace["metadata"]["name"]]
    assert {*places, overlay["namespace"]} == {f"{model}-{env}"}
    assert app["spec"]["project"] == PROJECT["metadata"]["name"] == model
    assert {"server": app["spec"]["destination"]["server"], "namespace": f"{model}-{env}"} in PROJECT["spec"][
        "destinations"
    ]
    assert app["spec"]["source"]["path"] == f"k8s/overlays/{env}"
    assert len(PROJECT["spec"]["destinations"]) == len(ENVIRONMENTS)


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_applications_follow_git_and_never_try_twice(env: str) -> None:
    app = load(f"argocd/{env}.yaml")
    assert app["spec"]["syncPolicy"] == {"automated": {"prune": True, "selfHeal": True}, "retry": {"limit": 0}}
    assert "finalizers" not in app["metadata"]


def test_repository_is_named_once() -> None:
    addresses = [path for path in FILES if path.is_relative_to(ROOT / "argocd") and re.search(r"\.git\b", text(path))]
    assert [name(path) for path in addresses] == ["argocd/project.yaml"]
    [rule] = load("argocd/kustomization.yaml")["replacements"]
    assert rule["source"] == {"kind": "AppProject", "fieldPath": "spec.sourceRepos.0"}
    assert rule["targets"][0]["fieldPaths"] == ["spec.source.repoURL"]


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_namespaces_are_restricted_and_under_the_policies(env: str) -> None:
    labels = load(f"argocd/namespaces/{env}.yaml")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    bound = load("k8s/policy/bindings/every.yaml")["spec"]["matchResources"]["namespaceSelector"]["matchLabels"]
    assert bound.items() <= labels.items()


# Policies


def test_every_policy_is_in_force() -> None:
    policies = {load(path)["metadata"]["name"] for path in (ROOT / "k8s/policy").glob("[!ek]*.yaml")}
    bound = {load(path)["spec"].get("policyName") for path in (ROOT / "k8s/policy/bindings").glob("*.yaml")}
    assert policies == bound - {None} == {"slipway-images", "slipway-limits", "slipway-token", "slipway-user"}
    assert load("k8s/policy/bindings/every.yaml")["spec"]["validationActions"] == ["Deny"]
    assert load("k8s/policy/every.yaml")["spec"]["failurePolicy"] == "Fail"


def test_policies_bring_no_variables_of_their_own() -> None:
    for path in (ROOT / "k8s/policy").glob("[!ek]*.yaml"):
        spec = load(path)["spec"]
        assert set(spec) == {"validations"}, f"{name(path)}: kustomize would replace what every.yaml says"
        assert all("messageExpression" in one for one in spec["validations"])
