"""On a real cluster: the canary component takes a good change out in steps, and ends one that is fast, 200 OK and wrong."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from ruamel.yaml import YAML

from slipway.cluster import kubectl, kustomization
from slipway.core import files
from slipway.packaging import image
from support import shared_images
from support.fake_service import LIMITS
from support.paths import ROOT

pytestmark = pytest.mark.cluster
SPACE = f"g-canary-{os.getpid()}"
OPT_IN = "# components: [../../components/canary]"
ENDPOINT = {"share": 1, "min_requests": 100, "errors_at_most": 0.02, "p95_ms_at_most": 100, "p99_ms_at_most": 4000}
LOOSE = {"rate": 10, "mixed": 60, "unusual": 8, "min_requests": 60, "slower_ms_at_most": 1500}
"""Few requests, and generous: other tests share this machine."""
SECONDS = 90.0


def kube(*words: str, given: str | None = None) -> str:
    return kubectl.run("-n", SPACE, *words, stdin=given, timeout=120)


def changed(bento: Path, serve: str, folder: Path, operator: str, operand: float) -> str:
    """The image of another model: `operand` (operator) prediction, with golden answers and reference of its own."""
    models = shutil.copytree(bento / "src/models", folder / "models")
    graph = onnx.load(models / "model.onnx")
    for node in graph.graph.node:
        node.output[:] = ["before" if name == "prediction" else name for name in node.output]
    graph.graph.initializer.append(numpy_helper.from_array(np.array(operand, dtype=np.float32), "operand"))
    graph.graph.node.append(helper.make_node(operator, ["operand", "before"], ["prediction"]))
    onnx.save(graph, models / "model.onnx")
    answer = {"Sub": lambda p: operand - p, "Add": lambda p: operand + p}[operator]
    kept = files.read_json(models / "golden.json")
    files.write_json(models / "golden.json", [each | {"prediction": answer(each["prediction"])} for each in kept])
    told = files.read_json(models / "contract.json")
    if operator == "Sub":
        told["reference"]["counts"].reverse()
    files.write_json(models / "contract.json", told)
    return shared_images.remodelled(serve, models, folder / "image")


@pytest.fixture(scope="module")
def images(bento: Path, serve_image: str, gate_image: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The stable version, a good change and a wrong one, and the gate."""
    edges = files.read_json(bento / "src/models/contract.json")["reference"]["edges"]
    good, wrong = tmp_path_factory.mktemp("good"), tmp_path_factory.mktemp("wrong")
    return {
        "gate": gate_image,
        "stable": serve_image,
        "good": changed(bento, serve_image, good, "Add", 0.005 * (edges[-1] - edges[0])),
        "wrong": changed(bento, serve_image, wrong, "Sub", edges[0] + edges[-1]),
    }


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of k8s/ whose production overlay has opted in."""
    folder = shutil.copytree(ROOT / "k8s", tmp_path_factory.mktemp("project") / "k8s").parent
    path = kustomization.path("production", folder)
    text = path.read_text("utf-8")
    assert text.count(OPT_IN) == 1
    path.write_text(text.replace(OPT_IN, OPT_IN.removeprefix("# ")), "utf-8")
    return folder


def rendered(folder: Path, images: dict[str, str], name: str) -> list[dict[str, Any]]:
    """The production overlay with the image `name`, in the tests' namespace and with their short objective."""
    of = {"serve": (kustomization.path("production", folder), images[name]),
          "gate": (folder / image.GATE_KUSTOMIZATION, images["gate"])}  # fmt: skip
    for what, (path, ref) in of.items():
        text, (new_name, _, digest) = path.read_text("utf-8"), ref.partition("@")
        before = kustomization.read(text, what).new_name
        text = text.replace(f"newName: {before}\n", f"newName: {new_name}\n")
        path.write_text(kustomization.with_digest(text, what, digest), "utf-8")
    out = kubectl.call("kubectl", "kustomize", str(kustomization.path("production", folder).parent))
    found = [one for one in YAML(typ="safe").load_all(out) if one]
    for one in found:
        one["metadata"]["namespace"] = SPACE
        if one["kind"] == "ConfigMap":
            objective = YAML(typ="safe").load(one["data"]["slo.yaml"])
            objective |= {"endpoints": {"POST /predict": ENDPOINT}, "golden_difference_at_most": 1e-3}
            objective["canary"] = LIMITS.model_dump() | LOOSE
            one["data"]["slo.yaml"] = json.dumps(objective)
    return found


