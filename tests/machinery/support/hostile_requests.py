"""Hostile bytes for an HTTP service, and a client that sends them; the long run is dev/benchmarks/hostile.py.

Every connection has one exchange: what is sent, in pieces, and what must come back. Wherever the right answer is known it is
asked for, to the bit of the prediction; otherwise any end below status 500 will do, but an end there must be.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Golden = Sequence[dict[str, Any]]
"""Rows with their predictions, as in models/golden.json."""
SECONDS = 30.0
"""An exchange that has not ended by then hangs: the service's own deadlines are 4 s for a body and 10 s for a head."""
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"


def packed(body: bytes) -> bytes:
    """The body compressed, the same bytes at any time."""
    return gzip.compress(body, mtime=0)


@dataclass
class Exchange:
    """What one connection sends, and what it must get: None is anything below 500."""

    kind: str
    pieces: list[bytes]
    statuses: list[int] | None = None
    predictions: list[float] = field(default_factory=list)
    end: str = "half"
    """What follows: "half" closes the sending half, "wait" sends nothing more, "leave" closes the connection at once."""


@dataclass
class Tally:
    """What became of all exchanges."""

    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


class Generator:
    """Draws exchanges; the same seed gives the same ones."""

    def __init__(self, golden: Golden, seed: int) -> None:
        self._golden, self._random = golden, random.Random(seed)
        self._makers: list[Callable[[], Exchange]] = [
            self.valid, self.valid, self.pipelined, self.framing, self.lengths, self.chunks, self.head, self.half,
            self.noise, self.flipped, self.body, self.body, self.paths, self.encoded,
        ]  # fmt: skip

    def exchanges(self, count: int) -> Iterator[Exchange]:
        """Draw `count` exchanges, cut into pieces anywhere."""
        for _ in range(count):
            exchange = self._random.choice(self._makers)()
            whole = b"".join(exchange.pieces)
            cuts = sorted(
                self._random.sample(range(len(whole) + 1), min(self._random.choice([0, 0, 1, 3]), len(whole)))
            )
            exchange.pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
            yield exchange

    def _row(self) -> tuple[bytes, float]:
        each = self._random.choice(self._golden)
        return json.dumps(each["row"]).encode(), each["prediction"]

    def _post(self, body: bytes, *head: bytes, path: bytes = b"/predict", length: bool = True) -> bytes:
        lines = [b"POST %s HTTP/1.1" % path, b"Host: x", b"Content-Type: application/json", *head]
        if length:
            lines.insert(self._random.randint(2, len(lines)), b"Content-Length: %d" % len(body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + body

    def _chunked(self, body: bytes) -> bytes:
        cuts = sorted(self._random.sample(range(1, len(body)), min(3, len(body) - 1)))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        extension = self._random.choice([b"", b";a=b", b';a="b c"'])
        return b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n\r\n"

    def _dressed(self) -> tuple[bytes, float]:
        """A valid request in one of the clothes that clients wear, and its prediction."""
        row, prediction = self._row()
        offer = H2C.strip().split(b"\r\n")
        match self._random.randint(0, 7):
            case 0:
                return self._post(row, *offer), prediction
            case 1:
                return self._post(self._chunked(row), b"Transfer-Encoding: chunked", length=False), prediction
            case 2:
                return self._post(self._chunked(row), b"transfer-encoding: Chunked", *offer, length=False), prediction
            case 3:
                return self._post(packed(row), b"Content-Encoding: gzip"), prediction
            case 4:
                return self._post(row, b"Expect: 100-continue"), prediction
            case 5:
                return self._post(b" \n" + row + b"\t", b"X-Much: " + b"x" * 3000), prediction
            case 6:
                return self._post(row, b"Upgrade: websocket", b"Connection: Upgrade"), prediction
        return self._post(row), prediction

    def valid(self) -> Exchange:
        """One to four valid requests."""
        many = [self._dressed() for _ in range(self._random.choice([1, 1, 1, 4]))]
        return Exchange("valid", [b"".join(each for each, _ in many)], [200] * len(many), [p for _, p in many])

    def pipelined(self) -> Exchange:
        """Valid requests, then garbage, then a request that must not be answered."""
        many = [self._dressed() for _ in range(self._random.randint(1, 4))]
        garbage = self._random.choice([
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\x00\x00\x00\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"{}\r\n\r\n",
            b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: x\r\n\r\n",
            b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ])  # fmt: skip
        whole = b"".join(each for each, _ in many) + garbage + SMUGGLED
        return Exchange("pipelined", [whole], [*[200] * len(many), 400], [p for _, p in many])

    def framing(self) -> Exchange:
        """Heads that break HTTP's grammar: 400, and what follows is no request."""
        row, _ = self._row()
        line = self._random.choice([
            b"X y: z", b"X\x00: y", b"X: a\x00b", b": x", b"\x80: x", b"X: a\rb", b"Transfer-Encoding : chunked",
            b"X: a\r\n\x0bb: c", b"Content-Length: 1 2", b"Content-Length: 0x3",
        ])  # fmt: skip
        return Exchange("framing", [self._post(row, line) + SMUGGLED], [400])

    def lengths(self) -> Exchange:
        """Lengths that contradict each other or themselves."""
        row, _ = self._row()
        size = len(row)
        lines = self._random.choice([
            [b"Content-Length: %d" % size, b"Content-Length: %d" % (size - 1)], [b"Content-Length: -1"],
            [b"Content-Length: +%d" % size], [b"Content-Length: %d, %d" % (size, size)], [b"Content-Length: 1e3"],
            [b"Content-Length: %d" % 10**30], [b"Content-Length: %d" % size, b"Transfer-Encoding: chunked"],
            [b"Transfer-Encoding: chunked", b"Content-Length: 4"], [b"Transfer-Encoding: chunked, identity"],
            [b"Transfer-Encoding: xchunked"], [b"Transfer-Encoding: identity", b"Content-Length: %d" % size],
        ])  # fmt: skip
        offer = self._random.choice([[], H2C.strip().split(b"\r\n")])
        return Exchange("lengths", [self._post(row, *lines, *offer, length=False) + SMUGGLED], [400])

    def chunks(self) -> Exchange:
        """Chunks whose sizes are wrong."""
        row, _ = self._row()
        bad = self._random.choice([
            b"-1\r\n", b"zz\r\n", b"ffffffffffffffffff\r\n", b"0x5\r\nabcde\r\n", b"3\r\nabcde\r\n", b"5\r\nabcdeXX0\r\n\r\n",
            b" 5\r\nabcde\r\n", b"\r\n5\r\nabcde\r\n", b"5;\x00\r\nabcde\r\n",
        ])  # fmt: skip
        first = b"%x\r\n%s\r\n" % (len(row), row) if self._random.random() < 0.5 else b""
        return Exchange(
            "chunks", [self._post(first + bad, b"Transfer-Encoding: chunked", length=False) + SMUGGLED], [400]
        )

    def head(self) -> Exchange:
        """Heads that are large, odd or of another time; some are valid."""
        row, _ = self._row()
        many = [b"X-%d: y" % number for number in range(self._random.choice([100, 3000]))]
        whole = self._random.choice([
            self._post(row, *many), self._post(row, b"X: " + b"y" * self._random.choice([70_000, 400_000])),
            self._post(row, path=b"/" + b"p" * self._random.choice([9_000, 200_000])),
            self._post(row).replace(b"HTTP/1.1", self._random.choice(VERSIONS)),
            self._post(row).replace(b"POST", self._random.choice(METHODS)),
            self._post(row).replace(b"\r\n", b"\n"), b"\r\n\r\n\r\n" + self._post(row), b"GET /\r\n\r\n",
            self._post(row, b"Expect: " + self._random.choice([b"200-ok", b"x" * 5000])),
            self._post(row, b"Host: y"), self._post(row, b"Connection: " + b"close, " * 1000),
        ])  # fmt: skip
        return Exchange("head", [whole])

    def half(self) -> Exchange:
        """A request that ends somewhere; one in thirty waits for the service to give up."""
        whole, _ = self._dressed()
        cut = whole[: self._random.randrange(1, len(whole))]
        return Exchange("half", [cut], end=self._random.choice(["half"] * 15 + ["leave"] * 14 + ["wait"]))

    def noise(self) -> Exchange:
        """Random bytes, and greetings of other protocols."""
        greetings = (
            b"SSH-2.0-x\r\n",
            b"EHLO x\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x16\x03\x01\x02\x00\x01",
            b"\x05\x01\x00",
            b"",
        )
        return Exchange(
            "noise", [self._random.choice(greetings) + self._random.randbytes(self._random.choice([1, 60, 5000]))]
        )

    def flipped(self) -> Exchange:
        """A valid request of which some bytes are changed, doubled or lost."""
        whole = bytearray(self._dressed()[0])
        for _ in range(self._random.randint(1, 6)):
            place = self._random.randrange(len(whole) - 1)
            match self._random.randint(0, 2):
                case 0:
                    whole[place] = self._random.randrange(256)
                case 1:
                    whole[place:place] = self._random.choice(
                        [b"\r\n", b"\x00", b" ", b":", b"{", whole[place : place + 9]]
                    )
                case 2:
                    del whole[place : place + self._random.randint(1, 9)]
        return Exchange("flipped", [bytes(whole)])

    def body(self) -> Exchange:
        """A body that is no row: 400 or 422, never more."""
        row = json.loads(self._row()[0])
        name = self._random.choice(list(row))
        value = self._random.choice([
            float("nan"), float("inf"), 1e308, -1e308, 10**400, "\ud800", "\x00", "x" * 100_000, [], {}, True, {"a": [1] * 5000},
        ])  # fmt: skip
        text = json.dumps(row | {name: value})
        whole = self._random.choice([
            text, text, f"[{text}]", text[:-1], text + text, "[" * 50_000, '{"a":' * 20_000, "[]", "3", '"x"', "nul",
            "\ufeff" + text, "9" * 50_000, f"[{'{},' * 5000}{{}}]", text.replace(":", ":" + " " * 999), '{"a":1,"a":2}',
            "[" + "[]," * 9000 + "[]]",
        ])  # fmt: skip
        body = whole.encode("utf-8", "surrogatepass")
        if self._random.random() < 0.1:
            body = body.replace(b"e", b"\xff")
        return Exchange("body", [self._post(body, path=self._random.choice([b"/predict", b"/predict", b"/ask"]))])

    def paths(self) -> Exchange:
        """Other paths and methods."""
        path = self._random.choice([
            b"/", b"/livez", b"/readyz", b"/healthz", b"/metrics", b"/docs.json", b"/schema.json", b"/predict", b"/predict/",
            b"/ask", b"/../../etc/passwd", b"/%2e%2e/x", b"/%00", b"/%ff%fe", b"//x/y", b"*", b"http://x/predict", b"http://x",
            b"?", b"/predict?" + b"a=b&" * 2000, b"/\xc3\xa9", b"/static_content/x", b"/predict#x", b"x:1",
        ])  # fmt: skip
        method = self._random.choice([b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"DELETE", b"POST", b"CONNECT", b"PATCH"])
        head = self._random.choice([b"", b"Origin: http://y\r\n", b"Range: bytes=0-3\r\n", b"X-Forwarded-Prefix: /\xff\r\n", H2C,
                                    b"Cookie: \xff\xfe\r\n", b"Accept: \x80\r\n", b"Traceparent: 00-zz\r\n"])  # fmt: skip
        return Exchange("paths", [b"%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n" % (method, path, head)])

    def encoded(self) -> Exchange:
        """Bodies that say that they are compressed, and are not, or too much."""
        row, _ = self._row()
        small = packed(row)
        body, status = self._random.choice([
            (row, 400), (small[:-5], 400), (small + b"x", 400), (small * 2, 400), (packed(b"") * 40, 400),
            (BOMB, 413), (packed(small), 400), (zlib.compress(row), 400), (small[:20] + b"\xff" * 40, 400),
        ])  # fmt: skip
        name = self._random.choice([b"gzip", b"x-gzip", b"GZIP", b"br", b"deflate", b"gzip, gzip", b"zstd", b"\xff"])
        status = status if name.lower() in (b"gzip", b"x-gzip") else 415
        return Exchange("encoded", [self._post(body, b"Content-Encoding: " + name)], [status])


VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9", b"http/1.1", b"")
METHODS = (b"post", b"PUT", b"BREW", b"M-SEARCH", b"X" * 5000, b"SOURCE", b"QUERY")
BOMB = packed(b" " * (20 << 20))


async def attack(port: int, exchanges: Iterator[Exchange], *, connections: int) -> Tally:
    """Send all exchanges to the service at `port`, so many at a time."""
    tally, lock = Tally(), asyncio.Lock()

    async def worker(number: int) -> None:
        while True:
            async with lock:
                exchange = next(exchanges, None)
            if exchange is None:
                return
            await _exchange(port, exchange, tally, f"127.0.0.{2 + number % 30}")

    await asyncio.gather(*(worker(number) for number in range(connections)))
    return tally


async def _exchange(port: int, exchange: Exchange, tally: Tally, source: str) -> None:
    tally.kinds[exchange.kind] += 1
    answer = b""
    try:
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
            with suppress(OSError):
                for piece in exchange.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if exchange.end == "half":
                    writer.write_eof()
                while exchange.end != "leave" and (part := await reader.read(1 << 16)):
                    answer += part
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except TimeoutError:
        tally.faults.append(f"{exchange.kind} hangs after {answer[:200]!r}: {b''.join(exchange.pieces)[:2000]!r}")
        return
    statuses = [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer) if each != b"100"]
    tally.statuses.update(statuses)
    predictions = [float(each) for each in re.findall(rb'\{"prediction":([^},]+)\}', answer)]
    wrong = exchange.statuses is not None and (statuses, predictions) != (exchange.statuses, exchange.predictions)
    if wrong or any(status >= 500 for status in statuses):
        wanted = f"{exchange.statuses}, {exchange.predictions}"
        tally.faults.append(
            f"{exchange.kind}: {statuses}, {predictions} instead of {wanted}: {b''.join(exchange.pieces)[:2000]!r}"
        )
