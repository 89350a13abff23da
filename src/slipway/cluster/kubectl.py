"""Run `kubectl` and other programs that talk to a cluster, and explain their errors."""

from __future__ import annotations

import re
import subprocess

from slipway.core import process
from slipway.errors import ConfigError, Inconclusive, SlipwayError

ARGOCD_NAMESPACE = "argocd"
"""The namespace of Argo CD and of its applications."""
INSTALL = {
    "argocd": "kubectl create namespace argocd; kubectl apply -n argocd --server-side -f "
    "https://raw.githubusercontent.com/argoproj/argo-cd/v3.5.3/manifests/install.yaml",
    "rollouts": "kubectl create namespace argo-rollouts; kubectl apply -n argo-rollouts --server-side -f "
    "https://raw.githubusercontent.com/argoproj/argo-rollouts/v1.9.2/manifests/install.yaml",
}
"""The commands that install the kinds that Kubernetes itself lacks."""
APPLY = "kubectl apply -k argocd"
NAMESPACES = "kubectl apply -R -f argocd/namespaces"
DOCTOR = ".venv/bin/slipway doctor"

MEANINGS = [
    (r"connection to the server \S+ was refused|Unable to connect to the server|Error in configuration",
     "no cluster can be reached", f"export KUBECONFIG=…  # or: {DOCTOR}"),
    (r"resource type \"((?:rollout|analysis)[\w.]*)|no matches for kind \"((?:Rollout|Analysis)\w*)",
     "the cluster has no kind {}: Argo Rollouts is not installed", INSTALL["rollouts"]),
    (r"resource type \"(app\w*)|no matches for kind \"(App\w*)", "the cluster has no kind {}: Argo CD is not installed",
     INSTALL["argocd"]),
    (r"namespaces \"([^\"]+)\" not found", "the cluster has no namespace {}", NAMESPACES),
    (r"applications\.argoproj\.io \"([^\"]+)\" not found", "Argo CD has no application {}", APPLY),
    (r"denied request: (.+)", "the cluster's policies refuse the object: {}", "the policies are in k8s/policy"),
    (r"Unauthenticated|invalid session|server address unspecified", "argocd is not logged in", "argocd login SERVER"),
]  # fmt: skip
"""A pattern in a failed program's output, its meaning, and the next command; the first match counts."""


def run(*args: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run `kubectl ARGS` and return its output; `stdin` goes to its standard input. Errors as in `call`."""
    return call("kubectl", *args, stdin=stdin, timeout=timeout)


def call(program: str, *args: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run a program by name and return its output; `stdin` goes to its standard input.

    ConfigError when it is missing or fails, with the next command; Inconclusive after `timeout` seconds.
    """
    try:
        finished = process.run([program, *args], stdin=stdin, timeout=timeout)
    except FileNotFoundError:
        raise ConfigError(f"{program} is not installed: it is not on PATH", hint=DOCTOR) from None
    except subprocess.TimeoutExpired:
        command = " ".join([program, *args[:4]])
        raise Inconclusive(
            f"`{command} …` did not end within {timeout:g} s", hint="kubectl get --raw /readyz"
        ) from None
    if not finished.ok:
        raise explain_error(f"{program} {' '.join(args[:4])}", (finished.err or finished.out).strip())
    return finished.out


def explain_error(command: str, output: str) -> ConfigError:
    """The error for a failed command's output: its meaning, and the next command."""
    last = output.splitlines()[-1] if output else "it failed without a message"
    for pattern, meaning, hint in MEANINGS:
        if match := re.search(pattern, output):
            words = [word for word in match.groups() if word]
            return ConfigError(meaning.format(*words) if words else f"{meaning}: {last}", hint=hint)
    return ConfigError(f"`{command}` failed: {last}", hint="kubectl get events -A --sort-by=.lastTimestamp | tail")


def hook_log(namespace: str, job: str) -> str:
    """The log of a hook's Job; ConfigError when it is gone."""
    return run("-n", namespace, "logs", f"job/{job}", "--tail=-1")


def diagnostics(app: str) -> str:
    """The application, its namespace's objects, events and logs as text; a part that cannot be read is its error."""
    namespace = f"--namespace={app}"
    commands = [
        ("get", "applications.argoproj.io", app, f"--namespace={ARGOCD_NAMESPACE}", "-o", "yaml"),
        ("get", "all", namespace, "-o", "wide"),
        ("get", "events", namespace, "--sort-by=.lastTimestamp"),
        ("describe", "pods", namespace),
    ]
    pods = _output_or_error("get", "pods", namespace, "-o", "name").split()
    commands += [("logs", pod, namespace, "--all-containers", "--tail=200") for pod in pods if pod.startswith("pod/")]
    return "\n".join(f"$ kubectl {' '.join(args)}\n{_output_or_error(*args)}" for args in commands)


def _output_or_error(*args: str) -> str:
    try:
        return run(*args, timeout=20)
    except SlipwayError as error:
        return f"{error}\n"
