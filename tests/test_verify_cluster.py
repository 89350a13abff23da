"""On a real cluster: a running pod is walked back to the data; one that was put there by hand is not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway import cluster, environment, files, git, image, overlay, package, verify
from test_verify import ALL, LABELS, OVERLAY, Project, built  # noqa: F401

pytestmark = pytest.mark.cluster
NAME = f"e-verify-{os.getpid()}"
SPACE = f"{NAME}-staging"
DOCKERFILE = """\
FROM python:3.11-slim AS slim
FROM slim AS serve
COPY who /who
USER 10001
CMD ["python", "-c", "import signal; signal.signal(signal.SIGTERM, lambda *_: exit()); signal.pause()"]
"""


def build(folder: Path, labels: dict[str, str]) -> str:
    """A small image in the cluster's registry; the labels make its digest its own."""
    (folder / "context").mkdir(parents=True)
    (folder / "Dockerfile").write_text(DOCKERFILE, "utf-8")
    (folder / "context/who").write_text(json.dumps(labels), "utf-8")
    return image.build("serve", folder / "context", f"{environment.registry()}/{NAME}:new", labels, root=folder)


def start(pod: str, of: str) -> None:
    """A pod with a container `serve`; returns when it runs."""
    cluster.kubectl("-n", SPACE, "apply", "-f", "-", given=json.dumps({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "serve", "image": of}]},
    }))  # fmt: skip
    cluster.kubectl("-n", SPACE, "wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=90s", timeout=100)


@pytest.fixture
def space() -> Iterator[None]:
    """A namespace of the test's own."""
    cluster.kubectl("create", "namespace", SPACE)
    for _ in range(30):  # until it has its account, pods are refused
        if cluster.kubectl("-n", SPACE, "get", "serviceaccounts", "-o", "name").strip():
            break
        time.sleep(0.5)
    yield
    cluster.kubectl("delete", "namespace", SPACE, "--wait=false")


@pytest.mark.usefixtures("space")
def test_running_pod_is_walked_back_to_the_data(built: Path, tmp_path: Path) -> None:  # noqa: F811
    path = overlay.path("staging", built)
    path.parent.mkdir(parents=True)
    path.write_text(
        OVERLAY.format(env="staging", address=environment.registry(), zeros="0" * 64).replace("/bikes", f"/{NAME}")
    )
    git.output("add", "-A", root=built)
    git.output("commit", "-q", "--amend", "--no-edit", root=built)
    bento = package.sha256(next(built.glob(".slipway/bentoml/bentos/bikes/*/")))
    fields = {"commit": git.commit(root=built), "bento": f"bikes:{bento[:12]}", "bento_sha256": bento,
              "model_sha256": files.sha256(built / "models/model.onnx"), "lock_sha256": files.sha256(built / "dvc.lock"),
              "data_sha256": files.sha256(built / "data/table.parquet")}  # fmt: skip
    released = build(tmp_path / "one", {label: fields[field] for label, field in LABELS.items()})
    Project(built, None).release(image=released)  # type: ignore[arg-type]
    start("released", released)
    ((env, found),) = verify.run(pod="released", root=built).items()
    assert (env, {link.name: link.word for link in found}) == ("staging", dict.fromkeys(["pod", *ALL], "ok"))
    start("by-hand", build(tmp_path / "two", {"evil": "yes"}))
    ((_, found),) = verify.run(pod="by-hand", namespace=SPACE, root=built).items()
    assert [link.name for link in found if link.word == "broken"] == ["overlay", "ledger"]
