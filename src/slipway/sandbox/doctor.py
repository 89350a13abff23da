"""`doctor`: what is on this machine, what is missing, what for, and the exact command to get it."""

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
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from slipway.cluster import kubectl
from slipway.core import environment, process
from slipway.errors import ConfigError
from slipway.packaging.image_builder import find_builder

PATIENCE = 2.0
"""Seconds that any one question may take; all are asked at once."""
FREE_GB = 2.0
"""What data, models, bentos and scratch clones of a loop take, with room to spare."""
PORTS = {3000: "slipway serve", 5000: "mlflow ui"}
"""Who listens where unless told otherwise; the loop takes any free ports."""
IDENTITY = 'git config --global user.name "Your Name"; git config --global user.email you@example.org'
REGISTRY = "docker run -d -p 5000:5000 --name registry registry:2; export REGISTRY=localhost:5000"
ARGOCD = "https://github.com/argoproj/argo-cd/releases/latest/download/argocd-"
KUSTOMIZE = "https://raw.githubusercontent.com/kubernetes-sigs/kustomize/master/hack/install_kustomize.sh"
METRICS = "https://github.com/kubernetes-sigs/metrics-server/releases/latest/download/components.yaml"
POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing: what was found (None: missing), whether `make loop` needs it, what for, how to get it."""

    name: str
    found: str | None
    needed: bool
    purpose: str
    get: str


def things(system: str, machine: str) -> list[tuple[str, bool, str, str]]:
    """Name, whether `make loop` needs it, purpose, command; for a machine as `platform` names it."""
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
        *((f"port {port}", False, who, f"lsof -i :{port}  # and stop it") for port, who in PORTS.items()),
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


def examine(seen: Mapping[str, str | None], *, system: str, machine: str) -> list[Finding]:
    """What was seen, by name, as findings in the order of `things`; a name not seen is missing."""
    return [
        Finding(name=name, found=seen.get(name), needed=needed, purpose=purpose, get=get)
        for name, needed, purpose, get in things(system, machine)
    ]


def look(root: Path, env: Mapping[str, str]) -> dict[str, str | None]:
    """Ask the machine, everything at once, with `env` as the environment of what is called."""
    questions: dict[str, Callable[[], str | None]] = {
        "python": lambda: platform.python_version() if sys.version_info >= (3, 11) else None,
        "git": lambda: _version(["git", "--version"], env),
        "uv": lambda: _version(["uv", "--version"], env),
        "dvc": lambda: _version(["dvc", "--version"], env),
        "disk": lambda: _disk(root),
        "loopback ports": lambda: _free(0),
        "git identity": lambda: _identity(root, env),
        "image builder": lambda: find_builder(env),
        "registry": lambda: _registry(env.get("REGISTRY", "")),
        "kubectl": lambda: _version(["kubectl", "version", "--client"], env),
        "cluster": lambda: _cluster(env),
        "argocd": lambda: _version(["argocd", "version", "--client", "--short"], env),
        "kustomize": lambda: _version(["kustomize", "version"], env),
        "Argo CD": lambda: _there(env, "crd", "applications.argoproj.io", "appprojects.argoproj.io"),
        "Argo Rollouts": lambda: _there(env, "crd", "rollouts.argoproj.io", "analysistemplates.argoproj.io"),
        "metrics-server": lambda: _there(env, "apiservice", "v1beta1.metrics.k8s.io"),
        "namespaces": lambda: _there(env, "namespace", *_named(root / "argocd/namespaces")),
        "policies": lambda: _there(env, POLICIES, *_named(root / "k8s/policy")),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = {name: pool.submit(question) for name, question in questions.items()}
        ports = {f"port {port}": _free(port) for port in PORTS}
    return {name: answer.result() for name, answer in answers.items()} | ports


def _said(command: list[str], env: Mapping[str, str]) -> str | None:
    return process.printed(command, env, timeout=PATIENCE)


def _version(command: list[str], env: Mapping[str, str]) -> str | None:
    return process.version(command, env, timeout=PATIENCE)


def _disk(root: Path) -> str | None:
    free = shutil.disk_usage(root).free / 1e9
    return f"{free:.0f} GB free" if free >= FREE_GB else None


def _free(port: int) -> str | None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return None
    return "free"


def _identity(root: Path, env: Mapping[str, str]) -> str | None:
    command = ["git", "-C", str(root), "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"]
    said = _said(command, env)
    return said.split(" <")[0] if said else None


def _registry(address: str) -> str | None:
    for scheme in ("http", "https") if address else ():
        try:
            urllib.request.urlopen(f"{scheme}://{address}/v2/", timeout=PATIENCE / 2).close()  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 401:  # it is there, and wants a login
                continue
        except (OSError, ValueError):
            continue
        return address
    return None


def _cluster(env: Mapping[str, str]) -> str | None:
    ready = _said(["kubectl", "get", "--raw", "/readyz", f"--request-timeout={PATIENCE:g}s"], env)
    return _said(["kubectl", "config", "current-context"], env) if ready else None


def _there(env: Mapping[str, str], kind: str, *names: str) -> str | None:
    """How many objects of a cluster these are, when all are there; none were asked for: missing."""
    asked = ["kubectl", "get", kind, *names, "-o", "name", f"--request-timeout={PATIENCE:g}s"]
    said = _said(asked, env) if names else None
    return f"{len(said.splitlines())} there" if said else None


def _named(folder: Path) -> list[str]:
    """The names of the objects that the folder's files hold, but for what kustomize alone reads."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [
        name for text in texts for name in re.findall(r"^metadata:\n  name: ([\w.-]+)$", text, re.M) if name != "every"
    ]


def show(findings: list[Finding], out: Console) -> None:
    """The table, and under it a command a line (unbroken, to be copied) for whatever is missing."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("thing", "found", "what for"):
        table.add_column(heading, overflow="fold")
    for one in findings:
        missing = "[red]missing[/red]" if one.needed else "[yellow]not here[/yellow]"
        table.add_row(one.name, one.found.replace("[", r"\[") if one.found else missing, one.purpose)
    out.print(table)
    for one in findings:
        if not one.found:
            out.print(f"[bold]{one.name:<14}[/bold] {one.get}", soft_wrap=True)


def run(root: Path = Path(), env: Mapping[str, str] | None = None) -> int:
    """Show what is here; 0 when all that `make loop` needs is, else a ConfigError that names what is not."""
    seen = look(root, env or environment.for_programs(root.resolve()))
    findings = examine(seen, system=platform.system(), machine=platform.machine())
    show(findings, Console(highlight=False))
    if missing := [one for one in findings if one.needed and not one.found]:
        names = ", ".join(one.name for one in missing)
        raise ConfigError(f"make loop needs {names}, which this machine lacks", hint=missing[0].get)
    Console(stderr=True, highlight=False).print("All that `make loop` needs is here.")
    return 0
