"""Read an image's labels, size and digest from its registry, without pulling or running it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from slipway.core import text
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.packaging import registry_login

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HUB = {"docker.io": "registry-1.docker.io"}
TIMEOUT_SECONDS = 20.0
MAX_PLATFORMS = 8
MAX_BYTES = 4_000_000
"""Size limit of a manifest or a configuration, as registries have it."""
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
    """The registry responded that it has no such image."""


class RegistryUnavailable(Inconclusive):
    """The registry did not respond, or its response is not valid."""

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="check that the registry is running and reachable, then run the command again")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The parts of `host/name:tag@digest`."""

    host: str
    name: str
    tag: str | None
    digest: str | None

    @property
    def ref(self) -> str:
        """The last part of a manifest's address: the digest, else the tag, else `latest`."""
        return self.digest or self.tag or "latest"

    @property
    def repository(self) -> str:
        """`host/name`, like an overlay's newName."""
        return f"{self.host}/{self.name}"

    @property
    def url(self) -> str:
        """The address of the image in the registry's API."""
        host = HUB.get(self.host, self.host)
        scheme = "http" if urlsplit(f"//{host}").hostname in LOOPBACK else "https"
        return f"{scheme}://{host}/v2/{self.name}"


def parse_reference(image: str) -> Reference:
    """The parts of a reference; ConfigError when it is not one, or names no registry."""
    match = REFERENCE.fullmatch(image)
    if not match:
        raise ConfigError(
            f"the image is {text.printable(image, 120)!r}",
            expected="HOST[:PORT]/NAME@sha256:…",
            hint="name the image with its registry and its digest",
        )
    host = match["host"] + (match["port"] or "")
    return Reference(host=host, name=match["name"], tag=match["tag"], digest=match["digest"])


@dataclass(frozen=True, kw_only=True)
class Image:
    """`digest` of an image's manifest or index, `bytes` of its packed layers and configuration."""

    digest: str
    labels: dict[str, str]
    created: str | None
    bytes: int


def labels(image: str) -> dict[str, str]:
    """The labels of an image, the same on each of its platforms. Errors as in `inspect_image`."""
    return inspect_image(image).labels


def exists(image: str) -> bool:
    """Return whether the registry has the image now. Errors as in `inspect_image`."""
    reference = parse_reference(image)
    with Session(reference) as session:
        try:
            session.fetch(f"manifests/{reference.ref}", reference.digest)
        except ImageNotFound:
            return False
    return True


def inspect_image(image: str) -> Image:
    """Read manifest and configuration of an image.

    ImageNotFound when it is not there; DataError when bytes do not match their digest, or are no image; ConfigError for
    a wrong reference, and for a login that is missing, wrong or expired; RegistryUnavailable for everything else.
    """
    reference = parse_reference(image)
    with Session(reference) as session:
        raw = session.fetch(f"manifests/{reference.ref}", reference.digest)
        try:
            return _read(session, raw, image)
        except (LookupError, TypeError, ValueError, AttributeError):
            message = f"{image} is not a valid image: its manifest is incomplete"
            raise DataError(message, hint="build and push it again") from None


def _read(session: Session, raw: bytes, image: str) -> Image:
    manifest = parse_object(raw, image)
    platforms = [manifest] if "config" in manifest else _platforms(session, manifest, image)
    configs = [parse_object(_fetch_part(session, "blobs", each["config"]), image) for each in platforms]
    labels_by_platform = [config["config"].get("Labels") or {} for config in configs]
    if any(each != labels_by_platform[0] for each in labels_by_platform):
        hint = "build all platforms from the same commit"
        raise DataError(f"the labels of {image} differ between its platforms", hint=hint)
    return Image(
        digest=digest(raw),
        labels={str(name): str(value) for name, value in labels_by_platform[0].items()},
        created=configs[0].get("created"),
        bytes=sum(int(part["size"]) for part in (platforms[0]["config"], *platforms[0]["layers"])),
    )


def _platforms(session: Session, index: dict[str, Any], image: str) -> list[dict[str, Any]]:
    """The manifests of an index, without the attestations that builders add."""
    rows = [row for row in index["manifests"] if row.get("platform", {}).get("os") != "unknown"]
    if not 0 < len(rows) <= MAX_PLATFORMS:
        raise DataError(
            f"{image} has {len(rows)} platforms",
            allowed=f"1 to {MAX_PLATFORMS}",
            value=len(rows),
            hint="build and push it again for fewer platforms",
        )
    return [parse_object(_fetch_part(session, "manifests", row), image) for row in rows]


def _fetch_part(session: Session, kind: str, descriptor: dict[str, Any]) -> bytes:
    """Fetch the content of a descriptor by its digest."""
    if not re.fullmatch(DIGEST, descriptor["digest"]):
        raise ValueError(descriptor["digest"])
    return session.fetch(f"{kind}/{descriptor['digest']}", descriptor["digest"])


def digest(raw: bytes) -> str:
    """The `sha256:` digest of `raw`."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


def parse_object(raw: bytes, subject: str) -> dict[str, Any]:
    """Parse a JSON object; DataError about `subject` when the bytes are not one."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DataError(f"{subject}: the registry returned something that is not a JSON object", hint="push it again")
    return value


