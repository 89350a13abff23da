"""On a real API server: the overlays as they are written, each policy refusing, and the objects at their work."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from slipway.cluster import kubectl
from slipway.core import config, files
from slipway.errors import ConfigError
from slipway.sandbox import deploy
from support.paths import ROOT

pytestmark = pytest.mark.cluster
NAME = f"b-live-{os.getpid()}"
ZEROS = f"sha256:{64 * '0'}"
SOMEBODY = 1000660000
"""A user as OpenShift gives one, which no image knows."""
CANARY = "# components: [../../components/canary]"
OPERATOR_KINDS = ROOT / "tests/machinery/support/operator_kinds"
ADDED = {
    "prometheus-annotations": {("ConfigMap", "slipway-rules")},
    "prometheus-operator": {("PrometheusRule", "slipway"), ("ServiceMonitor", "serve")},
}
Object = dict[str, Any]


def kube(*words: str, given: Any = None, timeout: float = 180) -> str:
    return kubectl.run("-n", f"{NAME}-production", *words, stdin=json.dumps(given) if given else None, timeout=timeout)


def until(seen: Callable[[], Any], seconds: float) -> Any:
    """What `seen` returns once it is something; the test fails after `seconds`."""
    end = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(1)
    return found


def rendered(folder: Path, path: str) -> list[Object]:
    """The objects of a kustomization, as kubectl renders it."""
    return list(YAML(typ="safe").load_all(kubectl.run("kustomize", str(folder / path))))


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifests of this project under another name, so that a real one on this cluster is not touched."""
    folder = tmp_path_factory.mktemp("project")
    own = config.load(ROOT / "params.yaml").track.model
    for name in ("k8s", "argocd"):
        shutil.copytree(ROOT / name, folder / name)
    for path in [*(folder / "k8s/overlays").rglob("*.yaml"), *(folder / "argocd").rglob("*.yaml")]:
        files.write_text(
            path, re.sub(rf"\b{own}-(staging|production)\b", rf"{NAME}-\1", path.read_text(encoding="utf-8"))
        )
    return folder


@pytest.fixture(scope="module", autouse=True)
def spaces(manifests: Path, tidy: None) -> Iterator[None]:
    """The namespaces of argocd/, with k8s/policy in force."""
    assert tidy is None
    kubectl.run("apply", "-k", str(manifests / "k8s/policy"))
    kubectl.run("apply", "-R", "-f", str(manifests / "argocd/namespaces"))
    try:
        until(lambda: "pinned by digest" in refused(spoilt("Pod", lambda c: c.update(image="a:1"))), 30)
        yield
    finally:
        kubectl.run("delete", "namespace", f"{NAME}-staging", f"{NAME}-production", "--wait=false")


# What the API server takes


@pytest.fixture(scope="module")
def operator_kinds() -> Iterator[None]:
    """The two kinds of the Prometheus operator; the cluster has them afterwards only if it had them before."""
    kinds = [f"{path.stem}.monitoring.coreos.com" for path in OPERATOR_KINDS.glob("*.yaml")]
    before = kubectl.run("get", "crd", "--ignore-not-found", "-o", "name", *kinds)
    absent = [kind for kind in kinds if kind not in before]
    for kind in absent:
        kubectl.run("apply", "-f", str(OPERATOR_KINDS / f"{kind.partition('.')[0]}.yaml"))
    try:
        kubectl.run("wait", "--for=condition=Established", "--timeout=60s", *(f"crd/{kind}" for kind in kinds))
        yield
    finally:
        kubectl.run("delete", "crd", "--ignore-not-found", *absent)


@pytest.mark.parametrize("component", ["prometheus-annotations", "prometheus-operator"])
@pytest.mark.usefixtures("operator_kinds")
def test_overlay_with_alerts_is_accepted(manifests: Path, tmp_path: Path, component: str) -> None:
    folder = shutil.copytree(manifests, tmp_path / "project")
    path = folder / "k8s/overlays/production/kustomization.yaml"
    text = path.read_text(encoding="utf-8")
    assert CANARY in text
    for components in (f"../../components/{component}", f"../../components/canary, ../../components/{component}"):
        files.write_text(path, text.replace(CANARY, f"components: [{components}]"))
        objects = rendered(folder, "k8s/overlays/production")
        applied = kubectl.run("apply", "--dry-run=server", "--validate=strict", "-k", str(path.parent))
        assert applied.count("(server dry run)") == len(objects)
        assert ADDED[component] <= {(one["kind"], one["metadata"]["name"]) for one in objects}


