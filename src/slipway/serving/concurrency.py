"""What requests wait for: a body that arrives too slowly is given up, and rows that arrive together are answered together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from slipway.serving.validation import BadRequest, Row, refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


class BodyDeadline:
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


class MicroBatcher:
    """One run of the model for all single rows that arrive in the same turn of the event loop; it waits for no more."""

    def __init__(self, answers: Callable[[list[Row]], list[float]]) -> None:
        self._answers = answers
        self._waiting: list[tuple[Row, asyncio.Future[float]]] = []

    def __call__(self, row: Row) -> asyncio.Future[float]:
        """The prediction for `row`, to be awaited."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._run)
        found: asyncio.Future[float] = loop.create_future()
        self._waiting.append((row, found))
        return found

    def _run(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            answers = self._answers([row for row, _ in waiting])
        except Exception as error:  # each of them says so to its caller, and to the log
            for _, found in waiting:
                if not found.done():
                    found.set_exception(error)
            return
        for (_, found), answer in zip(waiting, answers, strict=True):
            if not found.done():  # its caller may have left
                found.set_result(answer)


async def _whole(receive: Receive, most: int) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body") and len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise ConnectionResetError
    if len(body) > most:
        raise too_large(len(body), most)
    return body


def too_large(size: int, most: int) -> BadRequest:
    """A 413."""
    return refusal(413, f"the body has {size:,} bytes or more, limit: {most:,}", limit=f"{most} bytes", value=size)
