"""On a real cluster: both images as locked-down pods of anybody's number, and the gate that judges the service there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import kubectl
from slipway.core import environment, files
from slipway.packaging import package
from slipway.sandbox import doctor
from slipway.serving import golden, local_server
from support import shared_images
from support.paths import ROOT

pytestmark = pytest.mark.cluster
SPACE = f"a-images-{os.getpid()}"
SOMEBODY = 1000660000
"""A user as OpenShift gives one, which no image knows."""
SLO = {
    "schedules": {"machine": {"rate": 60, "seconds": 2, "users": 4}, "cluster": {"rate": 60, "seconds": 3, "users": 40}},
    "achieved_ratio_at_least": 0.9, "generator": {"lag_ms_at_most": 200, "cpu_at_most": 0.95}, "golden_difference_at_most": 1e-4,
    "endpoints": {"POST /predict": {"share": 1, "min_requests": 150, "errors_at_most": 0.01,
                                    "p95_ms_at_most": 400, "p99_ms_at_most": 1500}},
}  # fmt: skip
SLOW = """
import itertools, time, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
asked_before = itertools.count()
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)) or None
        time.sleep(0.5 if body and next(asked_before) > FAST else 0)
        asked = urllib.request.Request("http://serve:3000" + self.path, body, {"content-type": "application/json"})
        with urllib.request.urlopen(asked) as answer:
            said = answer.read()
        self.send_response(200); self.send_header("content-length", str(len(said))); self.end_headers(); self.wfile.write(said)
    do_GET = do_POST
ThreadingHTTPServer(("", 3000), Handler).serve_forever()
"""
"""The service's answers, each half a second late; but not the first ones, which are the golden requests'."""
PIP = "import importlib.util as found; print(found.find_spec('pip'))"


def kube(*words: str, given: Any = None, timeout: float = 180) -> str:
    return kubectl.run("-n", SPACE, *words, stdin=json.dumps(given) if given else None, timeout=timeout)


@pytest.fixture(scope="module", autouse=True)
def space() -> Iterator[None]:
    """A namespace that admits only what is restricted."""
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/enforce-version": "latest",
    }
    found = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE, "labels": labels}}
    kubectl.run("create", "-f", "-", stdin=json.dumps(found))
    try:
        kube("create", "configmap", "slo", f"--from-literal=slo.yaml={json.dumps(SLO)}")
        yield
    finally:
        kubectl.run("delete", "namespace", SPACE, "--wait=false")


@pytest.fixture(scope="module")
def wrong(bento: Path, serve_image: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same image with another model: fast, 200 OK, and wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    models = shutil.copytree(bento / "src/models", folder / "models")
    (models / "model.onnx").write_bytes(other((models / "model.onnx").read_bytes()))
    return shared_images.remodelled(serve_image, models, folder / "image")


def other(graph: bytes) -> bytes:
    """A graph that adds 3 to every prediction."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph)
    (out,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if name == out.name else name for name in node.output]
    model.graph.initializer.append(helper.make_tensor("three", TensorProto.FLOAT, [1], [3.0]))
    model.graph.node.append(helper.make_node("Add", ["before", "three"], [out.name]))
    return bytes(model.SerializeToString())


def spec(main: dict[str, Any], *first: dict[str, Any], who: tuple[int, int] | None, **more: Any) -> dict[str, Any]:
    """A pod as locked down as production's, of a user and group; None is the image's own."""
    locked = {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("tmp", "models", "slo")]
    own = {"securityContext": locked, "volumeMounts": mounts}
    volumes = [{"name": "slo", "configMap": {"name": "slo"}}, *({"name": n, "emptyDir": {}} for n in ("tmp", "models"))]
    somebody = {"runAsUser": who[0], "runAsGroup": who[1]} if who else {}
    return {
        "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1, "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **somebody},
        "initContainers": [each | own for each in first], "containers": [main | own], "volumes": volumes, **more,
    }  # fmt: skip


def service(name: str, container: dict[str, Any], *, who: tuple[int, int] | None) -> None:
    """A pod, and a Service of its name before it."""
    labels = {"app.kubernetes.io/name": name}
    probe = {"httpGet": {"path": "/readyz", "port": 3000}, "periodSeconds": 1}
    main = {"name": "main", "ports": [{"containerPort": 3000, "name": "http"}], "readinessProbe": probe, **container}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
           "spec": spec(main, who=who)}  # fmt: skip
    front = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
             "spec": {"selector": labels, "ports": [{"port": 3000, "targetPort": "http"}]}}  # fmt: skip
    kube("create", "-f", "-", given={"apiVersion": "v1", "kind": "List", "items": [pod, front]})


