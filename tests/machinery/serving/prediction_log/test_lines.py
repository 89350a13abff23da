"""Lines of the prediction log: one a row, spliced from the bytes of request and answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.serving.prediction_log import lines
from slipway.serving.prediction_log.lines import Lines, Privacy, Request

AT = 1_767_225_600_000_001_999
PLAIN = Privacy(frozenset(), frozenset())


def request(body: bytes, answer: bytes, path: str = "/predict", status: int = 200) -> Request:
    return Request("id-1", AT, 1.2345, path, body, answer, status)


def records(made: list[bytes]) -> list[dict[str, Any]]:
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 and b"\r" not in line for line in made)
    return [json.loads(line) for line in made]


@pytest.fixture
def plain() -> Lines:
    return Lines("abc", "flights", 1000, PLAIN)


def test_one_row_is_one_line(plain: Lines) -> None:
    assert plain.of(request(b' {"a": 1.50} ', b'{"prediction":0.5}')) == [
        b'{"v":1,"id":"id-1","at":"2026-01-01T00:00:00.000001Z","model":"abc","ms":1.234,'
        b'"prediction":0.5,"inputs":{"a": 1.50}}\n'
    ]


def test_a_list_has_a_line_a_row(plain: Lines) -> None:
    made = records(plain.of(request(b'\n[{"a":1},\r\n {"a":\n null}]', b'{"predictions":[0.5,0.25]}')))
    assert [(each["id"], each["prediction"], each["inputs"]) for each in made] == [
        ("id-1/0", 0.5, {"a": 1}), ("id-1/1", 0.25, {"a": None}),
    ]  # fmt: skip


def test_a_question_logs_the_row_looked_up(plain: Lines) -> None:
    made = records(plain.of(request(b'{"q":1}', b'{"prediction":0.5,"inputs":{"a":1}}', path="/ask")))
    assert (made[0]["prediction"], made[0]["inputs"]) == (0.5, {"a": 1})


def test_a_failed_request_has_its_status(plain: Lines) -> None:
    made = records(plain.of(request(b"{}", b"{}", status=500)))
    assert (made[0]["status"], "inputs" in made[0], "prediction" in made[0]) == (500, False, False)


def test_the_first_line_names_model_and_sample(plain: Lines) -> None:
    assert json.loads(plain.head(AT)) == {
        "v": 1, "at": "2026-01-01T00:00:00.000001Z", "model": "abc", "problem": "flights", "per_mille": 1000,
        "dropped": [], "hashed": [],
    }  # fmt: skip


def test_fields_are_dropped_and_hashed() -> None:
    private = Privacy.of({"a": {"log": "drop"}, "b": {"log": "hash"}, "c": {}}, "salt")
    made = Lines("abc", "flights", 1000, private)
    body = b'{"a":1,"b":5,"c":"x"}'
    inputs = [each["inputs"] for each in records(made.of(request(b"[%b,%b]" % (body, body.replace(b"5", b"5.0")),
              b'{"predictions":[0.5,0.5]}')))]  # fmt: skip
    assert inputs[0] == inputs[1]
    assert inputs[0].keys() == {"b", "c"}
    assert len(inputs[0]["b"]) == lines.DIGITS
    asked = records(made.of(request(b"{}", b'{"prediction":1,"inputs":%b}' % body, path="/ask")))
    assert asked[0]["inputs"] == inputs[0]


def test_a_hash_depends_on_the_salt_and_keeps_null() -> None:
    one, other = (Privacy.of({"b": {"log": "hash"}}, salt) for salt in ("", "salt"))
    assert one.apply(b'{"b":"\\u0041"}') == one.apply(b'{"b":"A"}') != other.apply(b'{"b":"A"}')
    assert one.apply(b'{"b":null}') == b'{"b":null}'


@pytest.mark.parametrize(
    ("answer", "status", "rows"),
    [(b'{"prediction":1}', 200, 1), (b'{"predictions":[1]}', 200, 1), (b'{"predictions":[1,2,3]}', 200, 3),
     (b'{"errors":[1,2]}', 500, 1), (b'{"prediction":1,"inputs":{"a":1,"b":2}}', 200, 1)],
)  # fmt: skip
def test_lost_lines_are_counted_unparsed(answer: bytes, status: int, rows: int) -> None:
    assert lines.count(request(b"", answer, status=status)) == rows


@pytest.mark.parametrize("word", [b"NaN", b"Infinity", b"-Infinity"])
def test_no_finite_number_is_null(plain: Lines, word: bytes) -> None:
    one, rows = b'{"prediction":%b}' % word, b'{"predictions":[1.5,%b]}' % word
    asked = b'{"prediction":%b,"inputs":{"a":"NaN"}}' % word
    assert records(plain.of(request(b'{"a":1}', one)))[0]["prediction"] is None
    assert [each["prediction"] for each in records(plain.of(request(b'[{"a":1},{"a":2}]', rows)))] == [1.5, None]
    assert records(plain.of(request(b"{}", asked, path="/ask")))[0]["inputs"] == {"a": "NaN"}


def test_times_of_two_seconds_stay_apart(plain: Lines) -> None:
    first, second = request(b"{}", b'{"prediction":1}'), request(b"{}", b"{}", status=500)
    later = second._replace(at_ns=AT + 1_000_000_000)
    assert [json.loads(plain.of(each)[0])["at"][17:] for each in (first, later, first)] == [
        "00.000001Z", "01.000001Z", "00.000001Z",
    ]  # fmt: skip
