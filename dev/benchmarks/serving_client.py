"""A closed-loop HTTP client for one core: each connection sends its next request when the last one is answered.

Locust gives out at some ten thousand requests a second on one core, which the faster rivals exceed; wrk and oha come
from no Python index. So this drives uvloop with httptools, both of which the service has anyway, and tells how much of
its core it used: near 1 it measures itself.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httptools
import uvloop

from slipway.loadtest.generator_health import percentile

HOST = "127.0.0.1"


@dataclass
class Tally:
    """Counts and latencies of all connections of one visit; latencies in seconds, of the requests sent after `opens`."""

    bodies: Iterator[bytes]
    opens: float
    closes: float
    latencies: list[float] = field(default_factory=list)
    errors: int = 0


class Connection(asyncio.Protocol):
    """Sends, waits for the whole answer, sends again; ends at `tally.closes`."""

    def __init__(self, tally: Tally, done: asyncio.Future[None]) -> None:
        self._tally, self._done, self._sent = tally, done, 0.0
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._tally.bodies))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        now, tally = time.perf_counter(), self._tally
        status = self._parser.get_status_code()
        if self._sent >= tally.opens:
            tally.latencies.append(now - self._sent)
            tally.errors += status != 200
        if now >= tally.closes:
            self._transport.close()
            return
        if self._parser.should_keep_alive():
            self._parser = httptools.HttpResponseParser(self)
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        if time.perf_counter() < self._tally.closes:
            self._tally.errors += 1
        if not self._done.done():
            self._done.set_result(None)


def request(port: int, path: str, body: bytes) -> bytes:
    """The bytes of one POST."""
    head = f"POST {path} HTTP/1.1\r\nhost: {HOST}:{port}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


async def _visit(port: int, requests: Sequence[bytes], connections: int, warm: float, seconds: float) -> Tally:
    loop = asyncio.get_running_loop()
    opens = time.perf_counter() + warm
    tally = Tally(itertools.cycle(requests), opens, opens + seconds)
    waiting = [loop.create_future() for _ in range(connections)]
    for done in waiting:
        await loop.create_connection(lambda done=done: Connection(tally, done), HOST, port)  # type: ignore[misc]
    await asyncio.wait(waiting, timeout=warm + seconds + 10)
    tally.errors += sum(not done.done() for done in waiting)
    return tally


def visit(
    port: int, requests: Sequence[bytes], *, connections: int, warm: float = 0.2, seconds: float = 1.0
) -> dict[str, float]:
    """Requests/s, percentiles in ms, errors, and the share of its core that this client used."""
    gc.disable()
    started, used = time.perf_counter(), time.process_time()
    tally = uvloop.run(_visit(port, requests, connections, warm, seconds))
    busy = (time.process_time() - used) / (time.perf_counter() - started)
    gc.enable()
    count, found = len(tally.latencies), {name: percentile(tally.latencies, share) for name, share in SHARES.items()}
    at = {name: value * 1000 for name, value in found.items() if value is not None}
    return {"requests": count, "rps": count / seconds, **at, "errors": tally.errors, "client": busy}


SHARES = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
