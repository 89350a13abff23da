"""Clients of production while pods come and go: Locust as a Job in the cluster, at the rate of the load gate."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

from delivery_moments import Sent, sent
from ruamel.yaml import YAML

from slipway.cluster import kubectl, pods
from slipway.delivery import evidence
from slipway.sandbox.drills import context
from slipway.sandbox.drills.context import DrillContext

NAME = "bench-load"
SENDING, SAMPLES = "SENDING", "SAMPLES "
CODE = f"""
import json, sys
from pathlib import Path
from slipway.loadtest import load
objective = load.slo(Path("/slo/slo.yaml"))
schedule = objective.schedules["cluster"].model_copy(update={{"seconds": float(sys.argv[1])}})
print("{SENDING}", flush=True)
measured = load.measure(objective, schedule, "http://serve:3000", root=Path().resolve(),
                        contract=Path("/models/contract.json"), retries=int(sys.argv[2]))
print("{SAMPLES}" + json.dumps(measured.samples), flush=True)
"""
"""Runs in the gate's image, which holds Locust; the gate itself never sends twice."""
START_SECONDS = 6.0
"""From SENDING to the first requests: Locust's own start, and some."""


class Load:
    """A Job that sends; `result` is what its clients saw."""

    def __init__(self, there: DrillContext, seconds: float) -> None:
        self.space, self.seconds, self._started = there.app("production"), seconds, time.monotonic()

    def log(self) -> str:
        """Its output so far; empty before it runs."""
        pods = json.loads(kubectl.run("-n", self.space, "get", "pods", "-l", f"job-name={NAME}", "-o", "json"))
        states = [one.get("status", {}).get("phase") for one in pods["items"]]
        return kubectl.hook_log(self.space, NAME) if states and states[0] != "Pending" else ""

    def begin(self) -> None:
        """Wait until it sends."""
        context.wait_until(lambda: SENDING in self.log(), seconds=90, what="the start of the load")
        self._started = time.monotonic()
        time.sleep(START_SECONDS)

    @property
    def left(self) -> float:
        """Seconds for which it surely sends yet."""
        return self.seconds - (time.monotonic() - self._started)

    def result(self) -> Sent:
        """When it is over: what its clients saw. Refused when it said nothing."""
        context.wait_until(lambda: SAMPLES in self.log(), seconds=self.seconds + 90, what="the end of the load")
        line = next(line for line in self.log().splitlines() if line.startswith(SAMPLES))
        return sent(json.loads(line.removeprefix(SAMPLES)))


@contextlib.contextmanager
def load(there: DrillContext, *, seconds: float, retries: int) -> Iterator[Load]:
    """Send to production for so long; the Job is gone afterwards."""
    one = Load(there, seconds)
    remove(one.space)
    kubectl.run("apply", "-f", "-", stdin=json.dumps(job(there, seconds, retries)))
    try:
        one.begin()
        yield one
    finally:
        remove(one.space)


def remove(space: str) -> None:
    """The Job, and its pod."""
    kubectl.run("-n", space, "delete", "job", NAME, "--ignore-not-found", "--cascade=foreground", timeout=90)


def job(there: DrillContext, seconds: float, retries: int) -> dict[str, Any]:
    """The load gate's own Job with another program, in production's namespace."""
    rendered = kubectl.run("kustomize", str(there.work / "k8s/overlays/staging"))
    found = next(one for one in YAML(typ="safe").load_all(rendered) if one["kind"] == "Job")
    assert found["metadata"]["name"] == evidence.GATE_JOB
    found["metadata"] = {"name": NAME, "namespace": there.app("production")}
    found["spec"]["template"]["metadata"]["labels"] = {"app.kubernetes.io/name": NAME}
    main = found["spec"]["template"]["spec"]["containers"][0]
    main |= {"command": ["python", "-c", CODE], "args": [f"{seconds:g}", str(retries)]}
    return dict(found)


def names(there: DrillContext) -> set[str]:
    """Production's pods of the service, also those that are on their way out."""
    listed = kubectl.run("-n", there.app("production"), "get", "pods", "-l", pods.SERVICE_SELECTOR, "-o", "name")
    return set(listed.split())


def whole(there: DrillContext, image: str, count: int) -> bool:
    """Return whether production runs as many ready pods as before, all of one image, and no other is left."""
    running = pods.list_pods(there.app("production"))
    return len(names(there)) == len(running) >= count and all(pod.ready and pod.image == image for pod in running)


def deleted(there: DrillContext, pod: str) -> None:
    """The API forgets the pod at once; no client was seen to notice."""
    kubectl.run("-n", there.app("production"), "delete", "pod", pod, "--force", "--grace-period=0")
