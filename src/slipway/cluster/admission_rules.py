"""The rules of k8s/policy in Python: what the API server's admission would say of rendered objects. Pure.

The policies themselves are CEL, which only an API server runs; tests/machinery/template/test_manifests_rendered.py shows the same objects to both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from slipway.cluster.object_diff import Object
from slipway.core.verdict import Check

DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")
TEMPLATED = {
    "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "Rollout",
}  # fmt: skip
MALFORMED = (AttributeError, KeyError, TypeError)
"""What reading an object of another form ends in."""
SAID = 3
"""Breaches that a check names."""
Pod = Mapping[str, Any]


def pods(one: Object) -> Iterator[Pod]:
    """The pod specs in an object; those of an AnalysisTemplate are of Jobs that the Rollouts controller will make."""
    kind, spec = one.get("kind"), one.get("spec") or {}
    if kind == "Pod":
        yield spec
    elif kind == "CronJob":
        yield spec["jobTemplate"]["spec"]["template"]["spec"]
    elif kind in TEMPLATED and "template" in spec:
        yield spec["template"]["spec"]
    elif kind in ("AnalysisTemplate", "ClusterAnalysisTemplate"):
        jobs = [(metric.get("provider") or {}).get("job") for metric in spec.get("metrics") or ()]
        yield from (job["spec"]["template"]["spec"] for job in jobs if job)


def lasting(pod: Pod) -> list[Mapping[str, Any]]:
    """Containers, and those that run before them."""
    return [*pod["containers"], *(pod.get("initContainers") or ())]


def containers(pod: Pod) -> list[Mapping[str, Any]]:
    """All of them, those for debugging too."""
    return [*lasting(pod), *(pod.get("ephemeralContainers") or ())]


def images(pod: Pod) -> list[str]:
    """Images by digest: what was judged is what runs."""
    return [f"{c['name']} has {c.get('image')}" for c in containers(pod) if not DIGEST.search(str(c.get("image")))]


def limits(pod: Pod) -> list[str]:
    """Limits on processor and memory, but for containers for debugging: they cannot have any."""
    limited = {c["name"]: (c.get("resources") or {}).get("limits") or {} for c in lasting(pod)}
    return [
        f"{name} has none for {what}"
        for name, found in limited.items()
        for what in ("cpu", "memory")
        if what not in found
    ]


def token(pod: Pod) -> list[str]:
    """No service-account token, neither by itself nor in a volume."""
    lasting(pod)  # a pod has containers
    mounted = pod.get("automountServiceAccountToken")
    said = [] if mounted is False else [f"automountServiceAccountToken is {'not set' if mounted is None else 'true'}"]
    volumes = pod.get("volumes") or ()
    return said + [f"one is in volume {v['name']}" for v in volumes
                   if any("serviceAccountToken" in s for s in (v.get("projected") or {}).get("sources") or ())]  # fmt: skip


def user(pod: Pod) -> list[str]:
    """Nobody is root, and the manifest says so."""
    unsaid = [
        f"{c['name']} may be root" for c in containers(pod) if not _security(pod, c, "runAsNonRoot", otherwise=False)
    ]
    root = [f"{c['name']} is user 0" for c in containers(pod) if _security(pod, c, "runAsUser", otherwise=1) == 0]
    return unsaid + root


def _security(pod: Pod, container: Mapping[str, Any], name: str, *, otherwise: Any) -> Any:
    """A word of the container's security context, else the pod's."""
    for context in (container.get("securityContext") or {}, pod.get("securityContext") or {}):
        if name in context:
            return context[name]
    return otherwise


RULES: Mapping[str, tuple[Callable[[Pod], list[str]], str]] = {
    "images": (images, "pinned by digest"),
    "limits": (limits, "cpu and memory"),
    "token": (token, "no service-account token"),
    "user": (user, "runAsNonRoot, and not user 0"),
}
"""Each policy of k8s/policy, without `slipway-` before its name, as a function and in words."""


def checks(targets: Mapping[str, Sequence[Object]]) -> list[Check]:
    """One check for each rule over all pods of all targets; none where there are no pods."""
    found = [(f"{env} {one.get('kind')} {one['metadata'].get('name')}", pod)
             for env, objects in targets.items() for one in objects for pod in _pods(one)]  # fmt: skip
    if not found:
        return []
    return [_check(rule, limit, [f"{where}: {said}" for where, pod in found for said in _broken(look, pod)], len(found))
            for rule, (look, limit) in RULES.items()]  # fmt: skip


def _pods(one: Object) -> list[Pod]:
    """The pod specs; one without containers in place of what is not where its kind has it."""
    try:
        return list(pods(one))
    except MALFORMED:
        return [{"containers": None}]


def _broken(look: Callable[[Pod], list[str]], pod: Pod) -> list[str]:
    try:
        return look(pod)
    except MALFORMED:
        return ["has not the form of its kind"]


def _check(rule: str, limit: str, broken: Sequence[str], many: int) -> Check:
    more = f"; and {len(broken) - SAID} more" if len(broken) > SAID else ""
    said = "; ".join(broken[:SAID]) + more if broken else f"{many} pods"
    return Check(name=f"rule {rule}", value=said, limit=limit, ok=not broken)