class Session:
    """Requests about one image, logged in as the registry requires: not at all, basic, or by a token for the repository."""

    def __init__(self, reference: Reference, *, seconds: float = TIMEOUT_SECONDS) -> None:
        self._reference, self._seconds = reference, seconds
        self._login = registry_login.find_login(reference.host, reference.name)
        self._is_http = reference.url.startswith("http://")
        self._authorization: dict[str, str] = {}
        self._client = httpx.Client(timeout=seconds, follow_redirects=True, max_redirects=5,
                                    headers={"user-agent": "slipway"},
                                    event_hooks={"request": [self._require_safe_address]})  # fmt: skip

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def fetch(self, path: str, expected: str | None) -> bytes:
        """Fetch the bytes at `path` below the image's address; DataError unless they have the `expected` digest, if any."""
        subject = f"{self._reference.repository}: {path}"
        headers = {"accept": ", ".join([*MANIFESTS, *INDEXES])} if path.startswith("manifests/") else {}
        url = f"{self._reference.url}/{path}"
        status, raw, challenge = self._get(url, headers | self._authorization, subject)
        if status == 401 and not self._authorization:
            self._authorization = self._authorize(challenge)
            status, raw, _ = self._get(url, headers | self._authorization, subject)
        self._require_ok(status, subject)
        if expected is not None and digest(raw) != expected:
            raise DataError(
                f"{subject}: the registry returned bytes with another digest, {digest(raw)}",
                hint="do not deploy this image: its bytes are not those that were released",
            )
        return raw

    def _get(self, url: str, headers: dict[str, str], subject: str) -> tuple[int, bytes, str]:
        """Status, body and login challenge of a response, within MAX_BYTES and `seconds`."""
        body, deadline = bytearray(), time.monotonic() + self._seconds
        try:
            # A content-encoding would be inflated before it is counted.
            with self._client.stream("GET", url, headers={"accept-encoding": "identity", **headers}) as response:
                for part in response.iter_raw():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise DataError(
                            f"{subject} has more than {MAX_BYTES:,} bytes", allowed=f"at most {MAX_BYTES:,}",
                            hint="check that the name is that of an image",
                        )  # fmt: skip
                    if time.monotonic() > deadline:
                        raise RegistryUnavailable(
                            f"{subject}: the response was not complete within {self._seconds:g} s"
                        )
                return response.status_code, bytes(body), response.headers.get("www-authenticate", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            problem = "no response in time" if isinstance(error, httpx.TimeoutException) else text.printable(error, 200)
            raise RegistryUnavailable(f"{subject}: {problem or type(error).__name__}") from None

    def _authorize(self, challenge: str) -> dict[str, str]:
        """The header that answers a challenge: basic, or a token from the service that the challenge names."""
        kind, _, rest = challenge.partition(" ")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
        if kind.lower() != "bearer" or not fields.get("realm"):
            return self._basic_header()
        query = {"scope": f"repository:{self._reference.name}:pull"}
        query |= {"service": fields["service"]} if "service" in fields else {}
        subject = f"{self._reference.repository}: a token of {text.printable(fields['realm'], 100)}"
        separator = "&" if "?" in fields["realm"] else "?"
        url = f"{fields['realm']}{separator}{urlencode(query)}"
        status, raw, _ = self._get(url, self._basic_header(), subject)
        self._require_ok(status, subject)
        answer = parse_object(raw, subject)
        return {"authorization": f"Bearer {answer.get('token') or answer.get('access_token')}"}

    def _basic_header(self) -> dict[str, str]:
        if self._login is None:
            return {}
        pair = base64.b64encode(f"{self._login.user}:{self._login.password}".encode()).decode()
        return {"authorization": f"Basic {pair}"}

    def _require_ok(self, status: int, subject: str) -> None:
        """Return for status 200; else raise the error that it means."""
        if status == 200:
            return
        if status in (401, 403):
            reason = "the login is wrong, expired or has no access" if self._login else "a login is required"
            hint = f"docker login {self._reference.host}, or set REGISTRY_USER and REGISTRY_TOKEN"
            raise ConfigError(f"{subject}: the registry returned status {status}: {reason}", hint=hint)
        if status == 404:
            raise ImageNotFound(
                f"{subject} is not in the registry",
                hint="push it again with `slipway image`, or restore the previous release with `slipway rollback`",
            )
        raise RegistryUnavailable(f"{subject}: the registry returned status {status}")

    def _require_safe_address(self, request: httpx.Request) -> None:
        """Refuse plain HTTP, so that no login is sent in the clear, and redirects to this machine; called for each redirect."""
        url = request.url
        if url.scheme != "https" and not (self._is_http and url.host in LOOPBACK):
            raise ConfigError(
                f"the registry {self._reference.host} redirects to {text.printable(url, 100)}", expected="https://…",
                value=str(url), hint="use HTTPS; plain HTTP is accepted only for a registry on this machine",
            )  # fmt: skip
