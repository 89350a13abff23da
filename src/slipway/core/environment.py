"""The environment: this module is its only reader, and says what programs started from here see of it."""

from __future__ import annotations

import os
import sys
from base64 import b64encode
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import ConfigError


def cache_home(root: Path) -> Path:
    """The project's own scratch folder: everything tools would else write to the home folder."""
    return root / ".slipway"


def for_programs(root: Path, **extra: str) -> dict[str, str]:
    """The environment for programs started from `root`: this Python first on PATH, `root`'s code first
    on its path, no telemetry, and each tool's home inside the project (a home folder may be read-only).
    """
    home = cache_home(root)
    path = [str(root / "src"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # Without cached bytecode every process would compile its libraries again.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "BENTOML_HOME": str(home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
        "PYTHONUTF8": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        **extra,
    }


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, or the SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(root / 'mlflow.db').as_posix()}"


def registry() -> str | None:
    """REGISTRY, `host:port` of the registry that the loop's cluster pulls from."""
    return os.environ.get("REGISTRY") or None


def git_server() -> tuple[Path, str] | None:
    """GIT_ROOT, a folder whose bare repositories a cluster's Argo CD can read, and GIT_URL, the address it sees it at."""
    folder, url = os.environ.get("GIT_ROOT"), os.environ.get("GIT_URL")
    return (Path(folder), url.rstrip("/")) if folder and url else None


def image_builder() -> str | None:
    """BUILD_IMAGE, a program that builds and pushes in place of docker, podman or buildah."""
    return os.environ.get("BUILD_IMAGE") or None


@dataclass(frozen=True, kw_only=True)
class Login:
    """Who asks a registry."""

    user: str
    password: str = field(repr=False)


def registry_login() -> Login | None:
    """REGISTRY_USER and REGISTRY_TOKEN, for the registry that images go to; ConfigError when only one of them is set."""
    user, token = (os.environ.get(name, "") for name in ("REGISTRY_USER", "REGISTRY_TOKEN"))
    if bool(user) != bool(token):
        there, lacks = ("REGISTRY_USER", "REGISTRY_TOKEN") if user else ("REGISTRY_TOKEN", "REGISTRY_USER")
        raise ConfigError(f"{there} is set and {lacks} is not", hint="set both, or neither")
    return Login(user=user, password=token) if user else None


def login_files() -> list[Path]:
    """Where docker, podman and buildah keep the logins of registries; the first file that knows one counts."""
    named = [os.environ.get("REGISTRY_AUTH_FILE"), os.environ.get("DOCKER_CONFIG"), os.environ.get("XDG_RUNTIME_DIR")]
    docker = Path(named[1]) if named[1] else Path.home() / ".docker"
    found = [Path(named[0])] if named[0] else []
    found += [Path(named[2]) / "containers/auth.json"] if named[2] else []
    return [*found, docker / "config.json"]


def step_summary() -> Path | None:
    """Where a workflow's step writes the Markdown of its run's page; None outside of a workflow."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(path) if path else None


def step_output() -> Path | None:
    """Where a workflow's step writes what later jobs may ask; None outside of a workflow."""
    path = os.environ.get("GITHUB_OUTPUT")
    return Path(path) if path else None


@dataclass(frozen=True, kw_only=True)
class Actions:
    """What GitHub's runner tells a step: the event's payload, the repository (`owner/name`), addresses, the token."""

    event: Path
    repository: str
    api: str
    server: str
    token: str = field(repr=False)


def actions() -> Actions:
    """GITHUB_EVENT_PATH, _REPOSITORY, _API_URL, _SERVER_URL and _TOKEN; ConfigError names those that are not set."""
    names = ("GITHUB_EVENT_PATH", "GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_TOKEN")
    event, repository, api, server, token = (os.environ.get(name, "") for name in names)
    if missing := [name for name in names if not os.environ.get(name)]:
        hint = "a workflow's step has all but the last, which its `env:` must give"
        raise ConfigError(f"not set: {', '.join(missing)}", hint=hint)
    return Actions(event=Path(event), repository=repository, api=api, server=server, token=token)


def github() -> Actions | None:
    """The forge, where a token for a repository of it is set; None elsewhere."""
    return actions() if os.environ.get("GITHUB_TOKEN") and os.environ.get("GITHUB_REPOSITORY") else None


def git_login() -> dict[str, str]:
    """The environment of a git that talks to origin: it never asks; GITHUB_TOKEN goes to GITHUB_SERVER_URL alone, and
    to no command line.
    """
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    token, host = env.get("GITHUB_TOKEN"), env.get("GITHUB_SERVER_URL", "").rstrip("/")
    if token and host.startswith("https://"):
        number = int(env.get("GIT_CONFIG_COUNT") or 0)
        basic = b64encode(f"x-access-token:{token}".encode()).decode()
        env |= {
            "GIT_CONFIG_COUNT": str(number + 1),
            f"GIT_CONFIG_KEY_{number}": f"http.{host}/.extraheader",
            f"GIT_CONFIG_VALUE_{number}": f"AUTHORIZATION: basic {basic}",
        }
    return env


def cluster_faults() -> Path | None:
    """CLUSTER_FAULTS, a folder with the programs `stop [-9] NAME…` and `start NAME…` for the parts of a test cluster."""
    folder = os.environ.get("CLUSTER_FAULTS")
    return Path(folder) if folder else None