Apply = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def release(images: dict[str, str], production: Path) -> Iterator[Apply]:
    """`release("good", "Healthy")`: apply that version and wait for the Rollout's phase; its status."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "slipway/policy": "enforced"}
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}
    kubectl.run("create", "-f", "-", stdin=json.dumps(space))

    def apply(name: str, phase: str, *, port: int = 3000) -> dict[str, Any]:
        objects = rendered(production, images, name)
        for one in objects:
            if one["metadata"]["name"] == "serve-canary":
                one["spec"]["ports"][0]["port"] = port
        kube("apply", "-f", "-", given="\n---\n".join(json.dumps(one) for one in objects))
        return wait(images[name], phase)

    try:
        yield apply
    finally:
        kubectl.run("delete", "namespace", SPACE, "--wait=false")


def rollout() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(kube("get", "rollout", "serve", "-o", "json"))
    return found


def wait(ref: str, phase: str) -> dict[str, Any]:
    """The status once the controller has said `phase` of exactly the version that was applied."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        found = rollout()
        status: dict[str, Any] = found.get("status", {})
        seen = status.get("observedGeneration") == str(found["metadata"]["generation"])
        ours = found["spec"]["template"]["spec"]["containers"][0]["image"] == ref
        if seen and ours and status.get("phase") == phase:
            return status
        time.sleep(0.5)
    pytest.fail(f"not {phase} after {SECONDS:g} s: {json.dumps(status)[:3000]}\n{kube('get', 'events')[-3000:]}")


def verdicts(ref: str) -> list[dict[str, Any]]:
    """What the analysis Jobs of a version said, from their logs; each was started from that very image.

    A pod's log has stdout and stderr in one, in no sure order.
    """
    jobs = json.loads(kube("get", "jobs", "--sort-by=.metadata.creationTimestamp", "-o", "json"))["items"]
    of = [job for job in jobs if job["spec"]["template"]["spec"]["initContainers"][0]["image"] == ref]
    logs = [kube("logs", f"job/{job['metadata']['name']}", "-c", "gate") for job in of]
    return [json.loads(next(line for line in log.splitlines() if line.startswith("{"))) for log in logs]


def answers(bento: Path) -> None:
    """The service still gives the stable model's answers, through its one address."""
    path = f"/api/v1/namespaces/{SPACE}/services/serve:http/proxy/predict"
    kept = files.read_json(bento / "src/models/golden.json")
    said = kube("create", "--raw", path, "-f", "-", given=json.dumps([each["row"] for each in kept]))
    assert json.loads(said)["predictions"] == pytest.approx([each["prediction"] for each in kept], abs=1e-3)


def test_releases_go_out_in_steps(release: Apply, images: dict[str, str], bento: Path) -> None:
    first = release("stable", "Healthy")
    assert first["currentStepIndex"] == 4  # nothing to compare with: the first version skips all steps
    assert kube("get", "analysisruns", "-o", "name") == ""
    assert {pod_image(pod) for pod in pods()} == {images["stable"]}

    wrong = release("wrong", "Degraded")  # its own golden answers and reference agree with it
    assert (wrong["abort"], wrong["stableRS"]) == (True, first["stableRS"])
    (said,) = verdicts(images["wrong"])
    assert said["verdict"] == "fail"
    assert said["inputs"]["image"] == images["wrong"].partition("@")[2]
    no = {check["name"] for check in said["checks"] if check["ok"] is False}
    assert {"mean difference to the stable", "order of the rows as the stable's"} <= no
    assert not no & {"difference to its golden answers", "errors of the canary", "model served by the canary"}
    answers(bento)

    deaf = release("good", "Degraded", port=3001)  # nobody answers where the canary is asked
    assert deaf["stableRS"] == first["stableRS"]
    (said,) = verdicts(images["good"])
    assert said["verdict"] == "unsure"
    answers(bento)

    assert release("stable", "Healthy")["stableRS"] == first["stableRS"]  # Git goes back: at once, without steps
    good = release("good", "Healthy")
    assert good["stableRS"] == good["currentPodHash"] != first["stableRS"]
    assert [each["verdict"] for each in verdicts(images["good"])] == ["unsure", "pass", "pass"]
    assert {pod_image(pod) for pod in pods()} == {images["good"]}


def pods() -> list[dict[str, Any]]:
    """The service's pods that stay."""
    found = json.loads(kube("get", "pods", "-l", "app.kubernetes.io/name=serve", "-o", "json"))["items"]
    return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def pod_image(pod: dict[str, Any]) -> str:
    return str(pod["spec"]["containers"][0]["image"])
