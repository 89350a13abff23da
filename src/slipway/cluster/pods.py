"""The pods of the service in a namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from slipway.cluster import kubectl

SERVICE_SELECTOR = "app.kubernetes.io/name=serve"


class Pod(NamedTuple):
    """A pod of the service: the image it runs, and whether it is ready."""

    name: str
    image: str
    ready: bool


def list_pods(namespace: str) -> list[Pod]:
    """The service's pods, without those that are being deleted."""
    items = json.loads(kubectl.run("-n", namespace, "get", "pods", "-l", SERVICE_SELECTOR, "-o", "json"))["items"]
    return [parse(raw) for raw in items if "deletionTimestamp" not in raw["metadata"]]


def parse(raw: Mapping[str, Any]) -> Pod:
    """Read a pod object of the API server; its image is that of the container `serve`, else `none`."""
    images = [each["image"] for each in raw["spec"]["containers"] if each["name"] == "serve"]
    states = {each["type"]: each["status"] for each in raw.get("status", {}).get("conditions") or ()}
    return Pod(str(raw["metadata"]["name"]), images[0] if images else "none", states.get("Ready") == "True")
