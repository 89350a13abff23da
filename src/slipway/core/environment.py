"""Read environment variables, and build the environment of programs that Slipway starts; no other module reads them."""

from __future__ import annotations

import json
import os
import re
import sys
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from slipway.errors import ConfigError

LOCAL_GIT = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_QUARANTINE_PATH", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE",
    "GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX", "GIT_NO_REPLACE_OBJECTS", "GIT_REPLACE_REF_BASE",
    "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
    "GIT_EXTERNAL_DIFF", "GIT_DIFF_OPTS", "GIT_CEILING_DIRECTORIES", "GIT_DEFAULT_HASH", "GIT_CONFIG",
)  # fmt: skip
"""Variables by which Git tells its hooks which repository, index and pathspecs to use (`git rev-parse --local-env-vars`
and relatives). A Git that works in another folder must not see them. Those that carry settings (`GIT_CONFIG_COUNT`,
`GIT_CONFIG_PARAMETERS`) stay: they are the user's."""


def cache_home(root: Path) -> Path:
    """The project's scratch folder, for all that tools would write to the home folder."""
    return root / ".slipway"


def for_programs(root: Path, **extra: str) -> dict[str, str]:
    """The environment for programs started from `root`, with `extra` variables.

    This Python is first on PATH and `root`'s code first on PYTHONPATH. Telemetry is off.
    Each tool's home is inside the project, since a home folder may be read-only; but DVC reads the user's configuration,
    which may hold the remote's login or a shared cache.
    """
    home = cache_home(root)
    path = [str(root / "src"), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # Without cached bytecode, every process would compile its libraries again.
    dropped = {"PYTHONDONTWRITEBYTECODE", *LOCAL_GIT}
    inherited = {name: value for name, value in os.environ.items() if name not in dropped}
    return {
        **inherited,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)),
        "BENTOML_HOME": str(home / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "DVC_NO_ANALYTICS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "PYTHONUTF8": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "ORT_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "MPLCONFIGDIR": str(home / "matplotlib"),
        **extra,
    }


def tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI, else the address of the SQLite file in the project's root.

    SQLAlchemy ends the path of an address at `?`, and decodes `%41`. MLflow makes the folder that `sqlite:///` names,
    without decoding it; the driver's name keeps it from that.
    """
    path = (root / "mlflow.db").as_posix()
    quoted = re.sub("[%?#]", lambda sign: f"%{ord(sign[0]):X}", path)
    local = f"sqlite:///{path}" if quoted == path else f"sqlite+pysqlite:///{quoted}"
    return os.environ.get("MLFLOW_TRACKING_URI") or local


def service_settings() -> dict[str, str]:
    """The settings of the service: every variable whose name begins with SLIPWAY_ or OTEL_."""
    return {name: value for name, value in os.environ.items() if name.startswith(("SLIPWAY_", "OTEL_"))}


def registry_host() -> str | None:
    """REGISTRY: `host:port` of the registry that the loop's cluster pulls from; None if not set."""
    return os.environ.get("REGISTRY") or None


def git_server() -> tuple[Path, str] | None:
    """GIT_ROOT and GIT_URL: a folder of bare repositories, and the address at which the cluster's Argo CD reads them.

    None unless both are set.
    """
    folder, url = os.environ.get("GIT_ROOT"), os.environ.get("GIT_URL")
    return (Path(folder), url.rstrip("/")) if folder and url else None


def image_builder() -> str | None:
    """BUILD_IMAGE: a program that builds and pushes images in place of docker, podman or buildah; None if not set."""
    return os.environ.get("BUILD_IMAGE") or None


@dataclass(frozen=True, kw_only=True)
class Login:
    """User and password for a registry."""

    user: str
    password: str = field(repr=False)


