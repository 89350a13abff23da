from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import pods
from slipway.cluster.pods import Pod
from support import fake_kubectl


def serve(name: str, *, ready: str = "True", **metadata: str) -> dict[str, Any]:
    """A pod object whose container `serve` runs the image y."""
    containers = [{"name": "side", "image": "x"}, {"name": "serve", "image": "y"}]
    return {"metadata": {"name": name} | metadata, "spec": {"containers": containers},
            "status": {"conditions": [{"type": "Ready", "status": ready}]}}  # fmt: skip


def test_pod_has_the_image_of_its_service() -> None:
    assert pods.parse(serve("a")) == Pod("a", "y", ready=True)
    assert pods.parse(serve("a") | {"spec": {"containers": []}}).image == "none"


@pytest.mark.parametrize("status", [{}, {"conditions": None}, serve("a", ready="False")["status"]])
def test_pod_without_its_condition_is_not_ready(status: dict[str, Any]) -> None:
    assert pods.parse(serve("a") | {"status": status}) == Pod("a", "y", ready=False)


def test_pods_that_are_being_deleted_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = fake_kubectl.install(tmp_path / "bin", monkeypatch)
    items = [serve("old", deletionTimestamp="2026-03-08T10:00:00Z"), serve("new", ready="False")]
    (programs / "said").write_text(json.dumps({"items": items}))
    assert pods.list_pods("bikes-staging") == [Pod("new", "y", ready=False)]
    asked = "-n bikes-staging get pods -l app.kubernetes.io/name=serve -o json\n"
    assert (programs / "asked").read_text() == asked
