"""Ids of requests: the caller's when it is plain, else one of this process."""

from __future__ import annotations

import pytest

from slipway.serving.telemetry.request_id import RequestIds


def test_the_caller_may_name_a_request() -> None:
    assert RequestIds().of([(b"host", b"x"), (b"x-request-id", b"a.B_1:-")]) == "a.B_1:-"


@pytest.mark.parametrize("value", [b"", b"a b", b'"', b"a\n", b"\xff", b"x" * 129, b"a/0"])
def test_other_ids_are_replaced(value: bytes) -> None:
    ids = RequestIds()
    first, second = ids.of([(b"x-request-id", value)]), ids.of([])
    assert first != second
    assert first.partition("-")[0] == second.partition("-")[0]
