"""Check rendered objects against the rules of k8s/policy, as the API server's admission would.

The policies are CEL, which only an API server runs. tests/machinery/template/test_manifests_rendered.py gives both the
same objects.
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
"""Errors of reading an object that has not the form of its kind."""
MAX_NAMED = 3
"""Breaches that a check names."""
PodSpec = Mapping[str, Any]


def pod_specs(one: Object) -> Iterator[PodSpec]:
    """The pod specs in an object; in an AnalysisTemplate those of the Jobs that the Rollouts controller will make."""
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


def containers_with_limits(pod: PodSpec) -> list[Mapping[str, Any]]:
    """Containers and init containers."""
    return [*pod["containers"], *(pod.get("initContainers") or ())]


def containers(pod: PodSpec) -> list[Mapping[str, Any]]:
    """All containers: also those for debugging."""
    return [*containers_with_limits(pod), *(pod.get("ephemeralContainers") or ())]


def unpinned_images(pod: PodSpec) -> list[str]:
    """Images that are not pinned by digest: another image than the judged one could run."""
    return [
        f"container {c['name']} has the image {c.get('image')}, without a digest"
        for c in containers(pod)
        if not DIGEST.search(str(c.get("image")))
    ]


def missing_limits(pod: PodSpec) -> list[str]:
    """Missing limits on processor and memory; containers for debugging cannot have any."""
    limited = {c["name"]: (c.get("resources") or {}).get("limits") or {} for c in containers_with_limits(pod)}
    return [
        f"container {name} has no {resource} limit"
        for name, resources in limited.items()
        for resource in ("cpu", "memory")
        if resource not in resources
    ]


def mounted_tokens(pod: PodSpec) -> list[str]:
    """Mounted service-account tokens: the automatic one, and those in volumes."""
    containers_with_limits(pod)  # raises for a pod without containers
    mounted = pod.get("automountServiceAccountToken")
    setting = f"automountServiceAccountToken is {'not set' if mounted is None else 'true'}"
    automatic = [] if mounted is False else [setting]
    volumes = pod.get("volumes") or ()
    return automatic + [f"volume {v['name']} holds one" for v in volumes
                        if any("serviceAccountToken" in s for s in (v.get("projected") or {}).get("sources") or ())]  # fmt: skip


def root_users(pod: PodSpec) -> list[str]:
    """Containers that run as root, and those whose manifest does not rule it out."""
    unset = [
        f"container {c['name']} may run as root"
        for c in containers(pod)
        if not _security(pod, c, "runAsNonRoot", otherwise=False)
    ]
    root = [
        f"container {c['name']} runs as user 0"
        for c in containers(pod)
        if _security(pod, c, "runAsUser", otherwise=1) == 0
    ]
    return unset + root


def _security(pod: PodSpec, container: Mapping[str, Any], name: str, *, otherwise: Any) -> Any:
    """A value of the container's security context, else of the pod's."""
    for context in (container.get("securityContext") or {}, pod.get("securityContext") or {}):
        if name in context:
            return context[name]
    return otherwise


RULES: Mapping[str, tuple[Callable[[PodSpec], list[str]], str]] = {
    "images": (unpinned_images, "every image pinned by its digest"),
    "limits": (missing_limits, "a cpu and a memory limit for every container"),
    "token": (mounted_tokens, "no mounted service-account token"),
    "user": (root_users, "runAsNonRoot set, and another user than 0"),
}
"""The rules by name (that of the policy in k8s/policy, without `slipway-`): find the breaches, and the expected state."""


def check_rules(targets: Mapping[str, Sequence[Object]]) -> list[Check]:
    """One check for each rule over all pods of all targets; none where there are no pods."""
    named_pods = [(f"{env} {one.get('kind')} {one['metadata'].get('name')}", pod)
                  for env, objects in targets.items() for one in objects for pod in _pod_specs_or_broken(one)]  # fmt: skip
    if not named_pods:
        return []
    results = []
    for rule, (find, limit) in RULES.items():
        broken = [f"{name}: {breach}" for name, pod in named_pods for breach in _breaches(find, pod)]
        results.append(_check(rule, limit, broken, pods=len(named_pods)))
    return results


def _pod_specs_or_broken(one: Object) -> list[PodSpec]:
    """The pod specs of an object; a spec without containers when the object has not the form of its kind."""
    try:
        return list(pod_specs(one))
    except MALFORMED:
        return [{"containers": None}]


def _breaches(find: Callable[[PodSpec], list[str]], pod: PodSpec) -> list[str]:
    """The breaches that a rule's function finds in a pod; one when the pod has not the form of its kind."""
    try:
        return find(pod)
    except MALFORMED:
        return ["its fields do not have the form of its kind"]


def _check(rule: str, limit: str, broken: Sequence[str], *, pods: int) -> Check:
    more = f"; and {len(broken) - MAX_NAMED} more" if len(broken) > MAX_NAMED else ""
    value = "; ".join(broken[:MAX_NAMED]) + more if broken else f"{pods} pods"
    text = f"The rule `{rule}` is broken by {value}" if broken else f"The rule `{rule}` holds for {pods} pods"
    return Check(name=f"rule {rule}", value=value, limit=limit, ok=not broken, text=text)
