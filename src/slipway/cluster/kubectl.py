"""The edge to a cluster: `kubectl` and `argocd` as programs, Argo CD's applications, and waiting for one."""

from __future__ import annotations

import re
import subprocess

from slipway.errors import ConfigError, Inconclusive, SlipwayError

ARGOCD_NAMESPACE = "argocd"
"""The namespace of Argo CD and of its applications."""
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


def call(program: str, *args: str, given: str | None = None, timeout: float = 60) -> str:
    """Run a program by name; ConfigError with what is missing and the command that gets it, Inconclusive after `timeout` s."""
    try:
        done = subprocess.run([program, *args], input=given, stdin=subprocess.DEVNULL if given is None else None,
                              capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=timeout,
                              check=False)  # fmt: skip
    except FileNotFoundError:
        raise ConfigError(f"{program} is not on PATH", hint=DOCTOR) from None
    except subprocess.TimeoutExpired:
        said = " ".join([program, *args[:4]])
        raise Inconclusive(f"`{said} …` did not end within {timeout:g} s", hint="kubectl get --raw /readyz") from None
    if done.returncode:
        raise explain_error(f"{program} {' '.join(args[:4])}", (done.stderr or done.stdout).strip())
    return done.stdout


def explain_error(command: str, said: str) -> ConfigError:
    """What a failed command's words mean, and the next command."""
    last = said.splitlines()[-1] if said else "it failed and said nothing"
    for pattern, means, hint in MEANINGS:
        if found := re.search(pattern, said):
            words = [word for word in found.groups() if word]
            return ConfigError(means.format(*words) if words else f"{means}: {last}", hint=hint)
    return ConfigError(f"{command}: {last}", hint="kubectl get events -A --sort-by=.lastTimestamp | tail")


def hook_log(namespace: str, job: str) -> str:
    """What the pod of a hook's Job printed; ConfigError when it is gone."""
    return run("-n", namespace, "logs", f"job/{job}", "--tail=-1")


def diagnostics(app: str) -> str:
    """All that helps to see why, as far as it can be had: the application, its namespace's objects, events and logs."""
    namespace = f"--namespace={app}"
    asked = [
        ("get", "applications.argoproj.io", app, f"--namespace={ARGOCD_NAMESPACE}", "-o", "yaml"),
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
