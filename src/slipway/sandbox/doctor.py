"""`doctor`: list the tools on this machine, and for each missing one what it is for and the command to get it."""

from __future__ import annotations

import platform
import re
import shutil
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slipway.cluster import kubectl
from slipway.core import environment, process
from slipway.errors import ConfigError
from slipway.packaging.image_builder import find_builder

TIMEOUT_SECONDS = 2.0
"""Longest for one check; all run at the same time."""
FREE_GB = 2.0
"""Gigabytes for data, models, bentos and scratch clones of a loop, with room to spare."""
PORTS = {3000: "slipway serve", 5000: "mlflow ui"}
"""Default ports and the programs that listen there; the loop takes any free ports."""
IDENTITY = 'git config --global user.name "Your Name"; git config --global user.email you@example.org'
REGISTRY = "docker run -d -p 5000:5000 --name registry registry:2; export REGISTRY=localhost:5000"
ARGOCD = "https://github.com/argoproj/argo-cd/releases/latest/download/argocd-"
KUSTOMIZE = "https://raw.githubusercontent.com/kubernetes-sigs/kustomize/master/hack/install_kustomize.sh"
METRICS = "https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/components.yaml"
Ask = Callable[[list[str]], str | None]
"""Runs a command; what it printed, None when it failed."""
POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A tool: its version or state (None: missing), whether `make loop` needs it, its purpose, the command to get it."""

    name: str
    state: str | None
    needed: bool
    purpose: str
    get: str


def list_tools(system: str, machine: str) -> list[tuple[str, bool, str, str]]:
    """Name, whether `make loop` needs it, purpose and command of each tool; for a machine as `platform` names it."""
    mac = system == "Darwin"
    install = "brew install" if mac else "sudo apt-get install -y"
    argocd = f"{ARGOCD}{system.lower()}-{'arm64' if machine in ('arm64', 'aarch64') else 'amd64'}"
    install_kubectl = "brew install kubectl" if mac else "sudo snap install kubectl --classic"
    kustomize = "brew install kustomize" if mac else f"curl -fsSL {KUSTOMIZE} | bash"
    return [
        ("python", True, "everything", f"{install} {'python@3.13' if mac else 'python3 python3-venv'}"),
        ("git", True, "changes, releases, the ledger", f"{install} git"),
        ("uv", True, "environments and locks", "make clean setup"),
        ("dvc", True, "the pipeline", "make clean setup"),
        ("disk", True, f"data, models, clones: {FREE_GB:g} GB", ".venv/bin/dvc gc --workspace; make clean"),
        ("loopback ports", True, "staging and production here", "let programs listen on 127.0.0.1"),
        ("git identity", False, "commits and releases of your own", IDENTITY),
        *((f"port {port}", False, user, f"lsof -i :{port}  # and stop it") for port, user in PORTS.items()),
        ("image builder", False, "the image of the service", f"{install} {'podman' if mac else 'buildah'}"),
        ("registry", False, "images that a cluster pulls", REGISTRY),
        ("kubectl", False, "talking to a cluster", install_kubectl),
        ("cluster", False, "make loop TARGET=cluster", "kind create cluster  # or: export KUBECONFIG=…"),
        ("argocd", False, "staging and production there", f"sudo curl -fsSLo /usr/local/bin/argocd {argocd}"),
        ("kustomize", False, "manifests in a report (else kubectl's)", kustomize),
        ("Argo CD", False, "kinds Application, AppProject", kubectl.INSTALL["argocd"]),
        ("Argo Rollouts", False, "kind Rollout: the canary, when on", kubectl.INSTALL["rollouts"]),
        ("metrics-server", False, "the autoscaler", f"kubectl apply -f {METRICS}"),
        ("namespaces", False, "staging and production there", kubectl.NAMESPACES),
        ("policies", False, "what k8s/policy refuses", "kubectl apply -k k8s/policy  # Kubernetes 1.30 or newer"),
    ]


def examine(states: Mapping[str, str | None], *, system: str, machine: str) -> list[Finding]:
    """Findings in the order of `list_tools`; a tool without a state is missing."""
    return [
        Finding(name=name, state=states.get(name), needed=needed, purpose=purpose, get=get)
        for name, needed, purpose, get in list_tools(system, machine)
    ]


def inspect_machine(root: Path, env: Mapping[str, str]) -> dict[str, str | None]:
    """The state of each tool by name, None when it is missing; `env` is the environment of the programs that are called."""
    ask = partial(process.probe, env=env, timeout=TIMEOUT_SECONDS)
    version = partial(process.probe_version, env=env, timeout=TIMEOUT_SECONDS)
    checks: dict[str, Callable[[], str | None]] = {
        "python": lambda: platform.python_version() if sys.version_info >= (3, 11) else None,
        "git": lambda: version(["git", "--version"]),
        "uv": lambda: version(["uv", "--version"]),
        "dvc": lambda: version(["dvc", "--version"]),
        "disk": lambda: _disk(root),
        "loopback ports": lambda: _free(0),
        "git identity": lambda: _identity(root, ask),
        "image builder": lambda: find_builder(env),
        "registry": lambda: _registry(env.get("REGISTRY", "")),
        "kubectl": lambda: version(["kubectl", "version", "--client"]),
        "cluster": lambda: _cluster(ask),
        "argocd": lambda: version(["argocd", "version", "--client", "--short"]),
        "kustomize": lambda: version(["kustomize", "version"]),
        "Argo CD": lambda: _object_count(ask, "crd", "applications.argoproj.io", "appprojects.argoproj.io"),
        "Argo Rollouts": lambda: _object_count(ask, "crd", "rollouts.argoproj.io", "analysistemplates.argoproj.io"),
        "metrics-server": lambda: _object_count(ask, "apiservice", "v1beta1.metrics.k8s.io"),
        "namespaces": lambda: _object_count(ask, "namespace", *_object_names(root / "argocd/namespaces")),
        "policies": lambda: _object_count(ask, POLICIES, *_object_names(root / "k8s/policy")),
    }
    with ThreadPoolExecutor(len(checks)) as pool:
        answers = {name: pool.submit(check) for name, check in checks.items()}
        ports = {f"port {port}": _free(port) for port in PORTS}
    return {name: answer.result() for name, answer in answers.items()} | ports


def _disk(root: Path) -> str | None:
    free = shutil.disk_usage(root).free / 1e9
    return f"{free:.0f} GB free" if free >= FREE_GB else None


def _free(port: int) -> str | None:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return None
    return "free"


def _identity(root: Path, ask: Ask) -> str | None:
    command = ["git", "-C", str(root), "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"]
    identity = ask(command)
    return identity.split(" <")[0] if identity else None


def _registry(address: str) -> str | None:
    for scheme in ("http", "https") if address else ():
        try:
            urllib.request.urlopen(f"{scheme}://{address}/v2/", timeout=TIMEOUT_SECONDS / 2).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 401:  # a registry that requires a login
                continue
        except (OSError, ValueError):
            continue
        return address
    return None


def _cluster(ask: Ask) -> str | None:
    ready = ask(["kubectl", "get", "--raw", "/readyz", f"--request-timeout={TIMEOUT_SECONDS:g}s"])
    return ask(["kubectl", "config", "current-context"]) if ready else None


def _object_count(ask: Ask, kind: str, *names: str) -> str | None:
    """The number of these objects when the cluster has all of them; None when one is missing, or none is named."""
    command = ["kubectl", "get", kind, *names, "-o", "name", f"--request-timeout={TIMEOUT_SECONDS:g}s"]
    output = ask(command) if names else None
    return f"{len(output.splitlines())} there" if output else None


def _object_names(folder: Path) -> list[str]:
    """The names of the objects in the folder's files, without the one that only kustomize reads."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [
        name for text in texts for name in re.findall(r"^metadata:\n  name: ([\w.-]+)$", text, re.M) if name != "every"
    ]


