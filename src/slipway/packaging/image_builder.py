"""Build an image with BUILD_IMAGE, docker, podman or buildah, and push it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from slipway.core import environment, files, process
from slipway.errors import ConfigError
from slipway.packaging.registry import DIGEST

DOCKERFILE = Path("Dockerfile")
REVISION = "org.opencontainers.image.revision"
PLAIN_HTTP_HOSTS = ("localhost", "127.0.0.1")
VERSION_SECONDS = 2.0
"""Time limit for a builder to print its version."""
MAX_OUTPUT = 2000
"""Characters of a failed program's output that are shown."""
REFUSED = re.compile(r"unauthorized|authentication required|denied|forbidden|\b40[13]\b", re.IGNORECASE)
PUSHED = re.compile(f"digest: ({DIGEST})")


def find_builder(env: Mapping[str, str]) -> str | None:
    """Name and version of the first builder on PATH: docker with a running server, podman or buildah."""
    commands = {
        "docker": ["version", "--format", "{{.Server.Version}}"],
        "podman": ["--version"],
        "buildah": ["--version"],
    }
    versions = (
        (name, process.probe_version([name, *rest], env, timeout=VERSION_SECONDS)) for name, rest in commands.items()
    )
    return next((f"{name} {version}" for name, version in versions if version), None)


def base_image(root: Path) -> str:
    """The base image that the Dockerfile names in its first FROM."""
    match = re.search(r"(?m)^FROM (\S+) AS slim$", (root / DOCKERFILE).read_text(encoding="utf-8"))
    if not match:
        raise ConfigError(
            f"{DOCKERFILE} has no line `FROM … AS slim`, which names the base image",
            hint=f"git checkout -- {DOCKERFILE}",
        )
    return match[1]


def build_image(
    target: str, context: Path, tag: str, labels: Mapping[str, str], *, root: Path, recipe: Path | None = None
) -> str:
    """Build a target of the Dockerfile, or of another `recipe`, and push it; returns `registry/name@sha256:…`.

    The base image becomes a label. ConfigError when there is no builder, when the build fails (with the end of its
    output), and when the registry refuses the push.
    """
    env, host = environment.for_programs(root), tag.partition("/")[0]
    program = environment.image_builder()
    tool = "" if program else (find_builder(env) or "").partition(" ")[0]
    if not program and not tool:
        hint = "install docker, podman or buildah, or set BUILD_IMAGE to a program that builds images; see `slipway doctor`"
        raise ConfigError("this machine has no program that builds images", hint=hint)
    base = base_image(root) if program else _with_current_digest(tool, base_image(root), env)
    options = ["--file", str(recipe or root / DOCKERFILE), "--target", target, "--build-arg", f"BASE={base}"]
    for name, value in {**labels, "slipway.base": base}.items():
        options += ["--label", f"{name}={value}"]
    if REVISION in labels:
        options += ["--build-arg", f"REVISION={labels[REVISION]}"]
    if program:
        return _printed_image(program, _call([program, tag, str(context), *options], env, host), tag)
    _call([tool, "build", "--tag", tag, *options, str(context)], env, host)
    return f"{tag.rpartition(':')[0]}@{_push(tool, tag, host, env)}"


def _printed_image(program: str, output: str, tag: str) -> str:
    """The image in the last line of BUILD_IMAGE's output."""
    last, name = (output.splitlines() or [""])[-1], tag.rpartition(":")[0]
    if not re.fullmatch(rf"\S+@{DIGEST}", last):
        raise ConfigError(
            f"{Path(program).name} (BUILD_IMAGE) printed {last[:120]!r} as its last line",
            expected=f"the image, {name}@sha256:…",
            value=last,
            hint="BUILD_IMAGE is called with IMAGE CONTEXT [options of docker build] and prints the image in its last line",
        )
    return last


def _with_current_digest(tool: str, name: str, env: Mapping[str, str]) -> str:
    """Pull the base image and append the digest that its tag has now, so that the label identifies it."""
    _call([tool, "pull", name], env, "docker.io")
    inspect = ["inspect", "--type", "image", "--format"]
    if tool == "buildah":
        digest = _call([tool, *inspect, "{{.FromImageDigest}}", name], env, "")
    else:
        digest = _call([tool, *inspect, "{{index .RepoDigests 0}}", name], env, "").rpartition("@")[2]
    return f"{name}@{digest}" if re.fullmatch(DIGEST, digest) else name


def _push(tool: str, tag: str, host: str, env: Mapping[str, str]) -> str:
    """Push the image, after a login when the environment has one; returns the digest."""
    if login := environment.registry_login():
        command = [tool, "login", "--username", login.user, "--password-stdin", host]
        _call(command, env, host, stdin=login.password)
    if tool == "docker":
        match = PUSHED.search(_call([tool, "push", tag], env, host))
        if not match:
            raise ConfigError(f"`docker push {tag}` printed no line `digest: sha256:…`", hint="docker version")
        return match[1]
    insecure = ["--tls-verify=false"] if host.partition(":")[0] in PLAIN_HTTP_HOSTS else []
    with files.scratch_folder("slipway-push-") as scratch:
        _call([tool, "push", *insecure, "--digestfile", f"{scratch}/digest", tag], env, host)
        return (scratch / "digest").read_text(encoding="utf-8").strip()


def _call(command: list[str], env: Mapping[str, str], host: str, *, stdin: str | None = None) -> str:
    """Run a program and return its output; ConfigError with the end of its output when it fails."""
    try:
        finished = process.run(command, env=env, stdin=stdin)
    except OSError as error:
        hint = "correct BUILD_IMAGE, or unset it to use docker, podman or buildah"
        raise ConfigError(f"{command[0]} cannot be run: {error.strerror}", hint=hint) from None
    if finished.ok:
        return finished.out.strip()
    output = (finished.out + finished.err).strip()[-MAX_OUTPUT:]
    if REFUSED.search(output[-500:]):
        hint = (
            f"log in ({Path(command[0]).name} login {host}), or set REGISTRY_USER and REGISTRY_TOKEN to a valid login"
        )
        raise ConfigError(f"the registry {host} refused the login:\n{output[-500:]}", hint=hint)
    raise ConfigError(
        f"{Path(command[0]).name} failed with exit code {finished.code}; the end of its output:\n{output}",
        hint="correct what it reports; `slipway doctor` shows which builder is used",
    )
