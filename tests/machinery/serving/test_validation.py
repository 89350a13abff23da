"""The contract of the bikes problem as a validator: what it takes, and how it says no."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.core import files
from slipway.serving.validation import BadRequest, Reader, limit

ROW = {"station": "park", "weekday": 5, "hour": 14, "temp": 16.0, "recent": 21, "yesterday": None}


@pytest.fixture(scope="module")
def reader(project: Path) -> Reader:
    return Reader(files.read_json(project / "models/contract.json"))


def refused(reader: Reader, body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        reader.read(body)
    json.dumps(caught.value.document(), allow_nan=False)  # whatever was sent, the answer is JSON
    return caught.value


def with_(**changes: Any) -> bytes:
    return json.dumps(ROW | changes).encode()


def test_one_object_is_one_row(reader: Reader) -> None:
    rows, single = reader.read(with_())
    assert single
    assert rows == [tuple(ROW.values())]


def test_a_list_is_many_rows(reader: Reader) -> None:
    rows, single = reader.read(b" \n[" + with_() + b"," + with_(temp=None) + b"]")
    assert not single
    assert [row[3] for row in rows] == [16.0, None]


@pytest.mark.parametrize(
    ("changes", "field", "value", "limit"),
    [
        ({"temp": 99}, "temp", 99, "a number from -30 to 50 (°C), or null"),
        ({"temp": "warm"}, "temp", "warm", "a number from -30 to 50 (°C), or null"),
        ({"temp": True}, "temp", True, "a number from -30 to 50 (°C), or null"),
        ({"temp": [1]}, "temp", "a list of 1", "a number from -30 to 50 (°C), or null"),
        ({"temp": {"a": 1}}, "temp", "an object of 1 fields", "a number from -30 to 50 (°C), or null"),
        ({"hour": None}, "hour", None, "a number from 0 to 23 (hour)"),
        ({"station": None}, "station", None, "a text of 1 to 16 characters"),
        ({"station": ""}, "station", "", "a text of 1 to 16 characters"),
        ({"station": "x" * 500}, "station", "x" * 100 + "…", "a text of 1 to 16 characters"),
        ({"station": 5}, "station", 5, "a text of 1 to 16 characters"),
        ({"hour": 1e300}, "hour", "a huge number", "a number from 0 to 23 (hour)"),
        ({"hour": -(10**4000)}, "hour", "minus a huge number", "a number from 0 to 23 (hour)"),
        ({"hour": float("nan")}, "hour", "NaN", "a number from 0 to 23 (hour)"),
        ({"temp": float("inf")}, "temp", "a huge number", "a number from -30 to 50 (°C), or null"),
    ],
)
def test_a_wrong_value_is_named_with_its_limit(
    reader: Reader, changes: dict[str, Any], field: str, value: Any, limit: str
) -> None:
    error = refused(reader, with_(**changes))
    assert error.status == 422
    found = error.errors[0]
    assert (found["row"], found["field"], found["value"], found["limit"]) == (0, field, value, limit)
    assert field in found["message"]
    assert limit in found["message"]


def test_a_missing_field_is_named(reader: Reader) -> None:
    found = refused(reader, json.dumps({k: v for k, v in ROW.items() if k != "hour"}).encode()).errors[0]
    assert found["message"] == "hour is missing; expected a number from 0 to 23 (hour)"


def test_an_extra_field_is_named_with_the_known_ones(reader: Reader) -> None:
    found = refused(reader, with_(colour="red")).errors[0]
    assert found["field"] == "colour"
    assert "station, weekday, hour" in found["limit"]


def test_the_row_of_a_list_is_named(reader: Reader) -> None:
    found = refused(reader, b"[" + with_() + b"," + with_(hour=25) + b"]").errors[0]
    assert (found["row"], found["message"]) == (1, "row 1: hour is 25; expected a number from 0 to 23 (hour)")


@pytest.mark.parametrize("body", [b"", b"{", b"not json", b"\xff\xfe", b"[" * 5000, b'{"station":"\\ud800"}'])
def test_what_is_no_json_is_a_bad_request(reader: Reader, body: bytes) -> None:
    assert refused(reader, body).status == 400


@pytest.mark.parametrize("body", [b"3", b"null", b'"text"', b"[]", b"[3]", b"[[]]"])
def test_json_of_another_shape_is_refused_in_words(reader: Reader, body: bytes) -> None:
    error = refused(reader, body)
    assert error.status == 422
    assert error.errors[0]["field"] is None


@pytest.mark.parametrize("name", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_another_encoding_is_named(reader: Reader, name: str) -> None:
    error = refused(reader, with_().decode().encode(name))
    assert (error.status, error.errors[0]["limit"]) == (400, "UTF-8")


def test_too_many_rows_are_refused(reader: Reader) -> None:
    error = refused(reader, b"[" + b",".join([with_()] * 501) + b"]")
    assert error.status == 422
    assert error.errors[0]["message"] == "the body has 501 rows; allowed: at most 500 rows"


def test_a_row_that_did_not_come_as_json_is_checked_too(reader: Reader) -> None:
    assert reader.check(ROW) == ROW
    with pytest.raises(BadRequest, match=r"hour is 25; expected a number from 0 to 23 \(hour\)") as caught:
        reader.check(ROW | {"hour": 25})
    assert caught.value.status == 422


def test_errors_beyond_a_hundred_are_counted(reader: Reader) -> None:
    error = refused(reader, b"[" + b",".join([with_(hour=99)] * 300) + b"]")
    assert (len(error.errors), error.document()["more"]) == (100, 200)


def test_a_flood_of_errors_is_only_counted(reader: Reader) -> None:
    error = refused(reader, json.dumps(ROW | dict.fromkeys(map(str, range(60_000)), 1)).encode())
    assert error.errors[0]["message"] == "60,000 values are not allowed; see /docs.json for the allowed ones"


def test_whole_numbers_and_open_limits_are_said_in_words() -> None:
    assert limit({"type": "integer", "minimum": 1, "maximum": 7}) == "a whole number from 1 to 7"
    assert limit({"type": "string", "format": "date-time"}) == "a date and time, such as 2013-06-01T15:00:00Z"


@pytest.mark.parametrize(("sent", "fine"), [("5", True), ("5.0", True), ("5.5", False), ("1e39", False)])
def test_a_whole_number_may_be_written_with_a_point(sent: str, fine: bool) -> None:
    contract = {"categories": [], "numbers": ["n"], "limits": {"max_rows": 1}}
    reader = Reader(contract | {"inputs": {"properties": {"n": {"type": "integer"}}}})
    body = f'{{"n": {sent}}}'.encode()
    if fine:
        assert reader.read(body)[0] == [(5.0,)]
    else:
        assert refused(reader, body).status == 422


def test_a_type_nobody_can_validate_is_refused_at_the_start() -> None:
    contract = {"categories": ["c"], "numbers": [], "limits": {"max_rows": 1}}
    with pytest.raises(TypeError, match="'object' is not string, number, integer, boolean"):
        Reader(contract | {"inputs": {"properties": {"c": {"type": "object"}}}})


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.integers(-60, 600),
    st.floats(-40, 60), st.sampled_from(["park", "", "x" * 16, "x" * 17, "\ud800", 10**400, -(10**30), 5.5, 1e39]),
    st.lists(st.integers(), max_size=1), st.dictionaries(st.text(max_size=1), st.none(), max_size=1),
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from([*ROW, "more"]), LEAVES, max_size=3), max_size=4), st.booleans())
def test_what_reads_fast_takes_and_refuses_just_what_the_thorough_one_does(
    reader: Reader, changes: list[dict[str, Any]], single: bool
) -> None:
    rows = [ROW | each for each in changes]
    body = json.dumps(rows[0] if single and rows else rows).encode()
    alone = single and bool(rows)
    assert outcome(lambda: reader.read(body)[0]) == outcome(
        lambda: [reader.values(row) for row in reader._read_thoroughly(body, single=alone)]
    )


@settings(deadline=None)
@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode), st.integers(0, 200))
def test_bytes_in_the_middle_of_a_body_are_read_alike(reader: Reader, noise: bytes, at: int) -> None:
    whole = with_()
    body = whole[: at % len(whole)] + noise + whole[at % len(whole) :]
    single = not body.lstrip(b" \t\r\n").startswith(b"[")
    assert outcome(lambda: reader.read(body)[0]) == outcome(
        lambda: [reader.values(row) for row in reader._read_thoroughly(body, single=single)]
    )


def outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except BadRequest as error:
        return error.status, error.document()
