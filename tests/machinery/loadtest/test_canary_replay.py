"""The replay: what is sent, when, and what is kept of it, against small services that answer well and badly."""

from __future__ import annotations

import math
import random
import socket
import threading
from contextlib import closing
from typing import Any

import pytest

from slipway.loadtest import canary_replay
from slipway.serving.validation import Reader
from support.fake_service import SHA, Twin, context, right


def test_rows_keep_the_contract() -> None:
    of = context()
    contract = {**of.contract, "limits": {"max_rows": 1}}
    rows = of.rows()
    assert all(Reader(contract).check(dict(row)) == row for row in rows)
    assert len(rows) == 64 + 120 + 20
    assert rows == of.rows()
    assert any(row["y"] is None for row in canary_replay.random_rows(contract, 200, random.Random(0)))


def test_whole_numbers_and_unknown_texts_keep_the_contract_too() -> None:
    nodes = {"n": {"type": "integer", "minimum": 2, "maximum": 3}, "t": {"type": "string", "minLength": 4}}
    rows = canary_replay.random_rows({"inputs": {"properties": nodes}, "known": {}}, 20, random.Random(0))
    assert {row["n"] for row in rows} == {2, 3}
    assert {row["t"] for row in rows} == {"xxxx"}


def test_mixed_rows_are_golden_ones_with_some_values_of_another() -> None:
    golden = [{f"x{n}": (row, n) for n in range(24)} for row in range(5)]
    for row in canary_replay.recombined_rows(golden, 50, random.Random(0)):
        origins = [origin for origin, _ in row.values()]
        assert max(origins.count(origin) for origin in origins) >= 21
        assert [n for _, n in row.values()] == list(range(24))
    assert canary_replay.recombined_rows([], 50, random.Random(0)) == []


def test_requests_leave_in_turns_a_b_b_a() -> None:
    one, other = canary_replay.send_schedule(4, 2, rate=50)
    left = sorted([*((at, "A") for at in one), *((at, "B") for at in other)])
    assert "".join(name for _, name in left) == "ABBAABBA"
    assert one[2] - one[0] == pytest.approx(0.04 + canary_replay.GAP_SECONDS)


def test_every_answer_is_kept() -> None:
    of = context()
    with Twin(of) as one, Twin(of, model=lambda row: right(row) / 2, failing=7) as other:
        stable, canary = canary_replay.replay_to_both(one.url, other.url, of.rows(), realistic=184, rate=400, warm=0)
    assert [a.prediction for a in stable.answers] == [right(row) for row in of.rows()]
    assert 0 < len(stable.late_ms) <= 204  # the first request at least had nothing to wait for
    assert min(stable.late_ms) > 0
    assert [a.status for a in canary.answers] == [500 if not n % 7 else 200 for n in range(204)]
    assert canary.answers[1].prediction == right(of.rows()[1]) / 2
    assert canary.answers[0].prediction is None
    assert (stable.models(), canary.models()) == ({SHA}, {SHA})
    counted = stable.counted()
    assert counted is not None
    assert counted[-1] == (math.inf, 184.0)  # the unusual rows came later


def test_without_unusual_rows_the_counts_are_read_at_the_end() -> None:
    of = context(unusual=0)
    with Twin(of) as one, Twin(of) as other:
        stable, _ = canary_replay.replay_to_both(one.url, other.url, of.rows(), realistic=184, rate=400, warm=3)
    counted = stable.counted()
    assert counted is not None
    assert counted[-1][1] == 184.0


def test_a_stall_counts_from_the_intended_moment() -> None:
    of = context()
    with Twin(of) as one, Twin(of, slow=1000, slow_ms=400) as other:  # the first request alone is slow
        _, canary = canary_replay.replay_to_both(one.url, other.url, of.rows(), realistic=184, rate=200, warm=0)
    waited = [answer.latency_ms for answer in canary.answers[:60]]  # those that should have left meanwhile
    assert all(ms > 390 - 5 * number for number, ms in enumerate(waited))
    assert len(canary.late_ms) < 204 - 40  # who waits for an answer is not late by itself


def test_silence_is_no_answer() -> None:
    side, other = canary_replay.replay_to_both(
        "http://127.0.0.1:9", "http://127.0.0.1:9", [{}] * 3, realistic=2, rate=400, warm=1
    )
    assert [(a.status, a.prediction) for a in side.answers] == [(None, None)] * 3
    assert (other.counted(), other.models()) == (None, set())


def test_after_its_grace_the_rest_is_unanswered() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as deaf:  # takes connections, and never answers
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        side, _ = canary_replay.replay_to_both(
            url, url, [{}] * 50, realistic=50, rate=400, warm=0, answer=0.1, grace=0.3
        )
    assert [a.status for a in side.answers] == [None] * 50
    assert sum(a.latency_ms == math.inf for a in side.answers) > 30


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    of = context()
    with Twin(of, closing=10) as one, Twin(of) as other:
        stable, _ = canary_replay.replay_to_both(one.url, other.url, of.rows(), realistic=184, rate=400, warm=0)
    assert {answer.status for answer in stable.answers} == {200}


def test_a_service_that_drops_every_request_answers_nothing() -> None:
    def drop() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            connection.close()

    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        thread = threading.Thread(target=drop)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        side, _ = canary_replay.replay_to_both(url, url, [{}] * 3, realistic=3, rate=400, warm=0)
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert [answer.status for answer in side.answers] == [None] * 3


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'"x"', b'{"prediction": null}', b'{"prediction": true}', b'{"prediction": NaN}', b"{}"]
)
def test_what_holds_no_finite_number_is_no_prediction(body: bytes) -> None:
    of = context()
    with Twin(of, body=body) as one, Twin(of) as other:
        stable, _ = canary_replay.replay_to_both(one.url, other.url, of.rows()[:2], realistic=2, rate=400, warm=0)
    assert [(answer.status, answer.prediction) for answer in stable.answers] == [(200, None)] * 2


def test_random_rows_keep_every_word_of_a_contract() -> None:
    nodes: dict[str, Any] = {
        "above": {"type": "number", "minimum": 2e6},
        "open": {"type": "number", "exclusiveMinimum": -1, "exclusiveMaximum": 24},
        "step": {"type": "number", "minimum": 0, "maximum": 0.3, "multipleOf": 0.1, "examples": [0.1]},
        "five": {"type": "integer", "exclusiveMinimum": 0, "maximum": 10, "multipleOf": 5, "examples": [5]},
        "flag": {"type": "boolean"},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "code": {"type": "string", "pattern": "^[a-z]{3}$", "examples": ["abc"]},
        "none": {"anyOf": [{"type": "string", "pattern": "^q$"}, {"type": "null"}], "examples": [None]},
    }
    contract = {"categories": ["kind", "code", "none"], "numbers": [n for n in nodes if n not in ("kind", "code", "none")],
                "inputs": {"properties": nodes}, "known": {}, "limits": {"max_rows": 1}}  # fmt: skip
    reader = Reader(contract)
    for row in canary_replay.random_rows(contract, 300, random.Random(0)):
        assert reader.check(row) == row
