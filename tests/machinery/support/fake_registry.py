"""A small registry: a real HTTP server that speaks the OCI distribution protocol (pull and push), its images in memory.

    with fake_registry.server() as address:               # "127.0.0.1:43210", plain HTTP
        image = fake_registry.push(address, "flights", labels={"a": "b"})  # "127.0.0.1:43210/flights@sha256:…"

    with fake_registry.Registry(login=("ada", "s3cret")) as registry:  # basic; scheme="bearer" for a token service
        registry.expired = True            # from now on the login is no longer good
        registry.blobs[digest] = b"other bytes"  # what it answers need not be what was pushed
        assert registry.log[-1] == "HEAD /v2/flights/manifests/latest"

docker, buildah and podman can push to it too. `when` lets a test answer in its place.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER = {
    MANIFEST: "application/vnd.docker.distribution.manifest.v2+json",
    INDEX: "application/vnd.docker.distribution.manifest.list.v2+json",
    CONFIG: "application/vnd.docker.container.image.v1+json",
    LAYER: "application/vnd.docker.image.rootfs.diff.tar.gzip",
}


class PushRefused(Exception):
    """The registry did not take a part of an image."""


def digest(raw: bytes) -> str:
    """sha256:… of bytes."""
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


@dataclass
class Reply:
    """A response; a dict or list becomes JSON. With a `pause`, in seconds, it comes byte by byte."""

    status: int = 200
    body: Any = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    pause: float = 0.0


def problem(status: int, code: str, **headers: str) -> Reply:
    """An error as the distribution specification words it."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}, named)


@dataclass(frozen=True)
class Request:
    """A request that arrived; header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


class Registry:
    """Its state: `blobs` by digest, `manifests` by (name, tag or digest) as (media type, bytes), the `log` of requests.

    With `login` a user and password are asked for, by `scheme` basic or bearer; `anonymous` tokens may pull then.
    """

    def __init__(self, *, login: tuple[str, str] | None = None, scheme: str = "basic", anonymous: bool = False) -> None:
        self.login, self.scheme, self.anonymous = login, scheme, anonymous
        self.expired = False
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytes] = {}
        self.tokens: dict[str, str] = {}
        self.log: list[str] = []
        self.requests: list[Request] = []
        self.when: Callable[[Request], Reply | None] = lambda _: None
        self._server = _server(self)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._server.server_port}"

    # Answers

    def answer(self, request: Request) -> Reply:
        """The registry's response to a request."""
        self.log.append(request.line)
        self.requests.append(request)
        if (replaced := self.when(request)) is not None:
            return replaced
        if request.path == "/token":
            return self._token(request)
        if not self._allowed(request):
            return problem(401, "UNAUTHORIZED", www_authenticate=self._challenge(request))
        if request.path == "/v2/":
            return Reply(200, {})
        found = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|tags)/(.*)", request.path)
        if not found:
            return problem(404, "NAME_UNKNOWN")
        name, kind, rest = found.groups()
        if kind == "tags":
            tags = sorted(ref for of, ref in self.manifests if of == name and ":" not in ref)
            return Reply(200, {"name": name, "tags": tags}) if tags else problem(404, "NAME_UNKNOWN")
        return self._manifest(request, name, rest) if kind == "manifests" else self._blob(request, name, rest)

    def _manifest(self, request: Request, name: str, ref: str) -> Reply:
        if request.method == "PUT":
            kept = (request.headers.get("content-type", MANIFEST), request.body)
            self.manifests[name, ref] = self.manifests[name, digest(request.body)] = kept
            place = f"/v2/{name}/manifests/{digest(request.body)}"
            return Reply(201, b"", {"location": place, "docker-content-digest": digest(request.body)})
        if (name, ref) not in self.manifests:
            return problem(404, "MANIFEST_UNKNOWN")
        if request.method == "DELETE":
            del self.manifests[name, ref]
            return Reply(202)
        kind, raw = self.manifests[name, ref]
        return Reply(200, raw, {"content-type": kind, "docker-content-digest": digest(raw)})

    def _blob(self, request: Request, name: str, rest: str) -> Reply:
        if rest.startswith("uploads/"):
            return self._upload(request, name, rest.removeprefix("uploads/"))
        if rest not in self.blobs:
            return problem(404, "BLOB_UNKNOWN")
        kind = {"content-type": "application/octet-stream", "docker-content-digest": rest}
        return Reply(200, self.blobs[rest], kind)

    def _upload(self, request: Request, name: str, session: str) -> Reply:
        """POST begins (or does it whole, with a digest), PATCH adds, PUT ends."""
        session = session or uuid.uuid4().hex
        self.uploads[session] = self.uploads.get(session, b"") + request.body
        place = {"location": f"/v2/{name}/blobs/uploads/{session}", "docker-upload-uuid": session}
        ends = request.query.get("digest")
        if not ends:
            return Reply(202, b"", place | {"range": f"0-{max(len(self.uploads[session]) - 1, 0)}"})
        raw = self.uploads.pop(session)
        if digest(raw) != ends:
            return problem(400, "DIGEST_INVALID")
        self.blobs[ends] = raw
        return Reply(201, b"", {"location": f"/v2/{name}/blobs/{ends}", "docker-content-digest": ends})

    # Who may

    def _known(self, request: Request) -> bool:
        """Return True if the request has the login, as basic authentication."""
        if self.expired or self.login is None:
            return False
        expected = base64.b64encode(":".join(self.login).encode()).decode()
        return request.headers.get("authorization", "") == f"Basic {expected}"

    def _allowed(self, request: Request) -> bool:
        if self.login is None:
            return True
        if self.scheme == "basic":
            return self._known(request)
        scope = self.tokens.get(request.headers.get("authorization", "").removeprefix("Bearer "))
        return scope is not None and (request.method in ("GET", "HEAD") or scope == "push")

    def _challenge(self, request: Request) -> str:
        if self.scheme == "basic":
            return 'Basic realm="registry"'
        found = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags)/", request.path)
        acts = "pull" if request.method in ("GET", "HEAD") else "pull,push"
        scope = f',scope="repository:{found[1]}:{acts}"' if found else ""
        return f'Bearer realm="http://{self.address}/token",service="registry"{scope}'

    def _token(self, request: Request) -> Reply:
        known = self._known(request)
        if not known and (not self.anonymous or "authorization" in request.headers):
            return problem(401, "UNAUTHORIZED")
        token = uuid.uuid4().hex
        self.tokens[token] = "push" if known else "pull"
        return Reply(200, {"token": token, "expires_in": 300})


