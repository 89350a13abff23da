"""uvicorn's HTTP/1 protocol, so that every valid request reaches the service whole and every other connection ends.

The parser stops at any `Upgrade` header and drops the body that follows (curl --http2 and Java's HttpClient offer h2c in
every request). RFC 9110, 7.8: a server may ignore the offer. This service changes to no other protocol, so it always does.
An ordinary request pays for a few comparisons, half a microsecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

NAME = "slipway.serving.http_protocol:Protocol"
"""The value of uvicorn's option --http."""
HEAD_SECONDS = 10.0
"""Deadline for the head of a request that has begun; after it the connection is closed."""
UNREAD_SECONDS = 30.0
"""A client that has read nothing of its answers for so long is disconnected."""
OFFERS = frozenset([b"upgrade", b"http2-settings"])
"""Headers, and names in `Connection`, that belong to an offer to change the protocol."""
LINGER_SECONDS = 2.0
"""A refused client that still sends may do so for this long; the bytes are dropped."""
REFUSAL = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
INVALID = "Invalid HTTP request received."


class Deaf:
    """Takes the place of the parser once a connection is going to be closed: what still arrives is dropped."""

    def feed_data(self, data: bytes) -> None:
        """Ignore the bytes."""

    def should_upgrade(self) -> bool:
        """Return False: nothing is offered any more."""
        return False


class LastWords:
    """Takes the place of a request that waits, and refuses instead of being answered."""

    async def run_asgi(self, refuse: Callable[[], None]) -> None:
        """Do it, when the requests before are answered."""
        refuse()


class OneWrite:
    """A transport that sends the head of an answer together with the first part of its body.

    uvicorn writes them separately: two system calls and two packets.
    """

    def __init__(self, transport: Any) -> None:
        self._transport, self._head = transport, b""
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        """Return the transport's own attribute."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, unless it is the head of an answer."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """Send a head that has no body."""
        if self._head:
            self.write(b"")

    def write_eof(self) -> None:
        """Send, and close this half."""
        self.flush()
        self._transport.write_eof()

    def close(self) -> None:
        """Send, and close."""
        self.flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """One connection: as uvicorn's, but upgrades are ignored, answers keep their order, and idle clients are closed."""

    _head_timer: asyncio.TimerHandle | None = None
    _refuses = False
    _unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin; a client that connects and sends nothing is closed as one that is idle between two requests."""
        super().connection_made(transport)
        self.transport: Any = OneWrite(transport)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with all timers."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._unread_timer, self.timeout_keep_alive_task):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Parse what arrived."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._ignore_offers(memoryview(data)[offer.args[0] :])
        except httptools.HttpParserError:
            self.logger.warning(INVALID)
            self.send_400_response(INVALID)
        if self._head_timer is None and (self.cycle is None or self.cycle.response_complete):
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close_without_head, self.cycle)

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio takes it
        """Answer what is complete and close, when the client has closed its half; return whether there is something."""
        self.transport.flush()  # when this returns False, the transport closes itself
        if self._refuses:
            return True
        if self.cycle is None or self.cycle.response_complete:
            return False
        if self.cycle.more_body:
            self.send_400_response("The request ends before its body does.")
            return self._refuses
        self.cycle.keep_alive = False
        return True

    def on_headers_complete(self) -> None:
        """Start the request; not yet if it offers an upgrade, because its body would be lost."""
        if self.parser.should_upgrade():
            return
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # RFC 9110, 10.1.1: a client of HTTP/1.0 would take it for the answer
        HttpToolsProtocol.on_headers_complete(self)  # not by super(), which costs more than this method

    def on_message_complete(self) -> None:
        """End the request's body, which may be later than its answer."""
        if self.parser.should_upgrade():
            return
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        elif self.timeout_keep_alive_task is None:
            self._await_request()

    def on_response_complete(self) -> None:
        """Send an answer without a body, and go on with the next request."""
        self.transport.flush()
        super().on_response_complete()

    def _should_upgrade(self) -> bool:
        return False

    def _ignore_offers(self, rest: memoryview) -> None:
        """Parse the request again as the client would have sent it without its offer; `rest` follows its head."""
        while True:
            if self.parser.get_method() == b"CONNECT":  # the parser takes it for an upgrade; this is no proxy
                self.send_400_response("CONNECT is not supported.")
                return
            head = self._head_without_offer()
            self.parser = httptools.HttpRequestParser(self)
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets it
            try:
                self.parser.feed_data(head)
                self.parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as offer:  # of a pipelined request
                rest = rest[offer.args[0] :]
            except httptools.HttpParserError:
                self.logger.warning(INVALID)
                self.send_400_response(INVALID)
                return

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", version, b"\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                value = b",".join(each for each in value.split(b",") if each.strip().lower() not in OFFERS)
            if name not in OFFERS:
                head += [name, b": ", value, b"\r\n"]
        return b"".join([*head, b"\r\n"])

    def send_400_response(self, msg: str) -> None:
        """Refuse what was parsed last, after the answers to the requests before it, and close."""
        self.parser: Any = Deaf()
        if self.pipeline and self.cycle.more_body:  # it is the body of the last one that waits
            self.pipeline.popleft()
        elif self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self._refuse(msg)
            return
        self._refuses = True
        self.pipeline.appendleft((LastWords(), partial(self._refuse, msg)))  # type: ignore[arg-type]

    def _refuse(self, message: str) -> None:
        """Answer 400, and read on for a while: closing at once would reset a client that is still sending."""
        if self.transport.is_closing():
            return
        head = b"".join(b"%s: %s\r\n" % each for each in self.server_state.default_headers)
        self.transport.write(b"".join([STATUS_LINE[400], head, REFUSAL % len(message), message.encode()]))
        self._unset_keepalive_if_required()
        if self._head_timer is not None:
            self._head_timer.cancel()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._head_timer = self.loop.call_later(LINGER_SECONDS, self.transport.close)
        else:
            self.transport.close()

    def _await_request(self) -> None:
        seconds = max(self.timeout_keep_alive, HEAD_SECONDS)
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _close_without_head(self, before: Any) -> None:
        """Close unless a request has begun since; an idle connection between two requests has its own timer."""
        self._head_timer = None
        if self.cycle is before and self.timeout_keep_alive_task is None:
            self.transport.close()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection without a further request, even if its client does not read the last answer."""
        super().timeout_keep_alive_handler()
        self._watch_reading()

    def pause_writing(self) -> None:
        """Wait for the client to read, as long as it reads."""
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._unread_timer is not None:
            self._unread_timer.cancel()

    def _watch_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        if unread:
            self._unread_timer = self.loop.call_later(UNREAD_SECONDS, self._abort_if_stuck, unread)

    def _abort_if_stuck(self, before: int) -> None:
        if self.transport.get_write_buffer_size() >= before:
            self.transport.abort()
        else:
            self._watch_reading()


def install() -> None:
    """Let every uvicorn that this process starts from now on use the protocol: also the one of `bentoml serve`."""
    uvicorn.config.HTTP_PROTOCOLS.update(auto=NAME, httptools=NAME)
