"""The pods of the service in a namespace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from slipway.cluster import kubectl

LABEL = "app.kubernetes.io/name=serve"


class Pod(NamedTuple):
    """A pod of the service: the image it runs, and whether it is ready."""

    name: str
    image: str
    ready: bool


def list_pods(namespace: str) -> list[Pod]:
    """The service's pods, but for those that are on their way out."""
    listed = json.loads(kubectl.run("-n", namespace, "get", "pods", "-l", LABEL, "-o", "json"))["items"]
    return [parse(raw) for raw in listed if "deletionTimestamp" not in raw["metadata"]]


def parse(raw: Mapping[str, Any]) -> Pod:
    """A pod's object as the API server gives it; its image is the one of its container `serve`."""
    images = [one["image"] for one in raw["spec"]["containers"] if one["name"] == "serve"]
    states = {one["type"]: one["status"] for one in raw.get("status", {}).get("conditions") or ()}
    return Pod(str(raw["metadata"]["name"]), images[0] if images else "none", states.get("Ready") == "True")
