"""The asker: one client that asks two services the same rows in turns, and keeps how long each let it wait.

A closed loop over one kept-alive connection each, in short blocks A-B-B-A and B-A-A-B: what slows the machine for a
while slows both. Raw sockets, for what the client itself costs is in every latency, and would hide a difference.
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
"""The two kinds of requests: a golden row alone, and all of them together."""
TURNS = ((0, 1, 1, 0), (1, 0, 0, 1))
"""Whose block it is in a round: sides, the base's first."""
TOGETHER = 2
"""Requests with all rows in a block."""
ANSWER_SECONDS = 10.0
END = b"\r\n\r\n"

Floats = NDArray[np.float64]
Times = Mapping[str, Floats]
"""Milliseconds by kind: rounds × sides × requests of a side in a round."""


class Connection:
    """A kept-alive connection to one service, with what went wrong on it."""

    def __init__(self, port: int) -> None:
        self.asked = self.errors = 0
        self.said, self.dead = "", False
        self._socket = socket.socket()
        self._socket.settimeout(ANSWER_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.connect((local_server.HOST, port))
        except OSError as error:
            self._end(error)

    def ask(self, request: bytes) -> float:
        """The milliseconds until the whole answer was there; any other answer than 200 is an error, none ends the line."""
        if self.dead:
            return 0.0
        self.asked += 1
        started = time.perf_counter_ns()
        try:
            self._socket.sendall(request)
            answer = self._answer()
        except OSError as error:
            return self._end(error)
        took = (time.perf_counter_ns() - started) / 1e6
        if not answer.startswith(b"HTTP/1.1 200 "):
            self._fault(f"status {answer[9:12].decode('latin-1')}")
        return took

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _answer(self) -> bytes:
        """Head and body; the service names the length of each of its answers."""
        got = b""
        while (end := got.find(END)) < 0:
            got += self._more()
        head = got[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        while len(got) < end + len(END) + length:
            got += self._more()
        return got

    def _more(self) -> bytes:
        if not (found := self._socket.recv(1 << 16)):
            raise ConnectionResetError("the connection was closed")
        return found

    def _end(self, error: OSError) -> float:
        self._fault(f"no answer: {error or type(error).__name__}")
        self.dead = True
        return 0.0

    def _fault(self, said: str) -> None:
        self.errors += 1
        self.said = self.said or said


def request(rows: Any) -> bytes:
    """POST /predict of a row, or of a list of rows, as it goes over the line."""
    body = json.dumps(rows).encode()
    head = f"POST /predict HTTP/1.1\r\nhost: {local_server.HOST}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}"
    return head.encode() + END + body


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one side is asked: each row alone, and all of them together."""

    one: Sequence[bytes]
    all: bytes

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Plan:
        """The requests with these rows."""
        return cls(one=[request(row) for row in rows], all=request(list(rows)))

    def block(self, start: int, length: int) -> dict[str, list[bytes]]:
        """The requests of one block, from the row `start` on and around."""
        return {ONE: [self.one[at % len(self.one)] for at in range(start, start + length)], ALL: [self.all] * TOGETHER}


def warm(lines: Sequence[Connection], plans: Sequence[Plan], *, seconds: float, block_ms: float) -> int:
    """Ask both for `seconds`; how many rows one after the other take the base about `block_ms`."""
    found = measure_rounds(lines, plans, seconds=seconds, block=1)[ONE]
    usual = float(np.median(found[:, 0])) if len(found) else block_ms
    return max(1, min(round(block_ms / max(usual, 1e-3)), len(plans[0].one)))


def measure_rounds(lines: Sequence[Connection], plans: Sequence[Plan], *, seconds: float, block: int) -> Times:
    """Rounds for `seconds`, `block` rows each time; ends sooner when a side is dead, without that round."""
    rounds: list[list[dict[str, list[float]]]] = []
    with gc_paused():
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            found = _round(lines, plans, len(rounds), block)
            if any(line.dead for line in lines):
                break
            rounds.append(found)
    sizes = {ONE: 2 * block, ALL: 2 * TOGETHER}
    return {kind: np.array([[side[kind] for side in one] for one in rounds], dtype=float).reshape(-1, 2, size)
            for kind, size in sizes.items()}  # fmt: skip


def _round(lines: Sequence[Connection], plans: Sequence[Plan], number: int, block: int) -> list[dict[str, list[float]]]:
    """Four blocks; both sides are asked the same rows."""
    found: list[dict[str, list[float]]] = [{ONE: [], ALL: []}, {ONE: [], ALL: []}]
    seen = [0, 0]
    for side in TURNS[number % len(TURNS)]:
        for kind, requests in plans[side].block((2 * number + seen[side]) * block, block).items():
            found[side][kind] += [lines[side].ask(each) for each in requests]
        seen[side] += 1
    return found


@contextmanager
def gc_paused() -> Iterator[None]:
    """Without Python's collector, which would stop the clock's owner at some moment of its own."""
    on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def refused(line: Connection, plan: Plan) -> int:
    """How many of the rows, asked one by one, are not answered with 200; no errors of a line that is still there."""
    before, said = line.errors, line.said
    for each in plan.one:
        line.ask(each)
    found = line.errors - before
    if not line.dead:
        line.errors, line.said = before, said
    return found


@contextmanager
def lines(ports: Sequence[int]) -> Iterator[list[Connection]]:
    """A line to each port, closed at the end."""
    with ExitStack() as stack:
        yield [stack.enter_context(closing(Connection(port))) for port in ports]