@pytest.fixture(scope="module")
def running(serve_image: str, wrong: str, gate_image: str, packable: Path) -> None:
    """Three services: the right one, a wrong one, and one that answers late."""
    fast = f"FAST = {len(files.read_json(packable / package.GOLDEN))}"
    service("serve", {"image": serve_image}, who=(SOMEBODY, 0))
    service("wrong", {"image": wrong}, who=None)
    service("slow", {"image": gate_image, "command": ["python", "-c", fast + SLOW]}, who=(SOMEBODY, SOMEBODY))
    for name in ("serve", "wrong", "slow"):
        kube("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


Judged = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def judged(running: None, serve_image: str, gate_image: str) -> Judged:
    """`judged("serve")`: the gate as a Job, as the staging overlay has it: its exit code, its verdict, all it said."""
    assert running is None

    def run(name: str) -> tuple[int, dict[str, Any], str]:
        digest, source = serve_image.partition("@")[2], "/app/bento/src/models"
        copy = [f"{source}/{file}" for file in ("contract.json", "golden.json", "model.onnx")]
        first = {"name": "models", "image": serve_image, "command": ["cp", *copy, "/models/"]}
        words = ["load", "--host", f"http://{name}:3000", "--of", digest]
        main = {"name": "gate", "image": gate_image, "args": words}
        pod = spec(main, first, who=(SOMEBODY, SOMEBODY), restartPolicy="Never")
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": f"gate-{name}-"},
               "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 120, "template": {"spec": pod}}}  # fmt: skip
        made = kube("create", "-f", "-", "-o", "name", given=job).split("/")[-1].strip()
        return ended(made)

    return run


def ended(job: str) -> tuple[int, dict[str, Any], str]:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        pods = json.loads(kube("get", "pods", "-l", f"job-name={job}", "-o", "json"))["items"]
        states = [s["state"] for pod in pods for s in pod["status"].get("containerStatuses", [])]
        if states and "terminated" in states[0]:
            said = kube("logs", f"job/{job}", "-c", "gate")
            last = said.strip().splitlines()[-1]
            return states[0]["terminated"]["exitCode"], json.loads(last) if last.startswith("{") else {}, said
        time.sleep(0.5)
    pytest.fail(kube("describe", "job", job) + kube("get", "pods", "-o", "wide"))


def test_doctor_sees_the_cluster() -> None:
    """Without a cluster these tests fail: skipped in silence they would look green."""
    seen = doctor.inspect_machine(ROOT, environment.for_programs(ROOT))
    assert seen["cluster"]
    assert seen["registry"]
    assert seen["image builder"] or environment.image_builder()


def test_pod_of_anybody_gives_the_golden_answers(running: None, packable: Path) -> None:
    assert running is None
    rows, port = files.read_json(packable / package.GOLDEN), local_server.find_free_port()
    with subprocess.Popen(["kubectl", "-n", SPACE, "port-forward", "pod/serve", f"{port}:3000"],
                          stdout=subprocess.PIPE, text=True) as forward:  # fmt: skip
        try:
            assert forward.stdout
            assert "Forwarding" in forward.stdout.readline()
            check = golden.replay(f"http://127.0.0.1:{port}", rows, tolerance=1e-4)
        finally:
            forward.terminate()
    assert check.ok, check
    found = json.loads(kube("get", "pod", "serve", "-o", "json"))
    assert re.search(r"@sha256:[0-9a-f]{64}$", found["spec"]["containers"][0]["image"])
    assert found["status"]["containerStatuses"][0]["restartCount"] == 0
    assert f"uid={SOMEBODY}" in kube("exec", "serve", "--", "id")


@pytest.mark.parametrize("name", ["serve", "slow"])
def test_images_hold_no_tools(running: None, name: str) -> None:
    assert running is None
    look = "for tool in pip pip3 gcc cc git make uv; do command -v $tool; done; exit 0"
    assert kube("exec", name, "--", "sh", "-c", look) == ""
    pythons = ("/app/venv/bin/python", "/usr/local/bin/python3")
    found = [kube("exec", name, "--", one, "-c", PIP).strip() for one in pythons]
    assert found == ["None", "None"]


def test_gate_passes_the_right_service(judged: Judged, bento: Path, serve_image: str) -> None:
    code, verdict, said = judged("serve")
    assert (code, verdict.get("verdict")) == (0, "pass"), said
    assert verdict["rows"] == 180
    assert verdict["inputs"] == {"image": serve_image.partition("@")[2],
                                 "model_sha256": files.sha256(bento / "src/models/model.onnx")}  # fmt: skip


def test_gate_refuses_fast_and_wrong(judged: Judged) -> None:
    code, verdict, said = judged("wrong")
    assert (code, verdict.get("verdict")) == (4, "fail"), said
    refused = {check["name"] for check in verdict["checks"] if check["ok"] is False}
    assert {name for name in refused if not name.startswith("POST /predict p")} == {  # a busy machine is slow, too
        "model served", "golden requests through the bento", "model served, after the load"}  # fmt: skip


def test_gate_refuses_right_and_slow(judged: Judged) -> None:
    code, verdict, said = judged("slow")
    assert (code, verdict.get("verdict")) == (4, "fail"), said
    refused = {check["name"] for check in verdict["checks"] if check["ok"] is False}
    assert refused == {"POST /predict p95_ms"}, said
    assert verdict["rows"] == 180, "all were sent and answered: latency is the only reason"
