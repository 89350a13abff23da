"""Deadline for request bodies (408) and micro-batching of single-row requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from slipway.serving.validation import BadRequest, Row, refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyDeadline:
    """Cancels tasks that wait too long for a body, with one timer for all of them instead of one per request."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: dict[asyncio.Task[Any], float] = {}
        self._armed = False

    async def body(self, receive: Receive, max_bytes: int) -> bytes:
        """Read the whole body; BadRequest 408 after the deadline, 413 above `max_bytes`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 a server always runs a task
        loop = asyncio.get_running_loop()
        self._since[task] = loop.time()
        if not self._armed:
            self._armed = True
            loop.call_later(self._seconds, self._cancel_late, loop)
        try:
            return await _read_body(receive, max_bytes)
        except asyncio.CancelledError:
            if task in self._since:  # cancelled by the server, which is stopping, not by the deadline
                raise
            task.uncancel()
            raise refusal(408, f"the request's body did not arrive completely within {self._seconds:g} s") from None
        finally:
            self._since.pop(task, None)

    def _cancel_late(self, loop: asyncio.AbstractEventLoop) -> None:
        late = [task for task, since in self._since.items() if since <= loop.time() - self._seconds]
        for task in late:
            del self._since[task]
            task.cancel()
        self._armed = bool(self._since)
        if self._armed:
            loop.call_later(self._seconds / 4, self._cancel_late, loop)


class MicroBatcher:
    """Runs the model once for all single rows that arrive in the same turn of the event loop; adds no delay."""

    def __init__(self, predict: Callable[[list[Row]], list[float]]) -> None:
        self._predict = predict
        self._pending: list[tuple[Row, asyncio.Future[float]]] = []

    def __call__(self, row: Row) -> asyncio.Future[float]:
        """Add `row` to the next run and return its prediction as a future."""
        loop = asyncio.get_running_loop()
        if not self._pending:
            loop.call_soon(self._run)
        prediction: asyncio.Future[float] = loop.create_future()
        self._pending.append((row, prediction))
        return prediction

    def _run(self) -> None:
        batch, self._pending = self._pending, []
        try:
            values = self._predict([row for row, _ in batch])
        except Exception as error:  # every request of the batch fails with it, and logs it
            for _, prediction in batch:
                if not prediction.done():
                    prediction.set_exception(error)
            return
        for (_, prediction), value in zip(batch, values, strict=True):
            if not prediction.done():  # the client may have disconnected
                prediction.set_result(value)


async def _read_body(receive: Receive, max_bytes: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= max_bytes:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ConnectionResetError
    if len(body) > max_bytes:
        raise too_large(len(body), max_bytes)
    return body


def too_large(size: int, max_bytes: int) -> BadRequest:
    """The 413 for a body of `size` bytes."""
    return refusal(
        413,
        f"the body has at least {size:,} bytes; allowed: at most {max_bytes:,} bytes",
        limit=f"{max_bytes} bytes",
        value=size,
    )
