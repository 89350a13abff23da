"""Find registry credentials: REGISTRY_USER and REGISTRY_TOKEN, else docker's or podman's login file or helper."""

from __future__ import annotations

import base64
import binascii
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from slipway.core import environment, files, process
from slipway.core.environment import Login
from slipway.errors import ConfigError

HUB = ("https://index.docker.io/v1/", "index.docker.io", "docker.io")
HELPER_SECONDS = 20


def find_login(host: str, name: str) -> Login | None:
    """The login for the repository `name` at `host`, None for an anonymous request; ConfigError for a broken one.

    The environment's login is sent to any registry, so call this only for registries that an overlay names.
    """
    if login := environment.registry_login():
        return login
    for file in environment.login_files():
        if file.is_file() and (login := read_login_file(file, host, name)):
            return login
    return None


def read_login_file(file: Path, host: str, name: str) -> Login | None:
    """The login in a config.json or auth.json; the entry for the longest part of `host/name` counts."""
    config = files.read_json(file, hint=f"docker login {host}")
    parts = name.split("/")
    keys = ["/".join([host, *parts[:count]]) for count in range(len(parts), -1, -1)]
    helper = (config.get("credHelpers") or {}).get(host) or config.get("credsStore")
    entries = {_normalize(key): entry for key, entry in (config.get("auths") or {}).items()}
    for key in keys:
        if text := (entries.get(key) or {}).get("auth"):
            return _decode(text, file, host)
    return login_from_helper(str(helper), host) if helper else None


def _normalize(key: str) -> str:
    """The host of a key; older clients write `https://host/`."""
    return "docker.io" if key in HUB else key.removeprefix("https://").removeprefix("http://").rstrip("/")


def _decode(text: str, file: Path, host: str) -> Login:
    try:
        user, _, password = base64.b64decode(text, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user = password = ""
    if not user or not password:
        raise ConfigError(f"{file}: the login for {host} is not user:password in base64", hint=f"docker login {host}")
    return Login(user=user, password=password.rstrip("\0"))


def login_from_helper(helper: str, host: str, *, seconds: float = HELPER_SECONDS) -> Login | None:
    """Get the login from a credential helper; None when it has none for this registry, ConfigError when it fails."""
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        message = f"docker-credential-{helper}, which holds the logins for docker, is not on PATH"
        raise ConfigError(message, hint="install it, or set REGISTRY_USER and REGISTRY_TOKEN")
    try:
        finished = process.run([program, "get"], stdin=HUB[0] if host == "docker.io" else host, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{program} did not finish within {seconds:g} s", hint=f"docker login {host}") from None
    try:
        answer: Any = json.loads(finished.out) if finished.ok else {}
    except ValueError:
        raise ConfigError(f"{program} printed something that is not JSON", hint=f"docker login {host}") from None
    return Login(user=answer["Username"], password=answer["Secret"]) if answer.get("Secret") else None
