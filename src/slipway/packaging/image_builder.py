"""Build an image with BUILD_IMAGE, docker, podman or buildah, and push it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from slipway.core import environment, process
from slipway.errors import ConfigError
from slipway.packaging import image_builder


def find_builder(env: Mapping[str, str]) -> str | None:
    """docker must have a server to build on; podman and buildah need nobody."""
    commands = {
        "docker": ["version", "--format", "{{.Server.Version}}"],
        "podman": ["--version"],
        "buildah": ["--version"],
    }
    found = ((name, process.version([name, *rest], env, timeout=PATIENCE)) for name, rest in commands.items())
    return next((f"{name} {version}" for name, version in found if version), None)


PATIENCE = 2.0
"""Seconds that a builder may take to print its version."""
DOCKERFILE = Path("Dockerfile")


REVISION = "org.opencontainers.image.revision"


LOCAL = ("localhost", "127.0.0.1")


SAID = 2000
"""Characters of a failed program's output that are worth reading."""


REFUSED = re.compile(r"unauthorized|authentication required|denied|forbidden|\b40[13]\b", re.IGNORECASE)


PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64})")


def base_image(root: Path) -> str:
    """The base image that the Dockerfile names in its first FROM."""
    found = re.search(r"(?m)^FROM (\S+) AS slim$", (root / DOCKERFILE).read_text(encoding="utf-8"))
    if not found:
        raise ConfigError(f"{DOCKERFILE} has no line `FROM … AS slim`", hint="the base image is read from it")
    return found[1]


def build_image(
    target: str, context: Path, tag: str, labels: Mapping[str, str], *, root: Path, recipe: Path | None = None
) -> str:
    """Build and push a target of the Dockerfile, or of another `recipe`; `registry/name@sha256:…`. Its base becomes a label.

    ConfigError: no builder here, the build failed (its last lines), the registry refused the push.
    """
    env, host = environment.for_programs(root), tag.partition("/")[0]
    own, tool = (
        environment.image_builder(),
        (image_builder.find_builder(environment.for_programs(root)) or "").partition(" ")[0],
    )
    if not own and not tool:
        hint = "install docker, podman or buildah, or name a program with BUILD_IMAGE; see `slipway doctor`"
        raise ConfigError("nothing here builds images", hint=hint)
    source = base_image(root) if own else _resolved(tool, base_image(root), env)
    options = ["--file", str(recipe or root / DOCKERFILE), "--target", target, "--build-arg", f"BASE={source}"]
    for name, value in {**labels, "slipway.base": source}.items():
        options += ["--label", f"{name}={value}"]
    if REVISION in labels:
        options += ["--build-arg", f"REVISION={labels[REVISION]}"]
    if own:
        return _named(own, _call([own, tag, str(context), *options], env, host), tag)
    _call([tool, "build", "--tag", tag, *options, str(context)], env, host)
    return f"{tag.rpartition(':')[0]}@{_push(tool, tag, host, env)}"


def _named(own: str, said: str, tag: str) -> str:
    """The image that a program of one's own printed in its last line."""
    found, name = (said.splitlines() or [""])[-1], tag.rpartition(":")[0]
    if not re.fullmatch(r"\S+@sha256:[0-9a-f]{64}", found):
        told = f"{Path(own).name} printed {found[:120]!r}, limit: {name}@sha256:…"
        raise ConfigError(
            told, hint="BUILD_IMAGE: IMAGE CONTEXT [options of docker build], and the image in the last line"
        )
    return found


def _resolved(tool: str, name: str, env: Mapping[str, str]) -> str:
    """The base with the digest that its tag has now, so that the label says which one it was."""
    _call([tool, "pull", name], env, "docker.io")
    what = ["inspect", "--type", "image", "--format"]
    if tool == "buildah":
        digest = _call([tool, *what, "{{.FromImageDigest}}", name], env, "")
    else:
        digest = _call([tool, *what, "{{index .RepoDigests 0}}", name], env, "").rpartition("@")[2]
    return f"{name}@{digest}" if re.fullmatch(r"sha256:[0-9a-f]{64}", digest) else name


def _push(tool: str, tag: str, host: str, env: Mapping[str, str]) -> str:
    """Push, logged in when the environment says as whom; the digest."""
    if login := environment.registry_login():
        _call([tool, "login", "--username", login.user, "--password-stdin", host], env, host, given=login.password)
    if tool == "docker":
        found = PUSHED.search(_call([tool, "push", tag], env, host))
        if not found:
            raise ConfigError(f"docker push {tag} named no digest", hint="docker version")
        return found[1]
    near = ["--tls-verify=false"] if host.partition(":")[0] in LOCAL else []
    with tempfile.TemporaryDirectory(prefix="slipway-push-") as scratch:
        _call([tool, "push", *near, "--digestfile", f"{scratch}/digest", tag], env, host)
        return Path(scratch, "digest").read_text(encoding="utf-8").strip()


def _call(command: list[str], env: Mapping[str, str], host: str, *, given: str | None = None) -> str:
    """What a program prints; ConfigError with the end of what it said when it fails."""
    try:
        done = subprocess.run(command, input=given, env=dict(env), capture_output=True, text=True, encoding="utf-8",
                              errors="replace", check=False)  # fmt: skip
    except OSError as error:
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint="see BUILD_IMAGE") from None
    if done.returncode == 0:
        return done.stdout.strip()
    said = (done.stdout + done.stderr).strip()[-SAID:]
    if REFUSED.search(said[-500:]):
        hint = f"log in again ({Path(command[0]).name} login {host}), or set REGISTRY_USER and REGISTRY_TOKEN anew"
        raise ConfigError(f"{host} refuses the login, or it has expired:\n{said[-500:]}", hint=hint)
    raise ConfigError(
        f"{Path(command[0]).name} failed with exit code {done.returncode}:\n{said}", hint="slipway doctor"
    )