@pytest.mark.parametrize("env", ["staging", "production", "production with the canary"])
def test_overlay_is_accepted_with_the_policies_on(manifests: Path, tmp_path: Path, env: str) -> None:
    folder = shutil.copytree(manifests, tmp_path / "project")
    path = f"k8s/overlays/{env.split()[0]}"
    if env.endswith("canary"):
        text = (folder / path / "kustomization.yaml").read_text(encoding="utf-8")
        assert CANARY in text
        files.write_text(folder / path / "kustomization.yaml", text.replace(CANARY, CANARY.removeprefix("# ")))
    objects = rendered(folder, path)
    said = kubectl.run("apply", "--dry-run=server", "-k", str(folder / path))
    assert said.count("(server dry run)") == len(objects) > 6
    assert {one["metadata"]["namespace"] for one in objects} == {f"{NAME}-{env.split()[0]}"}
    assert ("Rollout" in {one["kind"] for one in objects}) == env.endswith("canary")


def test_gate_is_told_the_digest_of_the_service(manifests: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(manifests, tmp_path / "project")
    path, digest = folder / "k8s/overlays/staging/kustomization.yaml", f"sha256:{64 * '7'}"
    files.write_text(path, re.sub(r"sha256:[0-9a-f]{64}", digest, path.read_text(encoding="utf-8")))
    objects = {one["kind"]: one for one in rendered(folder, "k8s/overlays/staging")}
    [gate] = objects["Job"]["spec"]["template"]["spec"]["containers"]
    [serve] = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert gate["env"] == [{"name": "IMAGE", "value": digest}]
    assert serve["image"].endswith(f"@{digest}")
    assert gate["image"].split("@")[0].endswith("-gate")


def test_argo_cd_accepts_project_and_applications(manifests: Path) -> None:
    said = kubectl.run("apply", "--dry-run=server", "-k", str(manifests / "argocd"))
    assert {line.split("/")[0] for line in said.splitlines()} >= {
        "namespace",
        "appproject.argoproj.io",
        "application.argoproj.io",
    }
    addresses = {
        one["spec"]["source"]["repoURL"] for one in rendered(manifests, "argocd") if one["kind"] == "Application"
    }
    [project_of] = [one for one in rendered(manifests, "argocd") if one["kind"] == "AppProject"]
    assert [*addresses] == project_of["spec"]["sourceRepos"]


# What it refuses (tests/machinery/template/test_manifests_rendered.py shows it every kind of object)


def spoilt(
    kind: str, change: Callable[[dict[str, Any]], Any], *, pod: Callable[[dict[str, Any]], Any] = bool
) -> Object:
    """A pod that keeps every rule, but for a change to its one container, or to itself; alone or in a Deployment."""
    container = {
        "name": "serve", "image": f"a@{ZEROS}", "resources": {"limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    spec = {
        "automountServiceAccountToken": False, "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }  # fmt: skip
    change(container)
    pod(spec)
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "bad"}, "spec": spec}
    labels = {"app": "bad"}
    inside = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "bad"}, "spec": inside}


def refused(one: Object) -> str:
    """What the API server says against an object; empty when it would take it."""
    try:
        kube("apply", "--dry-run=server", "-f", "-", given=one)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("kind", ["Pod", "Deployment"])
def test_what_keeps_the_rules_is_taken(kind: str) -> None:
    assert refused(spoilt(kind, bool)) == ""