def registry_login() -> Login | None:
    """REGISTRY_USER and REGISTRY_TOKEN, for the registry that images go to; None without them.

    ConfigError if only one of them is set.
    """
    user, token = (os.environ.get(name, "") for name in ("REGISTRY_USER", "REGISTRY_TOKEN"))
    if bool(user) != bool(token):
        present, absent = ("REGISTRY_USER", "REGISTRY_TOKEN") if user else ("REGISTRY_TOKEN", "REGISTRY_USER")
        raise ConfigError(f"{present} is set, but {absent} is not", hint=f"set {absent} too, or unset {present}")
    return Login(user=user, password=token) if user else None


def login_files() -> list[Path]:
    """The files in which docker, podman and buildah store registry logins, in the order to look for one."""
    auth_file, docker_folder = os.environ.get("REGISTRY_AUTH_FILE"), os.environ.get("DOCKER_CONFIG")
    runtime_folder = os.environ.get("XDG_RUNTIME_DIR")
    paths = [Path(auth_file)] if auth_file else []
    paths += [Path(runtime_folder) / "containers/auth.json"] if runtime_folder else []
    return [*paths, (Path(docker_folder) if docker_folder else Path.home() / ".docker") / "config.json"]


def step_summary() -> Path | None:
    """GITHUB_STEP_SUMMARY: the file for the Markdown of a workflow run's page; None outside of a workflow."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    return Path(path) if path else None


def step_output() -> Path | None:
    """GITHUB_OUTPUT: the file for the outputs of a workflow's step, which later jobs read; None outside of a workflow."""
    path = os.environ.get("GITHUB_OUTPUT")
    return Path(path) if path else None


@dataclass(frozen=True, kw_only=True)
class Actions:
    """Context of a workflow's step: file of the event, repository (`owner/name`), addresses of GitHub, token."""

    event: Path
    repository: str
    api: str
    server: str
    token: str = field(repr=False)


def actions() -> Actions:
    """GITHUB_EVENT_PATH, _REPOSITORY, _API_URL, _SERVER_URL and _TOKEN; a ConfigError names those that are not set."""
    names = ("GITHUB_EVENT_PATH", "GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_SERVER_URL", "GITHUB_TOKEN")
    event, repository, api, server, token = (os.environ.get(name, "") for name in names)
    if absent := [name for name in names if not os.environ.get(name)]:
        hint = "run this in a workflow, and pass GITHUB_TOKEN in the step's `env:`"
        raise ConfigError(f"the environment lacks {', '.join(absent)}, which GitHub Actions sets", hint=hint)
    return Actions(event=Path(event), repository=repository, api=api, server=server, token=token)


def github() -> Actions | None:
    """The context of GitHub where a repository and a token for it are set; None elsewhere."""
    return actions() if os.environ.get("GITHUB_TOKEN") and os.environ.get("GITHUB_REPOSITORY") else None


def forget_hook() -> None:
    """Remove the variables of a Git hook from this process, so that no program started from it sees them."""
    for name in LOCAL_GIT:
        os.environ.pop(name, None)


def for_git(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a `git`: messages in English, no variables of a hook, no editor and no pager."""
    inherited = {name: value for name, value in (env or os.environ).items() if name not in LOCAL_GIT}
    return {**inherited, "LC_ALL": "C", "LANGUAGE": "C", "GIT_PAGER": "cat", "GIT_EDITOR": ":",
            "GIT_TERMINAL_PROMPT": "0"}  # fmt: skip


def event_default_branch() -> str | None:
    """The default branch in the event of a GitHub workflow (GITHUB_EVENT_PATH); None elsewhere."""
    try:
        event = json.loads(Path(os.environ["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
        return str(event["repository"]["default_branch"])
    except (KeyError, OSError, ValueError, TypeError):
        return None


def git_login() -> dict[str, str]:
    """The environment for a `git` that talks to origin: it never prompts.

    GITHUB_TOKEN is sent to GITHUB_SERVER_URL only, and never appears on a command line.
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
    """CLUSTER_FAULTS: a folder with the programs `stop [-9] NAME…` and `start NAME…` for parts of a test cluster, or None."""
    folder = os.environ.get("CLUSTER_FAULTS")
    return Path(folder) if folder else None
