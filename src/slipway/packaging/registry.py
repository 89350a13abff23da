"""What an image says of itself, as its registry has it; nothing is pulled or run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from slipway.core import text
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.packaging import registry_login

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
    where = parse_reference(image)
    with Session(where) as session:
        try:
            session.fetch(f"manifests/{where.ref}", where.digest)
        except ImageNotFound:
            return False
    return True


def look(image: str) -> Image:
    """Manifest and configuration of an image.

    Missing (3) when it is not there, DataError (3) when bytes do not have the digest they go by or are no image,
    ConfigError (2) for a wrong reference and for a login that is missing, wrong or expired, Unreachable (5) else.
    """
    where = parse_reference(image)
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


LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HUB = {"docker.io": "registry-1.docker.io"}
TIMEOUT_SECONDS = 20.0
MAX_BYTES = 4_000_000
"""Of a manifest or a configuration, as registries limit them."""
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
DIGEST = r"sha256:[0-9a-f]{64}"
REFERENCE = re.compile(
    r"(?P<host>localhost|[\w-]+(?:\.[\w-]+)+|(?:[\w.-]+|\[[0-9a-f:]+\])(?=:))(?P<port>:\d{1,5})?/"
    r"(?P<name>[a-z0-9]+(?:(?:[./]|_{1,2}|-+)[a-z0-9]+)*)(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>"
    + DIGEST
    + "))?",
    re.ASCII,
)


class ImageNotFound(DataError):
    """The registry answers, and has no such image."""


class RegistryUnavailable(Inconclusive):
    """No answer, or a broken one: nothing is known about the image."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="is the registry up? run it again later")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`host/name:tag@digest` in parts; `ref` is what the registry is asked for."""

    host: str
    name: str
    tag: str | None
    digest: str | None

    @property
    def ref(self) -> str:
        """The digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def repository(self) -> str:
        """host/name, as an overlay's newName says it."""
        return f"{self.host}/{self.name}"

    @property
    def url(self) -> str:
        """Where the registry's API has the image."""
        host = HUB.get(self.host, self.host)
        scheme = "http" if httpx.URL(f"http://{host}").host in LOOPBACK else "https"
        return f"{scheme}://{host}/v2/{self.name}"


def parse_reference(image: str) -> Reference:
    """The parts of a reference; ConfigError when it is none, or names no registry."""
    found = REFERENCE.fullmatch(image)
    if not found:
        raise ConfigError(
            f"{text.printable(image, 120)!r} is no image of a registry",
            hint="write HOST[:PORT]/NAME@sha256:…",
        )
    host = found["host"] + (found["port"] or "")
    return Reference(host=host, name=found["name"], tag=found["tag"], digest=found["digest"])


def digest(raw: bytes) -> str:
    """What content goes by."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def object_of(raw: bytes, what: str) -> dict[str, Any]:
    """A JSON object; DataError when the bytes are none."""
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(f"{what}: what the registry has is no JSON object", hint="build and push it again")
    return found


class Session:
    """Requests about one image, with a login as the registry wants it: none, basic, or a token for this repository."""

    def __init__(self, where: Reference, *, seconds: float = TIMEOUT_SECONDS) -> None:
        self._where, self._seconds = where, seconds
        self._login = registry_login.of(where.host, where.name)
        self._plain = where.url.startswith("http://")
        self._authorization: dict[str, str] = {}
        self._client = httpx.Client(timeout=seconds, follow_redirects=True, max_redirects=5,
                                    headers={"user-agent": "slipway"}, event_hooks={"request": [self._safe]})  # fmt: skip

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, path: str, expected: str | None) -> bytes:
        """The bytes below the image's address; DataError unless they have the digest, where one is given."""
        what = f"{self._where.repository}: {path}"
        headers = {"accept": ", ".join([*MANIFESTS, *INDEXES])} if path.startswith("manifests/") else {}
        url = f"{self._where.url}/{path}"
        status, raw, wants = self._get(url, headers | self._authorization, what)
        if status == 401 and not self._authorization:
            self._authorization = self._answer(wants)
            status, raw, _ = self._get(url, headers | self._authorization, what)
        self._judge(status, what)
        if expected is not None and digest(raw) != expected:
            raise DataError(
                f"{what}: the registry gave other bytes, of {digest(raw)}",
                hint="do not deploy from it; compare with another copy of the image",
            )
        return raw

    def _get(self, url: str, headers: dict[str, str], what: str) -> tuple[int, bytes, str]:
        """Status, body and what login is wanted; no more than MAX_BYTES, no longer than `seconds`."""
        body, until = bytearray(), time.monotonic() + self._seconds
        try:
            # A content-encoding would be inflated before it is counted.
            with self._client.stream("GET", url, headers={"accept-encoding": "identity", **headers}) as answer:
                for part in answer.iter_raw():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise DataError(f"{what} has more than {MAX_BYTES:,} bytes, limit: {MAX_BYTES:,}")
                    if time.monotonic() > until:
                        raise RegistryUnavailable(f"{what}: not done in {self._seconds:g} s")
                return answer.status_code, bytes(body), answer.headers.get("www-authenticate", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            kind = "no answer in time" if isinstance(error, httpx.TimeoutException) else text.printable(error, 200)
            raise RegistryUnavailable(f"{what}: {kind or type(error).__name__}") from None

    def _answer(self, wants: str) -> dict[str, str]:
        """The header for a challenge: basic, or a token from the service that it names."""
        kind, _, rest = wants.partition(" ")
        told = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or not told.get("realm"):
            return self._basic()
        query = {"scope": f"repository:{self._where.name}:pull"}
        query |= {"service": told["service"]} if "service" in told else {}
        what = f"{self._where.repository}: a token of {text.printable(told['realm'], 100)}"
        joint = "&" if "?" in told["realm"] else "?"
        status, raw, _ = self._get(f"{told['realm']}{joint}{urlencode(query)}", self._basic(), what)
        self._judge(status, what)
        said = object_of(raw, what)
        return {"authorization": f"Bearer {said.get('token') or said.get('access_token')}"}

    def _basic(self) -> dict[str, str]:
        if self._login is None:
            return {}
        pair = base64.b64encode(f"{self._login.user}:{self._login.password}".encode()).decode()
        return {"authorization": f"Basic {pair}"}

    def _judge(self, status: int, what: str) -> None:
        if status == 200:
            return
        if status in (401, 403):
            was = "the login is wrong or expired, or may not read this" if self._login else "it wants a login"
            hint = f"docker login {self._where.host}, or set REGISTRY_USER and REGISTRY_TOKEN"
            raise ConfigError(f"{what}: the registry answered {status}: {was}", hint=hint)
        if status == 404:
            raise ImageNotFound(
                f"{what} is not in the registry", hint="push it again, or release another: `slipway rollback`"
            )
        raise RegistryUnavailable(f"{what}: the registry answered {status}")

    def _safe(self, request: httpx.Request) -> None:
        """Also called for each redirect: no login and no image in the clear, and nobody sends us to this machine."""
        url = request.url
        if url.scheme != "https" and not (self._plain and url.host in LOOPBACK):
            raise ConfigError(f"{self._where.host} points to {text.printable(url, 100)}, limit: https://…",
                              hint="plain HTTP is for a registry on this machine")  # fmt: skip
