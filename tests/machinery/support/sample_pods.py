"""Objects that k8s/policy admits, and ones that break each of its rules."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

DIGEST = "localhost:5000/a@sha256:" + "1" * 64
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
LABELS = {"app": "a"}
Pod = dict[str, Any]


def pod(**more: Any) -> Pod:
    """A pod's spec that breaks no rule, with `more` fields."""
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container("serve")], "initContainers": [container("models")],
    } | more  # fmt: skip


def container(name: str, **more: Any) -> dict[str, Any]:
    """A container that breaks no rule."""
    resources = {"limits": {"cpu": "1", "memory": "64Mi"}}
    return {"name": name, "image": DIGEST, "resources": resources, "securityContext": LOCKED} | more


def made(kind: str, name: str, spec: Pod) -> dict[str, Any]:
    """An object of `kind` around a pod's spec."""
    template = {"metadata": {"labels": LABELS}, "spec": spec}
    inside: dict[str, Any] = {"selector": {"matchLabels": LABELS}, "template": template}
    job = {"template": {"spec": {"restartPolicy": "Never"} | spec}}
    of: dict[str, tuple[str, dict[str, Any]]] = {
        "Pod": ("v1", spec),
        "ReplicationController": ("v1", {"selector": LABELS, "template": template}),
        "Job": ("batch/v1", job),
        "CronJob": ("batch/v1", {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}),
        "StatefulSet": ("apps/v1", inside | {"serviceName": "a"}),
        "Rollout": ("argoproj.io/v1alpha1", inside | {"strategy": {"canary": {}}}),
    }
    version, held = of.get(kind, ("apps/v1", inside))
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": copy.deepcopy(held)}


KINDS = (
    "Pod",
    "ReplicationController",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "Rollout",
)


def spoilt(rule: str, change: Callable[[Pod], Any]) -> tuple[str, Pod]:
    """A rule, and a pod's spec that breaks it."""
    spec = copy.deepcopy(pod())
    change(spec)
    return rule, spec


def _projected(spec: Pod) -> None:
    spec["volumes"] = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]


BAD: dict[str, tuple[str, Pod]] = {
    "a tag": spoilt("images", lambda p: p["containers"][0].update(image="a:1")),
    "no tag": spoilt("images", lambda p: p["containers"][0].update(image="a")),
    "a short digest": spoilt("images", lambda p: p["containers"][0].update(image=DIGEST[:-1])),
    "a long digest": spoilt("images", lambda p: p["containers"][0].update(image=DIGEST + "1")),
    "a digest in capitals": spoilt("images", lambda p: p["containers"][0].update(image="a@sha256:" + "A" * 64)),
    "a tag before the pod runs": spoilt("images", lambda p: p["initContainers"][0].update(image="a:1")),
    "no limits": spoilt("limits", lambda p: p["containers"][0].pop("resources")),
    "no limit on memory": spoilt("limits", lambda p: p["containers"][0]["resources"]["limits"].pop("memory")),
    "no limit on processor": spoilt("limits", lambda p: p["containers"][0]["resources"]["limits"].pop("cpu")),
    "requests alone": spoilt("limits", lambda p: p["initContainers"][0].update(resources={"requests": {"cpu": "1"}})),
    "a token": spoilt("token", lambda p: p.update(automountServiceAccountToken=True)),
    "nothing said of a token": spoilt("token", lambda p: p.pop("automountServiceAccountToken")),
    "a token in a volume": spoilt("token", _projected),
    "nothing said of root": spoilt("user", lambda p: p.pop("securityContext")),
    "root allowed": spoilt("user", lambda p: p["securityContext"].update(runAsNonRoot=False)),
    "root allowed to one": spoilt("user", lambda p: p["containers"][0].update(securityContext={"runAsNonRoot": False})),
    "root allowed at first": spoilt("user", lambda p: p["initContainers"][0].update(securityContext={"runAsNonRoot": False})),
    "root by number": spoilt("user", lambda p: p["containers"][0].update(securityContext={"runAsUser": 0})),
    "root by number for all": spoilt("user", lambda p: p["securityContext"].update(runAsUser=0)),
}  # fmt: skip
GOOD: dict[str, Pod] = {
    "the usual": pod(),
    "a user by number": pod(securityContext={"runAsNonRoot": True, "runAsUser": 10001}),
    "a user by container": pod(
        securityContext={}, initContainers=[], containers=[container("serve", securityContext={"runAsNonRoot": True})]
    ),
    "root for all but each": pod(
        securityContext={"runAsNonRoot": True, "runAsUser": 0}, initContainers=[],
        containers=[container("serve", securityContext={"runAsUser": 7})],
    ),
    "a tag and a digest": pod(containers=[container("serve", image=DIGEST.replace("@", ":1@"))]),
    "other volumes": pod(volumes=[{"name": "c", "projected": {"sources": [{"configMap": {"name": "c"}}]}},
                                  {"name": "e", "emptyDir": {}}]),
}  # fmt: skip
