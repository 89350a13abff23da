"""The edge to a cluster: `kubectl` and `argocd` as programs, Argo CD's applications, and waiting for one."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from slipway.cluster import argocd
from slipway.cluster.argocd import App, told
from slipway.core import git
from slipway.errors import ConfigError, SlipwayError, Unsure

ARGOCD = "argocd"
"""The namespace of Argo CD and of its applications."""
POLL_SECONDS = 1.0
SURE_SECONDS = 15.0
"""How long a hopeless state must stand before it is believed: Argo CD needs seconds to look at a new commit."""
INSTALL = {
    "argocd": "kubectl create namespace argocd; kubectl apply -n argocd --server-side -f "
    "https://raw.githubusercontent.com/argoproj/argo-cd/v3.5.3/manifests/install.yaml",
    "rollouts": "kubectl create namespace argo-rollouts; kubectl apply -n argo-rollouts --server-side -f "
    "https://raw.githubusercontent.com/argoproj/argo-rollouts/v1.9.2/manifests/install.yaml",
}
"""What brings the kinds that Kubernetes itself does not know."""
APPLY = "kubectl apply -k argocd"
NAMESPACES = "kubectl apply -R -f argocd/namespaces"
DOCTOR = ".venv/bin/slipway doctor"

MEANINGS = [
    (r"connection to the server \S+ was refused|Unable to connect to the server|Error in configuration",
     "no cluster in reach", f"export KUBECONFIG=…  # or: {DOCTOR}"),
    (r"resource type \"((?:rollout|analysis)[\w.]*)|no matches for kind \"((?:Rollout|Analysis)\w*)",
     "the cluster does not know {}: it has no Argo Rollouts", INSTALL["rollouts"]),
    (r"resource type \"(app\w*)|no matches for kind \"(App\w*)", "the cluster does not know {}: it has no Argo CD",
     INSTALL["argocd"]),
    (r"namespaces \"([^\"]+)\" not found", "the cluster has no namespace {}", NAMESPACES),
    (r"applications\.argoproj\.io \"([^\"]+)\" not found", "Argo CD has no application {}", APPLY),
    (r"denied request: (.+)", "the cluster's policies refuse it: {}", "see k8s/policy"),
    (r"Unauthenticated|invalid session|server address unspecified", "argocd is not logged in", "argocd login SERVER"),
]  # fmt: skip
"""What a failed program said, what it means, and the next command; the first that matches."""


def run(*args: str, given: str | None = None, timeout: float = 60) -> str:
    """What `kubectl ARGS` prints; `given` goes to its standard input. Errors as `call` says."""
    return call("kubectl", *args, given=given, timeout=timeout)


def run_argocd(*args: str, timeout: float = 60) -> str:
    """What `argocd ARGS` prints. Errors as `call` says."""
    return call("argocd", *args, timeout=timeout)


def call(program: str, *args: str, given: str | None = None, timeout: float = 60) -> str:
    """Run a program by name; ConfigError with what is missing and the command that gets it, Unsure after `timeout` s."""
    try:
        done = subprocess.run([program, *args], input=given, stdin=subprocess.DEVNULL if given is None else None,
                              capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=timeout,
                              check=False)  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(f"{program} is not on PATH", hint=DOCTOR) from None
    except subprocess.TimeoutExpired:
        said = " ".join([program, *args[:4]])
        raise Unsure(f"`{said} …` did not end within {timeout:g} s", hint="kubectl get --raw /readyz") from None
    if done.returncode:
        raise explained(f"{program} {' '.join(args[:4])}", (done.stderr or done.stdout).strip())
    return done.stdout


def explained(command: str, said: str) -> ConfigError:
    """What a failed command's words mean, and the next command."""
    last = said.splitlines()[-1] if said else "it failed and said nothing"
    for pattern, means, hint in MEANINGS:
        if found := re.search(pattern, said):
            words = [word for word in found.groups() if word]
            return ConfigError(means.format(*words) if words else f"{means}: {last}", hint=hint)
    return ConfigError(f"{command}: {last}", hint="kubectl get events -A --sort-by=.lastTimestamp | tail")


