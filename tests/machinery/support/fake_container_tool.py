"""A stand-in for docker, podman and buildah: takes their command lines, builds one small layer, and really pushes it.

    program(folder, "docker")          # an executable folder/docker; its calls are in folder/docker.json, one per line
    program(folder, "docker", daemon=False)      # as on a machine with the client alone

It prints the errors of the real programs: a build that stops, a login that is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from support.executables import SHEBANG

MACHINERY = Path(__file__).parent.parent
BASE = "sha256:" + "ba" * 32
"""The digest of any base image."""
SCRIPT = """{shebang}import sys
sys.path[:0] = [{here!r}]
from support import fake_container_tool
sys.exit(fake_container_tool.main({name!r}, {daemon!r}, {folder!r}, sys.argv[1:]))
"""


def program(folder: Path, name: str, *, daemon: bool = True) -> Path:
    """Write the executable."""
    path = folder / name
    path.write_text(SCRIPT.format(shebang=SHEBANG, here=str(MACHINERY), name=name, daemon=daemon, folder=str(folder)))
    path.chmod(0o755)
    return path


def calls(folder: Path, name: str) -> list[dict[str, Any]]:
    """The calls of a program in order: {"words", "given": its input, "context": the files below it}."""
    log = folder / f"{name}.json"
    return [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []


def option(words: list[str], name: str) -> list[str]:
    """The values of an option that may come several times."""
    return [after for word, after in pairwise(words) if word == name]


def main(name: str, daemon: bool, folder: str, words: list[str]) -> int:
    """Run one call; returns its exit code."""
    if words[0] in ("version", "--version"):
        print("9.9.9" if daemon else "", end="")  # noqa: T201
        return 0 if daemon else 1
    password = sys.stdin.read() if "--password-stdin" in words else None
    context = Path(words[-1]) if words[0] == "build" else None
    listed = sorted(p.relative_to(context).as_posix() for p in context.rglob("*") if p.is_file()) if context else None
    with Path(folder, f"{name}.json").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"words": words, "given": password, "context": listed}) + "\n")
    try:
        for line in answer(name, folder, words):
            print(line)  # noqa: T201
    except RuntimeError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    return 0


def answer(name: str, folder: str, words: list[str]) -> Iterator[str]:
    """The lines that a call prints."""
    labels = Path(folder, "labels")
    if words[0] == "inspect":
        yield BASE if name == "buildah" else f"docker.io/library/python@{BASE}"
    elif words[0] == "build":
        if Path(words[-1], "src/broken").exists():
            raise RuntimeError(
                "Step 4/9\nERROR: THESE PACKAGES DO NOT MATCH THE HASHES\nerror: building at STEP 4/9: exit status 1"
            )
        labels.write_text(json.dumps(dict(each.split("=", 1) for each in option(words, "--label"))), "utf-8")
    elif words[0] == "push":
        tag = words[-1].rpartition(":")
        digest = _push(*tag[0].split("/", 1), tag[2], json.loads(labels.read_text("utf-8")))
        if name == "docker":
            yield f"{tag[2]}: digest: {digest} size: 528"
        for file in option(words, "--digestfile"):
            Path(file).write_text(digest, "utf-8")


def _push(address: str, name: str, tag: str, labels: dict[str, str]) -> str:
    from support import fake_registry

    try:
        return fake_registry.push(address, name, tag=tag, labels=labels).partition("@")[2]
    except fake_registry.PushRefused as error:
        raise RuntimeError(f"unauthorized: authentication required ({error})") from None
