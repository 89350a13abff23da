"""Latency client: sends the same requests to base and head alternately (A-B-B-A) and records response times.

One kept-alive connection per service. Blocks are short, so that a disturbance of the machine slows both services.
Raw sockets: the client's own time is part of every latency, and would hide a difference.
"""

from __future__ import annotations

import gc
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slipway.serving import local_server

ONE, ALL = "one row", "all rows"
"""The two kinds of requests: one golden row, and all golden rows in one request."""
TURNS = ((0, 1, 1, 0), (1, 0, 0, 1))
"""The order of sides in a round, by number of the round; 0 is the base, 1 the head."""
ALL_PER_BLOCK = 2
"""Requests with all rows in a block."""
RESPONSE_SECONDS = 10.0
HEAD_END = b"\r\n\r\n"

Floats = NDArray[np.float64]
Times = Mapping[str, Floats]
"""Milliseconds by kind: rounds × sides × requests of a side in a round."""


class Connection:
    """A kept-alive connection to one service; counts its requests and errors, and keeps the first error's text."""

    def __init__(self, port: int) -> None:
        self.requests = self.errors = 0
        self.first_error, self.dead = "", False
        self._socket = socket.socket()
        self._socket.settimeout(RESPONSE_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.connect((local_server.HOST, port))
        except OSError as error:
            self._end(error)

    def send(self, request: bytes) -> float:
        """Send a request and return the milliseconds until the whole response was read.

        A status other than 200 is an error. Without a response the connection is dead, and every later call returns 0.
        """
        if self.dead:
            return 0.0
        self.requests += 1
        started = time.perf_counter_ns()
        try:
            self._socket.sendall(request)
            response = self._read_response()
        except OSError as error:
            return self._end(error)
        elapsed_ms = (time.perf_counter_ns() - started) / 1e6
        if not response.startswith(b"HTTP/1.1 200 "):
            self._record_error(f"status {response[9:12].decode('latin-1')}")
        return elapsed_ms

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _read_response(self) -> bytes:
        """Head and body; the service sends a content-length with every response."""
        response = b""
        while (end := response.find(HEAD_END)) < 0:
            response += self._receive()
        head = response[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        while len(response) < end + len(HEAD_END) + length:
            response += self._receive()
        return response

    def _receive(self) -> bytes:
        if not (part := self._socket.recv(1 << 16)):
            raise ConnectionResetError("the connection was closed")
        return part

    def _end(self, error: OSError) -> float:
        self._record_error(f"no response: {error or type(error).__name__}")
        self.dead = True
        return 0.0

    def _record_error(self, message: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or message


def predict_request(rows: Any) -> bytes:
    """The bytes of a POST /predict with one row, or with a list of rows."""
    body = json.dumps(rows).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: {local_server.HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + HEAD_END + body


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The requests for one side: one per row, and one with all rows."""

    one: Sequence[bytes]
    all: bytes

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Plan:
        """The requests with these rows."""
        return cls(one=[predict_request(row) for row in rows], all=predict_request(list(rows)))

    def block(self, start: int, length: int) -> dict[str, list[bytes]]:
        """The requests of one block by kind: `length` rows from row `start` on, cyclically, and those with all rows."""
        one = [self.one[at % len(self.one)] for at in range(start, start + length)]
        return {ONE: one, ALL: [self.all] * ALL_PER_BLOCK}


def warm_up(connections: Sequence[Connection], plans: Sequence[Plan], *, seconds: float, block_ms: float) -> int:
    """Send requests to both for `seconds`; the number of single rows that the base answers in about `block_ms`."""
    rounds = measure_rounds(connections, plans, seconds=seconds, block=1)[ONE]
    return rows_per_block(rounds[:, 0], block_ms=block_ms, at_most=len(plans[0].one))


def rows_per_block(times_ms: Floats, *, block_ms: float, at_most: int) -> int:
    """The number of requests that take about `block_ms`, by the median of `times_ms`; 1 when there are no times."""
    median_ms = float(np.median(times_ms)) if len(times_ms) else block_ms
    return max(1, min(round(block_ms / max(median_ms, 1e-3)), at_most))


def measure_rounds(connections: Sequence[Connection], plans: Sequence[Plan], *, seconds: float, block: int) -> Times:
    """Measure rounds for `seconds`, with blocks of `block` rows.

    Ends early when a connection is dead; the unfinished round is dropped.
    """
    rounds: list[list[dict[str, list[float]]]] = []
    with gc_paused():
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            one_round = _measure_round(connections, plans, len(rounds), block)
            if any(connection.dead for connection in connections):
                break
            rounds.append(one_round)
    sizes = {ONE: 2 * block, ALL: 2 * ALL_PER_BLOCK}
    return {kind: np.array([[side[kind] for side in one] for one in rounds], dtype=float).reshape(-1, 2, size)
            for kind, size in sizes.items()}  # fmt: skip


def _measure_round(
    connections: Sequence[Connection], plans: Sequence[Plan], number: int, block: int
) -> list[dict[str, list[float]]]:
    """Measure four blocks, with the same rows for both sides; milliseconds by side and kind."""
    times: list[dict[str, list[float]]] = [{ONE: [], ALL: []}, {ONE: [], ALL: []}]
    blocks_done = [0, 0]
    for side in TURNS[number % len(TURNS)]:
        for kind, requests in plans[side].block((2 * number + blocks_done[side]) * block, block).items():
            times[side][kind] += [connections[side].send(request) for request in requests]
        blocks_done[side] += 1
    return times


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's garbage collector, which would interrupt a measurement."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def count_refused(connection: Connection, plan: Plan) -> int:
    """Send each row alone and count the responses other than 200; they count as errors only if the connection dies."""
    errors, first_error = connection.errors, connection.first_error
    for request in plan.one:
        connection.send(request)
    refused = connection.errors - errors
    if not connection.dead:
        connection.errors, connection.first_error = errors, first_error
    return refused


@contextmanager
def connect(ports: Sequence[int]) -> Iterator[list[Connection]]:
    """A connection to each port of this machine, closed when the block ends."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Connection(port))) for port in ports]
