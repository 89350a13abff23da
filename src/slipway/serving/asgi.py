"""The HTTP front of the service: a pure ASGI middleware that answers the model's routes before BentoML does.

BentoML documents such middlewares (`Service.add_asgi_middleware`); its own request machinery would
cost half the requests per second and bring a second set of messages.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import orjson
from prometheus_client import CONTENT_TYPE_LATEST

from slipway.serving.concurrency import BodyDeadline, Message, MicroBatcher, Receive, too_large
from slipway.serving.validation import BadRequest, Row, refusal

Scope = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 4.0
"""A body that has not arrived whole by then is given up."""
LARGE = 64 << 10
"""A body of more bytes is answered in a thread, so that small requests need not wait for it."""
JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
GOTTEN = ("/livez", "/readyz", "/metrics", "/docs.json")
"""Paths that are read; the two probes answer once the model has, for nothing is listened to before."""

log = logging.getLogger("bentoml.slipway")


class Engine(Protocol):
    """What answers: `serve.Engine`."""

    asks: bool
    max_body_bytes: int
    openapi: bytes

    def read(self, body: bytes) -> tuple[list[Row], bool]:
        """The rows of a body, and whether it was a single one."""

    def answers(self, rows: list[Row]) -> list[float]:
        """A prediction for each row."""

    def predict(self, body: bytes) -> bytes:
        """POST /predict, from the body to the answer."""

    def ask(self, body: bytes) -> bytes:
        """POST /ask."""

    def metrics(self) -> bytes:
        """GET /metrics."""

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request was answered."""


class Front:
    """Pure ASGI middleware: answers the routes of the model and leaves the rest to BentoML."""

    def __init__(self, app: Any, engine: Callable[[], Engine]) -> None:
        self._app = app
        self._engine = engine
        self._patience = BodyDeadline(BODY_SECONDS)
        self._together = MicroBatcher(lambda rows: self._engine().answers(rows))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("path", "")
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif path == "/predict" or (path == "/ask" and self._engine().asks):
            await self._post(path, scope, receive, send)
        elif path in GOTTEN:
            await self._get(path, scope, send)
        else:
            await self._app(scope, receive, _private(send) if path == "/" else send)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started, own, status, headers = time.perf_counter(), self._engine(), 200, {}
        try:
            _acceptable(scope, own.max_body_bytes)
            body = await self._patience.body(receive, own.max_body_bytes)
            if not body.strip():
                raise refusal(400, "the body is empty", limit="a JSON object, or a list of them")
            answer = await self._predicted(own, body) if path == "/predict" else own.ask(body)
        except BadRequest as error:
            status, answer, headers = error.status, orjson.dumps(error.document()), error.headers
        except ConnectionResetError:
            return
        except Exception:
            log.exception("%s failed", path)
            status, answer = (
                500,
                orjson.dumps(refusal(500, "the service failed; its log says why").document()),
            )
        await _respond(send, status, answer, JSON, headers)
        own.count(path, status, time.perf_counter() - started)

    async def _predicted(self, own: Engine, body: bytes) -> bytes:
        if len(body) > LARGE:
            return await asyncio.to_thread(own.predict, body)
        rows, single = own.read(body)
        if single:
            return orjson.dumps({"prediction": await self._together(rows[0])})
        return orjson.dumps({"predictions": own.answers(rows)})

    async def _get(self, path: str, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            error = refusal(405, f"{path} is read by GET, not {scope['method']}", limit="GET", allow="GET, HEAD")
            await _respond(send, 405, orjson.dumps(error.document()), JSON, error.headers)
        elif path == "/metrics":
            await _respond(send, 200, self._engine().metrics(), CONTENT_TYPE_LATEST.encode())
        elif path == "/docs.json":
            await _respond(send, 200, self._engine().openapi, JSON)
        else:
            await _respond(send, 200, b"\n", TEXT)


def _acceptable(scope: Scope, most: int) -> None:
    """Refuse by method and headers, before the body is read."""
    if scope["method"] != "POST":
        raise refusal(405, f"{scope['path']} is asked by POST, not {scope['method']}", limit="POST", allow="POST")
    for name, value in scope["headers"]:
        if name == b"content-type" and value.split(b";")[0].strip().lower() != JSON:
            text = value.decode("latin-1")[:100]
            raise refusal(415, f"content-type is {text}, limit: application/json", limit="application/json", value=text)
        if name == b"content-length" and int(value) > most:
            raise too_large(int(value), most)


async def _respond(send: Send, status: int, body: bytes, kind: bytes, extra: dict[str, str] | None = None) -> None:
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
    ]
    if extra:
        headers += [(name.encode(), value.encode()) for name, value in extra.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _private(send: Send) -> Send:
    """The bundled page loads a tracker from elsewhere: allow it this service only."""
    policy = b"default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"

    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"content-security-policy", policy)]
        await send(message)

    return guarded
