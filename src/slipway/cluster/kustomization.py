"""Read the image that a kustomization pins by digest, and write another digest into that one line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import ScalarNode

from slipway.core import files, git, ledger
from slipway.core.strict_model import describe_syntax_error
from slipway.errors import ConfigError

FILE = "kustomization.yaml"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
DIGEST_FORM = "sha256: and 64 hexadecimal digits"
BLANK = ScalarNode(tag="", value="")
NOTHING = "sha256:" + "0" * 64
"""The digest that is pinned before the first release."""
HINT = "docs/fix/overlays.md shows the lines that an overlay ends with"


@dataclass(frozen=True)
class PinnedImage:
    """An image: its repository (`registry/name`, no tag) and its digest (`sha256:…`)."""

    new_name: str
    digest: str

    @property
    def image(self) -> str:
        """The reference that a pod has: `registry/name@sha256:…`."""
        return f"{self.new_name}@{self.digest}"


def path(env: str, root: Path = Path()) -> Path:
    """The kustomization of an environment's overlay; ConfigError when there is no such environment."""
    ledger.path(env)
    return root / "k8s" / "overlays" / env / FILE


def read(text: str, name: str = "serve", *, where: str = FILE) -> PinnedImage:
    """The entry of `images` called `name`; ConfigError unless there is exactly one, with a digest and no tag."""
    return _entry(_parse(text, where), name, where)


def pinned_at(env: str, revision: str, root: Path = Path()) -> PinnedImage | None:
    """The image that the overlay of `env` pins at a Git revision; None when there is no overlay."""
    name = path(env).as_posix()
    text = git.file_at(revision, name, root=root)
    return None if text is None else read(text, where=f"{revision[:12]}:{name}")


def with_digest(text: str, name: str, digest: str, *, where: str = FILE) -> str:
    """`text` with another digest for the image `name`: one line differs, every other byte stays.

    ConfigError when that is impossible: an anchor shares the digest, or it is not written as one plain text.
    """
    if not DIGEST.fullmatch(digest):
        raise ConfigError(f"{where}: the new digest is {digest[:80]!r}", expected=DIGEST_FORM, value=digest)
    before = _parse(text, where)
    old = _entry(before, name, where).digest
    start, end = _span(text, name, where)
    written = text[start:end]
    if written.count(old) != 1:
        message = f"{where}: the digest of {name} is written as {written[:90]!r}"
        raise ConfigError(message, expected="the digest as plain text", value=written, hint=HINT)
    new = text[:start] + written.replace(old, digest) + text[end:]
    after = _parse(new, where)
    if _entry(after, name, where).digest != digest or _changes(before, after) != (old != digest):
        message = f"{where}: the digest of {name} is shared by an anchor or alias, so another value would change too"
        raise ConfigError(message, hint="write the digest itself in both places")
    return new


def write_digest(path: Path, name: str, digest: str) -> Path:
    """Pin another digest in a file, whole or not at all; returns the path."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist", hint=HINT) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}", hint=HINT) from None
    new = with_digest(text, name, digest, where=path.as_posix())
    with files.atomic_write(path) as partial:
        partial.write_bytes(new.encode("utf-8"))
    return path


def _parse(text: str, where: str) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is not valid YAML: {describe_syntax_error(error)}", hint=HINT) from None


def _entry(document: Any, name: str, where: str) -> PinnedImage:
    images = document.get("images") if isinstance(document, Mapping) else None
    if not isinstance(images, list) or not all(isinstance(image, Mapping) for image in images):
        raise ConfigError(f"{where} has no list `images`", hint=HINT)
    matches = [image for image in images if image.get("name") == name]
    if len(matches) != 1:
        raise ConfigError(
            f"{where}: {len(matches)} images have the name {name}", expected="1", value=len(matches), hint=HINT
        )
    (image,) = matches
    if "newTag" in image:
        message = (
            f"{where}: {name} has a newTag next to its digest, and another tag would restart pods of the same image"
        )
        raise ConfigError(message, hint=f"remove newTag from {where}")
    new_name, digest = image.get("newName"), image.get("digest")
    if not isinstance(new_name, str) or not new_name:
        message = f"{where}: {name} has no newName, the registry and name of its image"
        raise ConfigError(message, hint=HINT)
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        pinned = "no digest" if digest is None else f"the digest {str(digest)[:80]!r}"
        raise ConfigError(f"{where}: {name} has {pinned}", expected=DIGEST_FORM, value=digest, hint=HINT)
    return PinnedImage(new_name, digest)


def _span(text: str, name: str, where: str) -> tuple[int, int]:
    """Start and end of the digest's scalar in `text`, with its quotes and anchor; `_entry` has accepted `text`."""
    for image in _value(YAML().compose(text), "images").value:
        digest = _value(image, "digest")
        if _value(image, "name").value == name and digest is not BLANK:
            return digest.start_mark.index, digest.end_mark.index
    raise ConfigError(
        f"{where}: the digest of {name} comes from a merge key (<<)", hint="write the digest itself in the entry"
    )


def _value(node: Any, key: str) -> Any:
    return next((value for name, value in node.value if name.value == key), BLANK)


def _changes(before: Any, after: Any) -> int:
    """The number of leaves in which two documents differ; one that an alias repeats counts each time."""
    if isinstance(before, dict) and isinstance(after, dict) and list(before) == list(after):
        return sum(_changes(before[key], after[key]) for key in before)
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return sum(_changes(*pair) for pair in zip(before, after, strict=True))
    return int(type(before) is not type(after) or before != after)
