"""`doctor`: list the tools on this machine, and for each missing one what it is for and the command to get it."""

from __future__ import annotations

import contextlib
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

import psutil  # type: ignore[import-untyped]
from rich.box import SIMPLE_HEAD
from rich.table import Table

from slipway.cluster import kubectl
from slipway.core import environment, git, process
from slipway.core.console import LiteralConsole, running, stderr, stdout, styled
from slipway.errors import ConfigError
from slipway.packaging.image_builder import find_builder
from slipway.pipeline import checkout

TIMEOUT_SECONDS = 5.0
"""Longest for one check; all run at the same time."""
NEEDED_SECONDS = 15.0
"""Longest for a program that the loop needs: on a busy machine `dvc --version` takes seconds, and is not missing."""
FREE_GB = 2.0
"""Gigabytes for data, models, bentos and scratch clones of a loop, with room to spare."""
PORTS = {3000: "slipway serve", 5000: "mlflow ui"}
"""Default ports and the programs that listen there; the loop takes any free ports."""
IN_USE = "in use"
"""Beginning of the state of a port that another program has."""
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

    @property
    def ready(self) -> bool:
        """Return whether it can be used."""
        return self.state is not None and not self.state.startswith(IN_USE)


def list_tools(system: str, machine: str) -> list[tuple[str, bool, str, str]]:
    """Name, whether `make loop` needs it, purpose and command of each tool; for a machine as `platform` names it."""
    mac = system == "Darwin"
    install = "brew install" if mac else "sudo apt-get install -y"
    argocd = f"{ARGOCD}{system.lower()}-{'arm64' if machine in ('arm64', 'aarch64') else 'amd64'}"
    install_kubectl = "brew install kubectl" if mac else "sudo snap install kubectl --classic"
    kustomize = "brew install kustomize" if mac else f"curl -fsSL {KUSTOMIZE} | bash"
    return [
        ("python", True, "everything", f"{install} {'python@3.13' if mac else 'python3 python3-venv'}"),
        ("git", True, "changes, releases and their records", f"{install} git"),
        ("uv", True, "environments and locks", "make clean setup"),
        ("dvc", True, "the pipeline", "make clean setup"),
        ("disk", True, f"data, models, clones: {FREE_GB:g} GB", ".venv/bin/dvc gc --workspace; make clean"),
        ("loopback ports", True, "staging and production on this machine", "allow programs to listen on 127.0.0.1"),
        ("checkout", True, "hashes that others have too", "slipway prove  # it names what to do"),
        ("git identity", False, "your own commits and releases", IDENTITY),
        *(
            (
                f"port {port}",
                False,
                user,
                f"lsof -i :{port}  # lists the program that uses it; stop it, or use another port",
            )
            for port, user in PORTS.items()
        ),
        ("image builder", False, "building the image of the service", f"{install} {'podman' if mac else 'buildah'}"),
        ("registry", False, "images for a cluster", REGISTRY),
        ("kubectl", False, "access to a cluster", install_kubectl),
        ("cluster", False, "make loop TARGET=cluster", "kind create cluster  # or: export KUBECONFIG=…"),
        ("argocd", False, "staging and production in a cluster", f"sudo curl -fsSLo /usr/local/bin/argocd {argocd}"),
        ("kustomize", False, "rendering manifests (else: kubectl)", kustomize),
        ("Argo CD", False, "deploying from Git, in a cluster", kubectl.INSTALL["argocd"]),
        ("Argo Rollouts", False, "the canary in a cluster, if you use it", kubectl.INSTALL["rollouts"]),
        ("metrics-server", False, "the autoscaler in a cluster", f"kubectl apply -f {METRICS}"),
        ("namespaces", False, "staging and production in a cluster", kubectl.NAMESPACES),
        (
            "policies",
            False,
            "rejecting unsafe objects in a cluster",
            "kubectl apply -k k8s/policy  # Kubernetes 1.30 or newer",
        ),
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
    needed = partial(process.probe_version, env=env, timeout=NEEDED_SECONDS)
    checks: dict[str, Callable[[], str | None]] = {
        "python": lambda: platform.python_version() if sys.version_info >= (3, 11) else None,
        "git": lambda: needed(["git", "--version"]),
        "uv": lambda: needed(["uv", "--version"]),
        "dvc": lambda: needed(["dvc", "--version"]),
        "disk": lambda: _disk(root),
        "loopback ports": lambda: _free(0),
        "checkout": lambda: _checkout(root),
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
        ports = {f"port {port}": _free(port) or _user(port) for port in PORTS}
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


def _user(port: int) -> str:
    """That a port is in use, and by which program when this user may see that."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.pid and connection.status == "LISTEN":
                return f"{IN_USE} by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    return IN_USE


def _checkout(root: Path) -> str | None:
    """`plain` for a checkout that Slipway supports, also where Git cannot tell; None for one that it refuses."""
    try:
        checkout.require_plain(root)
    except (git.GitError, git.NoRepository):
        pass
    except ConfigError:
        return None
    return "plain"


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
    return f"{len(output.splitlines())} installed" if output else None


def _object_names(folder: Path) -> list[str]:
    """The names of the objects in the folder's files, without the one that only kustomize reads."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.yaml"))]
    return [
        name for text in texts for name in re.findall(r"^metadata:\n  name: ([\w.-]+)$", text, re.M) if name != "every"
    ]


def print_findings(findings: list[Finding], console: LiteralConsole = stdout) -> None:
    """Print the table, and below it the command for each missing tool on an unbroken line, to be copied."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "on this machine", "used for"):
        table.add_column(heading, overflow="fold")
    for tool in findings:
        style = "" if tool.ready else "red" if tool.needed else "yellow"
        table.add_row(tool.name, styled((tool.state or "missing", style)), tool.purpose)
    console.print(table)
    if absent := [tool for tool in findings if not tool.ready]:
        console.write_line(("To get what is missing (optional, unless it is red)", "bold"))
        for tool in absent:
            console.write_line(f"{tool.name:<15} {tool.get}")


def run(root: Path = Path(), env: Mapping[str, str] | None = None) -> int:
    """Print the findings; 0 when `make loop` has all that it needs, else a ConfigError that names what is missing."""
    with running("checking this machine …"):
        states = inspect_machine(root, env or environment.for_programs(root.resolve()))
    findings = examine(states, system=platform.system(), machine=platform.machine())
    print_findings(findings)
    if missing := [tool for tool in findings if tool.needed and not tool.ready]:
        names = ", ".join(tool.name for tool in missing)
        raise ConfigError(f"`make loop` needs {names}, which this machine lacks", hint=missing[0].get)
    stderr.write_line("This machine has everything that `make loop` needs.")
    return 0