@contextmanager
def server(**options: Any) -> Iterator[str]:
    """The address (host:port) of an empty registry; `options` as of `Registry`."""
    with Registry(**options) as registry:
        yield registry.address


def image(
    labels: Mapping[str, str], *, docker: bool = False, files: Mapping[str, bytes] | None = None
) -> dict[str, Any]:
    """A small image of one layer: {"manifest", "config", "layer"} as bytes, and the manifest's media `type`."""
    kind = DOCKER if docker else {}
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, body in (files or {"hello": b"hello"}).items():
            member = tarfile.TarInfo(name)
            member.size = len(body)
            tar.addfile(member, io.BytesIO(body))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2026-03-01T12:00:00Z", "config": {"Labels": dict(labels)},
        "rootfs": {"type": "layers", "diff_ids": [digest(raw.getvalue())]},
    }).encode()  # fmt: skip
    described = [(CONFIG, config), (LAYER, layer)]
    parts = [{"mediaType": kind.get(t, t), "digest": digest(b), "size": len(b)} for t, b in described]
    manifest = {"schemaVersion": 2, "mediaType": kind.get(MANIFEST, MANIFEST), "config": parts[0], "layers": parts[1:]}
    return {"manifest": json.dumps(manifest).encode(), "config": config, "layer": layer,
            "type": kind.get(MANIFEST, MANIFEST)}  # fmt: skip


def push(
    address: str, name: str, *, labels: Mapping[str, str] | None = None, tag: str = "latest", docker: bool = False,
    index: bool = False, files: Mapping[str, bytes] | None = None, auth: tuple[str, str] | None = None,
) -> str:  # fmt: skip
    """Push a small image (in an image index with `index`); `address/name@sha256:…`. `auth` is for basic logins."""
    parts = image(labels or {}, docker=docker, files=files)
    manifests = [(parts["type"], parts["manifest"])]
    if index:
        raw = manifest_index([(parts["type"], parts["manifest"], "amd64")], docker=docker)
        manifests.append((DOCKER[INDEX] if docker else INDEX, raw))
    headers = {"authorization": f"Basic {base64.b64encode(':'.join(auth).encode()).decode()}"} if auth else {}
    connection = HTTPConnection(address, timeout=60)
    try:
        for blob in (parts["config"], parts["layer"]):
            _send(connection, "POST", f"/v2/{name}/blobs/uploads/?digest={digest(blob)}", blob, headers)
        for kind, raw in manifests:
            _send(connection, "PUT", f"/v2/{name}/manifests/{tag}", raw, headers | {"content-type": kind})
    finally:
        connection.close()
    return f"{address}/{name}@{digest(manifests[-1][1])}"


def _send(connection: HTTPConnection, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> None:
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    response.read()
    if response.status >= 400:
        raise PushRefused(f"{method} {path}: {response.status}")


def manifest_index(parts: list[tuple[str, bytes, str]], *, docker: bool = False) -> bytes:
    """An image index over manifests given as (media type, bytes, architecture)."""
    rows = [{"mediaType": kind, "digest": digest(raw), "size": len(raw), "platform": {"os": "linux", "architecture": arch}}
            for kind, raw, arch in parts]  # fmt: skip
    return json.dumps({"schemaVersion": 2, "mediaType": DOCKER[INDEX] if docker else INDEX, "manifests": rows}).encode()


def _server(registry: Registry) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = registry.answer(Request(self.command, url.path, query, headers, self.body(headers)))
            raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            kind = "application/json" if not isinstance(reply.body, bytes) else "application/octet-stream"
            usual = {"docker-distribution-api-version": "registry/2.0", "content-type": kind,
                     "content-length": str(len(raw))}  # fmt: skip
            self.send_response(reply.status)
            for name, value in (usual | dict(reply.headers)).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                for part in [raw[at : at + 1] for at in range(len(raw))] if reply.pause else [raw]:
                    self.wfile.write(part)
                    time.sleep(reply.pause)

        def body(self, headers: Mapping[str, str]) -> bytes:
            """By length, or in chunks as Go's clients send it."""
            if headers.get("transfer-encoding") != "chunked":
                return self.rfile.read(int(headers.get("content-length", 0)))
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *said: object) -> None:
            """Say nothing: `log` has it."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """A client that went away is no event."""

    return Server(("127.0.0.1", 0), Handler)
