"""One client and two real services of the tests' own, which say how often and in which order they were asked."""

from __future__ import annotations

import gc
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import numpy as np
import pytest

from slipway.judging import latency_client
from slipway.judging.latency_client import ALL, ONE, Connection, Plan
from slipway.serving import local_server

ROWS = [{"x": 1}, {"x": 2}, {"x": 3}]


class Service:
    """Answers after `ms`; `status` and `lives` (requests until it hangs up) are its faults."""

    def __init__(self, seen: list[tuple[str, Any]], name: str) -> None:
        self.ms, self.status, self.lives, self.split, self.length = 0.0, 200, 10**9, False, True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                seen.append((name, body))
                outer.lives -= 1
                if outer.lives < 0:
                    self.close_connection = True
                    return
                time.sleep(outer.ms / 1000)
                answer = b'{"prediction": 1}' if outer.length else b""
                self.send_response(outer.status)
                if answer:
                    self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                if outer.split:
                    self.wfile.flush()
                    time.sleep(0.01)
                self.wfile.write(answer)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def seen() -> list[tuple[str, Any]]:
    return []


@pytest.fixture
def two(seen: list[tuple[str, Any]]) -> Iterator[list[Service]]:
    with Service(seen, "base") as base, Service(seen, "head") as head:
        yield [base, head]


@pytest.fixture
def lines(two: list[Service]) -> Iterator[list[Connection]]:
    with latency_client.connect([service.port for service in two]) as found:
        yield found


def plans() -> list[Plan]:
    return [Plan.of(ROWS), Plan.of(ROWS)]


def measured(two: list[Service], lines: list[Connection], *, rounds: int, block: int) -> latency_client.Times:
    """As many rounds, however busy the machine is: then the head hangs up."""
    two[1].lives = rounds * 2 * (block + latency_client.ALL_PER_BLOCK)
    return latency_client.measure_rounds(lines, plans(), seconds=60, block=block)


def test_both_are_asked_the_same_rows_in_turns(
    two: list[Service], lines: list[Connection], seen: list[tuple[str, Any]]
):
    measured(two, lines, rounds=2, block=2)
    block = 2 + latency_client.ALL_PER_BLOCK
    turns = [seen[at][0] for at in range(0, 8 * block, block)]
    assert turns == ["base", "head", "head", "base", "head", "base", "base", "head"]
    asked = {name: [row for who, row in seen[: 8 * block] if who == name] for name in ("base", "head")}
    assert asked["base"] == asked["head"]
    assert asked["base"][:block] == [ROWS[0], ROWS[1], ROWS, ROWS]
    assert asked["base"][block : block + 2] == [ROWS[2], ROWS[0]]


def test_times_are_rounds_by_sides_by_requests(two: list[Service], lines: list[Connection]):
    two[1].ms = 20
    found = measured(two, lines, rounds=3, block=2)
    assert found[ONE].shape == (3, 2, 4)
    assert found[ALL].shape == (3, 2, 2 * latency_client.ALL_PER_BLOCK)
    assert found[ONE][:, 1].min() >= 20 > found[ONE][:, 0].min()


def test_it_ends_after_the_seconds(lines: list[Connection]):
    found = latency_client.measure_rounds(lines, plans(), seconds=0.2, block=1)
    assert len(found[ONE]) == len(found[ALL]) > 0
    assert latency_client.measure_rounds(lines, plans(), seconds=0, block=1)[ONE].shape == (0, 2, 2)
    assert not any(line.dead for line in lines)


def test_an_answer_in_pieces_is_waited_for(two: list[Service], lines: list[Connection]):
    two[0].split = True
    assert lines[0].send(latency_client.predict_request(ROWS[0])) > 9


def test_any_other_status_is_an_error_that_is_told(two: list[Service], lines: list[Connection]):
    two[1].status = 503
    found = latency_client.measure_rounds(lines, plans(), seconds=0.2, block=1)
    assert lines[1].errors == lines[1].requests > 0
    assert (lines[1].first_error, lines[0].errors, lines[1].dead) == ("status 503", 0, False)
    assert len(found[ONE]) > 0


def test_a_side_that_dies_ends_it_without_that_round(two: list[Service], lines: list[Connection]):
    two[1].lives = 3 * (2 + 2 * latency_client.ALL_PER_BLOCK) - 2
    found = latency_client.measure_rounds(lines, plans(), seconds=30, block=1)
    assert len(found[ONE]) == 2
    assert lines[1].dead
    assert lines[1].errors >= 1
    assert lines[1].first_error.startswith("no response: ")


def test_nobody_who_listens_is_a_dead_line():
    with latency_client.connect([local_server.find_free_port()]) as [line]:
        assert (line.dead, line.errors, line.requests) == (True, 1, 0)
        assert latency_client.count_refused(line, plans()[0]) == 0
        assert (line.errors, line.send(latency_client.predict_request(ROWS[0])), line.requests) == (1, 0.0, 0)
    assert line.first_error.startswith("no response: ")


def test_a_line_that_dies_while_rows_are_refused_stays_dead(two: list[Service], lines: list[Connection]):
    two[1].lives = 1
    assert latency_client.count_refused(lines[1], plans()[1]) == 1
    assert (lines[1].dead, lines[1].errors) == (True, 1)
    assert len(latency_client.measure_rounds(lines, plans(), seconds=1, block=1)[ONE]) == 0


@pytest.mark.parametrize(
    ("times", "block_ms", "rows"),
    [([5.0, 5.0, 400.0], 10, 2), ([5.0], 1, 1), ([5.0], 1000, 3), ([0.0], 10, 3), ([], 10, 1)],
)
def test_a_block_is_as_long_as_the_base_needs(times: list[float], block_ms: float, rows: int):
    assert latency_client.rows_per_block(np.array(times), block_ms=block_ms, at_most=3) == rows


def test_the_bases_own_time_says_how_long_a_block_is(two: list[Service], lines: list[Connection]):
    two[0].ms = 5
    assert latency_client.warm_up(lines, plans(), seconds=0.1, block_ms=1) == 1
    assert latency_client.warm_up(lines, plans(), seconds=0.1, block_ms=10**6) == len(ROWS)


def test_refused_rows_are_counted_and_are_no_errors(two: list[Service], lines: list[Connection]):
    assert latency_client.count_refused(lines[1], plans()[1]) == 0
    two[1].status = 422
    assert latency_client.count_refused(lines[1], plans()[1]) == len(ROWS)
    assert (lines[1].errors, lines[1].first_error, lines[1].requests) == (0, "", 2 * len(ROWS))


def test_the_collector_is_off_and_then_as_it_was():
    with latency_client.gc_paused():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with latency_client.gc_paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
