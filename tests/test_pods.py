"""On a real cluster: the image of a bento is built, pulled by digest, and answers as a locked-down pod."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from slipway import config, doctor, environment, files, image, package

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).resolve().parents[1]
PORT = 3000
NAME = f"slipway-test-{os.getpid()}"


def call(*command: str, given: str | None = None, timeout: float = 600) -> str:
    done = subprocess.run(
        command, input=given, capture_output=True, text=True, encoding="utf-8", timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def seen() -> dict[str, str | None]:
    """What doctor sees. Without a cluster these tests fail: skipped in silence they would look green."""
    found = doctor.look(ROOT, environment.programs(ROOT))
    for name in ("kubectl", "cluster", "registry"):
        if not found[name]:
            pytest.fail(
                f"no {name} in reach; `.venv/bin/slipway doctor` says how to get one, KUBECONFIG and REGISTRY name it"
            )
    return found


def build(context: Path) -> str:
    """Build and push the image of a bento with whatever builds here; `name@sha256:…`."""
    return image.build("serve", context, f"{os.environ['REGISTRY']}/{NAME}:1", {}, root=ROOT)


def pod(name: str) -> dict[str, Any]:
    """As locked down as production's: numeric user, read-only root, nothing to escalate with."""
    container = {
        "name": "serve",
        "image": name,
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1},
        "securityContext": {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own, empty
    }
    spec = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 5,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec}


@pytest.fixture(scope="module")
def forwarded(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The bento's image as a ready pod, and the port of this machine that leads to it."""
    context = shutil.copytree(bento, tmp_path_factory.mktemp("image") / "bento")
    call("kubectl", "apply", "-f", "-", given=json.dumps(pod(build(context))))
    forward = None
    try:
        try:
            call("kubectl", "wait", "--for=condition=Ready", f"pod/{NAME}", "--timeout=120s")
        except AssertionError as error:
            said = call("kubectl", "describe", "pod", NAME) + call("kubectl", "logs", NAME, "--tail=40")
            pytest.fail(f"{error}\n{said}")
        forward = subprocess.Popen(
            ["kubectl", "port-forward", f"pod/{NAME}", f":{PORT}", "--address=127.0.0.1"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert forward.stdout
        port = re.search(r":(\d+) ->", forward.stdout.readline())
        assert port
        yield int(port.group(1))
    finally:
        if forward:
            forward.terminate()
            forward.wait(10)
            if forward.stdout:
                forward.stdout.close()
        call("kubectl", "delete", "pod", NAME, "--wait=true", "--timeout=60s")


def test_doctor_sees_the_cluster(seen: dict[str, str | None]) -> None:
    assert seen["cluster"]
    assert seen["registry"]
    assert seen["image builder"] or os.environ.get("BUILD_IMAGE")


def test_pod_gives_the_golden_answers(forwarded: int, packable: Path, params: config.Params) -> None:
    golden = files.read_json(packable / package.GOLDEN)
    started = time.monotonic()
    check = package.replay(f"http://127.0.0.1:{forwarded}", golden, tolerance=params.package.tolerance)
    assert check.ok, check
    assert time.monotonic() - started < 30


def test_pod_runs_by_digest_as_nobody_in_particular(forwarded: int) -> None:
    assert forwarded
    running = json.loads(call("kubectl", "get", "pod", NAME, "-o", "json"))
    assert re.search(r"@sha256:[0-9a-f]{64}$", running["spec"]["containers"][0]["image"])
    assert running["status"]["containerStatuses"][0]["restartCount"] == 0
    assert "uid=0(" not in call("kubectl", "exec", NAME, "--", "id")