@pytest.mark.parametrize(
    ("change", "pod", "said"),
    [
        (lambda c: c.update(image="a:1"), bool,
         "images must be pinned by digest (name@sha256:...): serve has a:1"),
        (lambda c: c["resources"].update(limits={"cpu": "1"}), bool,
         "containers must have resources.limits for cpu and memory: serve has none for memory"),
        (bool, lambda p: p.pop("automountServiceAccountToken"),
         "automountServiceAccountToken is not set, and must be false"),
        (bool, lambda p: p.update(volumes=[{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]),
         "a projected one is in volume t"),
        (bool, lambda p: p["securityContext"].pop("runAsNonRoot"),
         "securityContext.runAsNonRoot must be true for the pod or each container, and is not for: serve"),
        (lambda c: c["securityContext"].update(runAsUser=0), bool,
         "securityContext.runAsUser must not be 0, root, and is for: serve"),
    ],
)  # fmt: skip
def test_policy_refuses_a_deployment_in_its_own_words(change: Any, pod: Any, said: str) -> None:
    answer = refused(spoilt("Deployment", change, pod=pod))
    assert answer.startswith("the cluster's policies refuse the object: ")
    assert said in answer


def test_hook_that_never_ended_does_not_hold_its_namespace() -> None:
    pod = spoilt("Pod", bool)["spec"] | {"restartPolicy": "Never"}
    about = {"name": "held", "finalizers": ["argocd.argoproj.io/hook-finalizer"]}
    spec = {"suspend": True, "template": {"spec": pod}}
    kube("create", "-f", "-", given={"apiVersion": "batch/v1", "kind": "Job", "metadata": about, "spec": spec})
    deploy.remove_hook_finalizers(f"{NAME}-production")
    assert kube("get", "job", "held", "-o", "jsonpath={.metadata.finalizers}") == ""


# The objects at work: production's overlay with a real image


@pytest.fixture(scope="module")
def running(manifests: Path, serve_image: str) -> float:
    """Production's overlay with that image, applied and rolled out; the seconds that took."""
    path, (name, _, digest) = manifests / "k8s/overlays/production/kustomization.yaml", serve_image.partition("@")
    text = re.sub(r"(newName: ).*(\n    digest: ).*", rf"\g<1>{name}\g<2>{digest}", path.read_text(encoding="utf-8"))
    files.write_text(path, text)
    started = time.monotonic()
    kubectl.run("apply", "-k", str(path.parent))
    kube("rollout", "status", "deployment/serve", "--timeout=120s")
    return time.monotonic() - started


def pods() -> list[Object]:
    """The pods of the service that are not going, oldest first."""
    found = json.loads(kube("get", "pods", "-l", "app.kubernetes.io/name=serve", "-o", "json"))["items"]
    alive = [one for one in found if "deletionTimestamp" not in one["metadata"]]
    return sorted(alive, key=lambda one: str(one["metadata"]["creationTimestamp"]))


def ready(count: int) -> list[str]:
    """The names of the ready pods when there are `count`, else none."""
    found = [
        one["metadata"]["name"]
        for one in pods()
        if any(c["type"] == "Ready" and c["status"] == "True" for c in one["status"].get("conditions", []))
    ]
    return found if len(found) == count else []


def test_autoscaler_brings_the_second_pod(running: float) -> None:
    assert running < 60
    assert until(lambda: ready(2), 90)


def test_pod_is_nobody_with_no_token_and_nowhere_to_write(running: float) -> None:
    assert running
    pod = pods()[0]["metadata"]["name"]
    said = kube("exec", pod, "--", "sh", "-c", "id; ls /var/run/secrets 2>&1; touch /app/x /tmp/x 2>&1; pwd")
    assert "uid=10001 gid=10001 groups=10001" in said
    assert re.search(r"/var/run/secrets.*No such file", said)
    assert "touch: cannot touch '/app/x': Read-only file system" in said
    assert "/tmp/x" not in said  # noqa: S108  # the pod's own


def test_debugging_container_needs_a_digest_too(running: float) -> None:
    assert running
    with pytest.raises(ConfigError, match=r"policies refuse the object: images must be pinned by digest.*has busybox"):
        kube("debug", pods()[0]["metadata"]["name"], "--image=busybox", "--container=look", "--profile=restricted")


def test_pod_runs_as_whoever_it_is_told_to_be(running: float, manifests: Path) -> None:
    assert running
    [template] = [
        one["spec"]["template"] for one in rendered(manifests, "k8s/overlays/production") if one["kind"] == "Deployment"
    ]
    template["spec"]["securityContext"] |= {"runAsUser": SOMEBODY, "fsGroup": SOMEBODY}  # as restricted-v2 does
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "somebody"}, "spec": template["spec"]}
    kube("apply", "-f", "-", given=pod)
    try:
        kube("wait", "--for=condition=Ready", "pod/somebody", "--timeout=60s")
        assert f"uid={SOMEBODY} gid=10001" in kube("exec", "somebody", "--", "id")
    finally:
        kube("delete", "pod", "somebody", "--grace-period=1", "--wait=false")


def evict(pod: str) -> str:
    """Ask for an eviction, as a drain does; what is said against it."""
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": f"{NAME}-production"}}
    try:
        kube("create", "--raw", f"/api/v1/namespaces/{NAME}-production/pods/{pod}/eviction", "-f", "-", given=body)
    except ConfigError as error:
        return str(error)
    return ""


def test_budget_lets_one_pod_go_and_keeps_the_other(running: float) -> None:
    assert running
    one, other = until(lambda: ready(2), 90)
    until(lambda: kube("get", "pdb", "serve", "-o", "jsonpath={.status.disruptionsAllowed}") == "1", 20)
    assert evict(one) == ""
    assert "Cannot evict pod as it would violate the pod's disruption budget" in evict(other)
    assert until(lambda: ready(2), 60)


def test_autoscaler_counts_processor_time(running: float) -> None:
    assert running
    value = "jsonpath={.status.currentMetrics[0].resource.current.averageValue}"
    assert until(lambda: kube("get", "hpa", "serve", "-o", value), 90)
    # An idle pod takes some thousandths: with one as the target there must be more pods.
    target = [{"op": "replace", "path": "/spec/metrics/0/resource/target/averageValue", "value": "1m"},
              {"op": "replace", "path": "/spec/maxReplicas", "value": 3}]  # fmt: skip
    kube("patch", "hpa", "serve", "--type=json", "-p", json.dumps(target))
    assert until(lambda: len(pods()) == 3, 60)
