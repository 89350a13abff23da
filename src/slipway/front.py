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

from slipway.request import BadRequest, refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

BODY_SECONDS = 4.0
"""A body that has not arrived whole by then is given up."""
LARGE = 64 << 10
"""A body of more bytes is answered in a thread, so that small requests need not wait for it."""
JSON = b"application/json"

log = logging.getLogger("bentoml.slipway")


class Engine(Protocol):
    """What answers: `serve.Engine`."""

    asks: bool
    max_body_bytes: int
    openapi: bytes

    def predict(self, body: bytes) -> bytes:
        """POST /predict."""

    def ask(self, body: bytes) -> bytes:
        """POST /ask."""

    def metrics(self) -> bytes:
        """GET /metrics."""

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request was answered."""


class Patience:
    """Cancels tasks that wait too long, with one timer for all of them instead of one for each request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._armed = False

    async def body(self, receive: Receive, most: int) -> bytes:
        """The whole body; BadRequest 408 when it stops arriving, 413 over `most` bytes."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 a server always runs a task
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if not self._armed:
            self._armed = True
            loop.call_later(self._seconds, self._look, loop)
        try:
            return await _whole(receive, most)
        except asyncio.CancelledError:
            if task in self._since:  # somebody else's cancellation: the server stops
                raise
            task.uncancel()
            raise refusal(408, f"the body did not arrive within {self._seconds:g} s") from None
        finally:
            self._since.pop(task, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        late = [task for task, since in self._since.items() if since <= loop.time() - self._seconds]
        for task in late:
            del self._since[task]
            task.cancel()
        self._armed = bool(self._since)
        if self._armed:
            loop.call_later(self._seconds / 4, self._look, loop)


async def _whole(receive: Receive, most: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ConnectionResetError
    if len(body) > most:
        raise _too_large(len(body), most)
    return body


def _too_large(size: int, most: int) -> BadRequest:
    return refusal(413, f"the body has {size:,} bytes or more, limit: {most:,}", limit=f"{most} bytes", value=size)


class Front:
    """Pure ASGI middleware: answers the routes of the model and leaves the rest to BentoML."""

    def __init__(self, app: Any, engine: Callable[[], Engine]) -> None:
        self._app = app
        self._engine = engine
        self._patience = Patience(BODY_SECONDS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        path = scope.get("path", "")
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif path == "/predict" or (path == "/ask" and self._engine().asks):
            await self._post(path, scope, receive, send)
        elif path in ("/metrics", "/docs.json"):
            await self._get(path, scope, send)
        else:
            await self._app(scope, receive, _private(send) if path == "/" else send)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        started, own, status, headers = time.perf_counter(), self._engine(), 200, {}
        work = own.predict if path == "/predict" else own.ask
        try:
            _acceptable(scope, own.max_body_bytes)
            body = await self._patience.body(receive, own.max_body_bytes)
            if not body.strip():
                raise refusal(400, "the body is empty", limit="a JSON object, or a list of them")
            large = len(body) > LARGE and path == "/predict"
            answer = await asyncio.to_thread(work, body) if large else work(body)
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

    async def _get(self, path: str, scope: Scope, send: Send) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            error = refusal(405, f"{path} is read by GET, not {scope['method']}", limit="GET", allow="GET, HEAD")
            await _respond(send, 405, orjson.dumps(error.document()), JSON, error.headers)
        elif path == "/metrics":
            await _respond(send, 200, self._engine().metrics(), CONTENT_TYPE_LATEST.encode())
        else:
            await _respond(send, 200, self._engine().openapi, JSON)


def _acceptable(scope: Scope, most: int) -> None:
    """Refuse by method and headers, before the body is read."""
    if scope["method"] != "POST":
        raise refusal(405, f"{scope['path']} is asked by POST, not {scope['method']}", limit="POST", allow="POST")
    for name, value in scope["headers"]:
        if name == b"content-type" and value.split(b";")[0].strip().lower() != JSON:
            text = value.decode("latin-1")[:100]
            raise refusal(415, f"content-type is {text}, limit: application/json", limit="application/json", value=text)
        if name == b"content-length" and int(value) > most:
            raise _too_large(int(value), most)


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