def bootstrap(root: Path, *, repository: str, name: str) -> None:
    """Tell the cluster once what it must know: policies, namespaces, project, and applications that read `repository`.

    `name` is the project's; ConfigError when `argocd/` is about another one.
    """
    run("apply", "-k", str(root / "k8s/policy"))
    objects = list(YAML(typ="safe").load_all(run("kustomize", str(root / "argocd"))))
    addressed = [_addressed(one, repository, name) for one in objects]
    run("apply", "-f", "-", given=json.dumps({"apiVersion": "v1", "kind": "List", "items": addressed}))


def _addressed(one: dict[str, Any], repository: str, name: str) -> dict[str, Any]:
    """The object, reading from `repository`."""
    if one["kind"] == "AppProject":
        if (found := one["metadata"]["name"]) != name:
            hint = f"put {name} in the place of {found} in argocd/ and k8s/"
            raise ConfigError(f"argocd/project.yaml is about {found!r}, limit: {name!r}", hint=hint)
        one["spec"]["sourceRepos"] = [repository]
    elif one["kind"] == "Application":
        one["spec"]["source"]["repoURL"] = repository
    return one


def state(app: str) -> App:
    """What Argo CD says of an application now; ConfigError when it has none of this name."""
    return argocd.read(json.loads(run("-n", ARGOCD, "get", "applications.argoproj.io", app, "-o", "json")))


def refresh(app: str, *, hard: bool = False) -> None:
    """Have Argo CD look at Git now; `hard` also forgets what it rendered before."""
    kind = "hard" if hard else "normal"
    mark = f"argocd.argoproj.io/refresh={kind}"
    run("-n", ARGOCD, "annotate", "applications.argoproj.io", app, mark, "--overwrite")


def wait(app: str, revision: str, *, seconds: float, root: Path = Path(), sure: float = SURE_SECONDS) -> App:
    """Wait until a whole operation of `revision`, or of a later commit, has ended; its phase is the caller's to judge.

    Unsure when none has after `seconds`, or when none will; ConfigError when the revision cannot be rendered.
    """
    started, since, before = time.monotonic(), time.monotonic(), None
    while True:
        seen = state(app).whole
        if argocd.ended(seen, lambda found: holds(found, revision, root=root)):
            return seen
        verdict = argocd.hopeless(seen, lambda found: holds(found, revision, root=root))
        now = time.monotonic()
        since = since if str(verdict) == before else now
        before = str(verdict)
        if verdict and now - since >= sure:
            raise verdict
        if now - started > seconds:
            raise Unsure(f"{app} did not come to {revision[:12]} within {seconds:g} s: {told(seen)}",
                         hint=f"kubectl -n {ARGOCD} describe application {app}")  # fmt: skip
        time.sleep(POLL_SECONDS)


def holds(found: str, wanted: str, *, root: Path) -> bool:
    """Whether the revision `found` is `wanted` or a later commit; one that is not here yet is fetched."""
    if found == wanted or not re.fullmatch(r"[0-9a-f]{40}", found):
        return found == wanted
    try:
        git.commit(found, root=root)
    except ConfigError:
        git.fetch("main", root=root)
    return git.contains(found, wanted, root=root)


def hook_log(namespace: str, job: str) -> str:
    """What the pod of a hook's Job printed; ConfigError when it is gone."""
    return run("-n", namespace, "logs", f"job/{job}", "--tail=-1")


def dump(app: str) -> str:
    """All that helps to see why, as far as it can be had: the application, its namespace's objects, events and logs."""
    namespace = f"--namespace={app}"
    asked = [
        ("get", "applications.argoproj.io", app, f"--namespace={ARGOCD}", "-o", "yaml"),
        ("get", "all", namespace, "-o", "wide"),
        ("get", "events", namespace, "--sort-by=.lastTimestamp"),
        ("describe", "pods", namespace),
    ]
    pods = _whatever("get", "pods", namespace, "-o", "name").split()
    asked += [("logs", pod, namespace, "--all-containers", "--tail=200") for pod in pods if pod.startswith("pod/")]
    return "\n".join(f"$ kubectl {' '.join(args)}\n{_whatever(*args)}" for args in asked)


def _whatever(*args: str) -> str:
    try:
        return run(*args, timeout=20)
    except SlipwayError as error:
        return f"{error}\n"
