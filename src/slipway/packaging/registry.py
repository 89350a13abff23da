"""What an image says of itself, as its registry has it; nothing is pulled or run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from slipway.errors import DataError
from slipway.packaging.distribution import DIGEST, Missing, Session, digest, object_of, parse

MAX_PLATFORMS = 8


@dataclass(frozen=True, kw_only=True)
class Image:
    """What an image says of itself: `digest` of its manifest or index, `bytes` of layers and configuration, packed."""

    digest: str
    labels: dict[str, str]
    created: str | None
    bytes: int


def labels(image: str) -> dict[str, str]:
    """The labels of an image, the same on each of its platforms; see `look` for the errors."""
    return look(image).labels


def exists(image: str) -> bool:
    """Whether the registry has the image now; see `look` for the errors."""
    where = parse(image)
    with Session(where) as session:
        try:
            session.fetch(f"manifests/{where.ref}", where.digest)
        except Missing:
            return False
    return True


def look(image: str) -> Image:
    """Manifest and configuration of an image.

    Missing (3) when it is not there, DataError (3) when bytes do not have the digest they go by or are no image,
    ConfigError (2) for a wrong reference and for a login that is missing, wrong or expired, Unreachable (5) else.
    """
    where = parse(image)
    with Session(where) as session:
        raw = session.fetch(f"manifests/{where.ref}", where.digest)
        try:
            return _read(session, raw, image)
        except (LookupError, TypeError, ValueError, AttributeError):
            raise DataError(f"{image} is no image: its manifest lacks what one has", hint="build it again") from None


def _read(session: Session, raw: bytes, image: str) -> Image:
    manifest = object_of(raw, image)
    parts = [manifest] if "config" in manifest else _platforms(session, manifest, image)
    configs = [object_of(_part(session, "blobs", part["config"]), image) for part in parts]
    said = [config["config"].get("Labels") or {} for config in configs]
    if any(one != said[0] for one in said):
        raise DataError(f"{image}: its labels differ between its platforms", hint="build all platforms of one commit")
    return Image(
        digest=digest(raw),
        labels={str(name): str(value) for name, value in said[0].items()},
        created=configs[0].get("created"),
        bytes=sum(int(one["size"]) for one in (parts[0]["config"], *parts[0]["layers"])),
    )


def _platforms(session: Session, index: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """The manifests of an index, without the attestations that builders put beside them."""
    rows = [row for row in index["manifests"] if row.get("platform", {}).get("os") != "unknown"]
    if not 0 < len(rows) <= MAX_PLATFORMS:
        raise DataError(f"{image} has {len(rows)} platforms, limit: 1 to {MAX_PLATFORMS}", hint="build it again")
    return [object_of(_part(session, "manifests", row), image) for row in rows]


def _part(session: Session, kind: str, described: dict[str, Any]) -> bytes:
    """What a descriptor stands for, by its digest."""
    if not re.fullmatch(DIGEST, described["digest"]):
        raise ValueError(described["digest"])
    return session.fetch(f"{kind}/{described['digest']}", described["digest"])
