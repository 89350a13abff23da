"""`doctor`: what is on this machine, what is missing, what for, and the exact command to get it."""

from __future__ import annotations

import platform
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from slipway import config
from slipway.errors import ConfigError

PATIENCE = 2.0
"""Seconds that any one question may take; all are asked at once."""
FREE_GB = 2.0
"""What data, models, bentos and scratch clones of a loop take, with room to spare."""
PORTS = (3000, 5000)
"""What `slipway serve` and `make ui` listen on unless told otherwise; the loop takes any free ones."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing: what was found (None: missing), whether `make loop` needs it, what for, how to get it."""

    name: str
    found: str | None
    needed: bool
    purpose: str
    get: str


def things(system: str, machine: str) -> list[tuple[str, bool, str, str]]:
    """Name, whether `make loop` needs it, purpose, command; for an operating system as `platform` names it."""
    binary = f"{system.lower()}-{'arm64' if machine in ('arm64', 'aarch64') else 'amd64'}"
    mac = system == "Darwin"
    install = "brew install" if mac else "sudo apt-get install -y"
    return [
        ("python", True, "everything", f"{install} {'python@3.13' if mac else 'python3 python3-venv'}"),
        ("git", True, "changes, releases, the ledger", f"{install} git"),
        ("uv", True, "environments, locks", "make clean setup"),
        ("dvc", True, "the pipeline", "make clean setup"),
        ("disk", True, f"at least {FREE_GB:g} GB for data, models and clones", "make clean; dvc gc --workspace"),
        ("loopback ports", True, "staging and production of this machine", "let programs listen on 127.0.0.1"),
        ("git identity", False, "commits and releases of your own",
         'git config --global user.name "Your Name"; git config --global user.email you@example.org'),
        *((f"port {port}", False, what, f"stop what holds it: lsof -i :{port}; or name another: {verb}")
          for port, what, verb in zip(PORTS, ("slipway serve", "make ui"), ("slipway serve --port", "make ui PORT="), strict=True)),
        ("image builder", False, "the image of the service", f"{install} {'podman' if mac else 'buildah'}"),
        ("registry", False, "images that a cluster pulls",
         "docker run -d -p 5000:5000 --name registry registry:2; export REGISTRY=localhost:5000"),
        ("kubectl", False, "a cluster", "brew install kubectl" if mac else "sudo snap install kubectl --classic"),
        ("cluster", False, "make loop TARGET=cluster, make test-cluster", "kind create cluster; or export KUBECONFIG=…"),
        ("argocd", False, "staging and production on a cluster",
         f"curl -sSLo argocd https://github.com/argoproj/argo-cd/releases/latest/download/argocd-{binary}; "
         "sudo install -m 755 argocd /usr/local/bin"),
    ]  # fmt: skip


def examine(seen: Mapping[str, str | None], *, system: str, machine: str) -> list[Finding]:
    """What was seen, by name, as findings in the order of `things`; a name not seen is missing."""
    return [
        Finding(name=name, found=seen.get(name), needed=needed, purpose=purpose, get=get)
        for name, needed, purpose, get in things(system, machine)
    ]


def look(root: Path, env: Mapping[str, str]) -> dict[str, str | None]:
    """Ask the machine, everything at once, with `env` as the environment of what is called."""
    questions = {
        "python": lambda: platform.python_version() if sys.version_info >= (3, 11) else None,
        "git": lambda: _said(["git", "--version"], env),
        "uv": lambda: _said(["uv", "--version"], env),
        "dvc": lambda: _said(["dvc", "--version"], env),
        "disk": lambda: _disk(root),
        "loopback ports": lambda: "free" if _free(0) else None,
        "git identity": lambda: _identity(root, env),
        **{f"port {port}": lambda port=port: "free" if _free(port) else None for port in PORTS},
        "image builder": lambda: _builder(env),
        "registry": lambda: _registry(env.get("REGISTRY", "")),
        "kubectl": lambda: _said(["kubectl", "version", "--client"], env),
        "cluster": lambda: _cluster(env),
        "argocd": lambda: _said(["argocd", "version", "--client", "--short"], env),
    }
    with ThreadPoolExecutor(len(questions)) as pool:
        answers = {name: pool.submit(question) for name, question in questions.items()}
    return {name: answer.result() for name, answer in answers.items()}


def _said(command: list[str], env: Mapping[str, str]) -> str | None:
    """First line of what a program prints, None when it is missing, fails or takes too long."""
    where = shutil.which(command[0], path=env.get("PATH", ""))
    if where is None:
        return None
    try:
        done = subprocess.run([where, *command[1:]], env=dict(env), stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, errors="replace", timeout=PATIENCE, check=False)  # fmt: skip
    except (subprocess.TimeoutExpired, OSError):
        return None
    return next(iter(done.stdout.strip().splitlines()), "yes") if done.returncode == 0 else None


def _disk(root: Path) -> str | None:
    free = shutil.disk_usage(root).free / 1e9
    return f"{free:.0f} GB free" if free >= FREE_GB else None


def _free(port: int) -> bool:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _identity(root: Path, env: Mapping[str, str]) -> str | None:
    said = _said(["git", "-C", str(root), "-c", "user.useConfigOnly=true", "var", "GIT_COMMITTER_IDENT"], env)
    return said.rsplit(">", 1)[0] + ">" if said else None


def _builder(env: Mapping[str, str]) -> str | None:
    """docker and podman must answer from where they build; buildah needs nobody."""
    for command in (["docker", "version", "--format", "docker {{.Server.Version}}"],
                    ["podman", "version", "--format", "podman {{.Version}}"], ["buildah", "--version"]):  # fmt: skip
        if said := _said(command, env):
            return said
    return None


def _registry(address: str) -> str | None:
    if not address:
        return None
    for scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{scheme}://{address}/v2/", timeout=PATIENCE / 2):  # noqa: S310  # both are http
                return address
        except urllib.error.HTTPError as error:
            if error.code == 401:  # there, and wants a login
                return address
        except (OSError, ValueError):
            continue
    return None


def _cluster(env: Mapping[str, str]) -> str | None:
    said = _said(["kubectl", "get", "--raw", "/readyz", f"--request-timeout={PATIENCE:g}s"], env)
    return (_said(["kubectl", "config", "current-context"], env) or "yes") if said else None


def table(findings: list[Finding]) -> Table:
    """The findings as a table; what is missing carries its command."""
    shown = Table(title="What is here", title_justify="left", show_lines=False)
    for heading in ("thing", "found", "what for", "how to get it"):
        shown.add_column(heading, overflow="fold")
    for one in findings:
        missing = "[red]missing[/red]" if one.needed else "[yellow]not here[/yellow]"
        found = one.found.replace("[", r"\[") if one.found else missing
        shown.add_row(
            f"[bold]{one.name}[/bold]" if one.needed else one.name,
            found,
            one.purpose,
            "" if one.found else one.get,
        )
    return shown


def run(root: Path = Path()) -> int:
    """Print the table; 0 when all that `make loop` needs is there, else a ConfigError that names it."""
    findings = examine(
        look(root, config.environment(root.resolve())), system=platform.system(), machine=platform.machine()
    )
    Console(highlight=False).print(table(findings))
    if missing := [one for one in findings if one.needed and not one.found]:
        raise ConfigError(f"make loop needs {', '.join(one.name for one in missing)}", hint=missing[0].get)
    Console(stderr=True).print(
        "All that `make loop` needs is here; things in light print are for later chapters."
    )
    return 0
