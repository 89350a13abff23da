"""Who asks a registry: REGISTRY_USER and REGISTRY_TOKEN, else what `docker login` or `podman login` left on this machine."""

from __future__ import annotations

import base64
import binascii
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from slipway.core import environment, files
from slipway.core.environment import Login
from slipway.errors import ConfigError

HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
HELPER_SECONDS = 20


def of(host: str, name: str) -> Login | None:
    """The login for the repository `name` at `host`, None for an anonymous visit; ConfigError for one that is broken.

    The environment's login goes to whatever registry is asked: ask only those that an overlay names.
    """
    if found := environment.registry_login():
        return found
    for file in environment.login_files():
        if file.is_file() and (found := kept(file, host, name)):
            return found
    return None


def kept(file: Path, host: str, name: str) -> Login | None:
    """The login that a config.json or auth.json keeps; the longest part of `host/name` that it knows counts."""
    known = files.read_json(file, hint=f"docker login {host}")
    parts = name.split("/")
    keys = ["/".join([host, *parts[:count]]) for count in range(len(parts), -1, -1)]
    helper = (known.get("credHelpers") or {}).get(host) or known.get("credsStore")
    entries = {_plain(key): entry for key, entry in (known.get("auths") or {}).items()}
    for key in keys:
        if text := (entries.get(key) or {}).get("auth"):
            return _read(text, file, host)
    return ask(str(helper), host) if helper else None


def _plain(key: str) -> str:
    """`https://host/v1/` as older clients write it is `host`."""
    return "docker.io" if key in HUB else key.removeprefix("https://").removeprefix("http://").rstrip("/")


def _read(text: str, file: Path, host: str) -> Login:
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = password = ""
    if not user or not password:
        raise ConfigError(f"{file}: the login for {host} is not user:password in base64", hint=f"docker login {host}")
    return Login(user=user, password=password.rstrip("\0"))


def ask(helper: str, host: str, *, seconds: float = HELPER_SECONDS) -> Login | None:
    """What a credential helper says; None when it has nothing for this registry, ConfigError when it says nothing useful."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        raise ConfigError(f"docker-credential-{helper}, which keeps the logins, is not on PATH", hint="install it")
    given = HUB[0] if host == "docker.io" else host
    try:
        done = subprocess.run([program, "get"], input=given, capture_output=True, text=True, check=False,
                              timeout=seconds)  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{program} did not answer in {seconds:g} s", hint=f"docker login {host}") from None
    try:
        said: Any = json.loads(done.stdout) if done.returncode == 0 else {}
    except ValueError:
        raise ConfigError(f"{program} did not answer with JSON", hint=f"docker login {host}") from None
    return Login(user=said["Username"], password=said["Secret"]) if said.get("Secret") else None
