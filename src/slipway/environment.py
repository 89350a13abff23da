"""The environment: this module is its only reader, and says what programs started from here see of it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import ConfigError


def cache_home(root: Path) -> Path:
    """The project's own scratch folder: everything tools would else write to the home folder."""
    return root / ".slipway"


def programs(root: Path, **extra: str) -> dict[str, str]:
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


def image_builder() -> str | None:
    """BUILD_IMAGE, a program that builds and pushes in place of docker, podman or buildah."""
    return os.environ.get("BUILD_IMAGE") or None


def step_summary() -> Path | None:
    """Where a workflow's step writes the Markdown of its run's page; None outside of a workflow."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
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