def print_findings(findings: list[Finding], out: Console) -> None:
    """Print the table, and below it the command for each missing tool on an unbroken line, to be copied."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("thing", "found", "what for"):
        table.add_column(heading, overflow="fold")
    for tool in findings:
        missing = "[red]missing[/red]" if tool.needed else "[yellow]not here[/yellow]"
        table.add_row(tool.name, tool.state.replace("[", r"\[") if tool.state else missing, tool.purpose)
    out.print(table)
    for tool in findings:
        if not tool.state:
            out.print(f"[bold]{tool.name:<14}[/bold] {tool.get}", soft_wrap=True)


def run(root: Path = Path(), env: Mapping[str, str] | None = None) -> int:
    """Print the findings; 0 when `make loop` has all that it needs, else a ConfigError that names what is missing."""
    states = inspect_machine(root, env or environment.for_programs(root.resolve()))
    findings = examine(states, system=platform.system(), machine=platform.machine())
    print_findings(findings, Console(highlight=False))
    if missing := [tool for tool in findings if tool.needed and not tool.state]:
        names = ", ".join(tool.name for tool in missing)
        raise ConfigError(f"make loop needs {names}, which this machine lacks", hint=missing[0].get)
    Console(stderr=True, highlight=False).print("All that `make loop` needs is here.")
    return 0
