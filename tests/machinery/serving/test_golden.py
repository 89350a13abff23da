"""Golden requests against a real server of the bento, and against small servers that answer badly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.core import files
from slipway.errors import DataError, SlipwayError
from slipway.packaging.package import GOLDEN
from slipway.serving import golden
from support.golden_server import ROWS, Echo, handler, host  # noqa: F401


def test_the_bento_gives_its_golden_answers(served: int, bento: Path) -> None:
    rows = files.read_json(bento / "src" / GOLDEN)  # the bento carries them, for who judges it elsewhere
    check = golden.replay(f"http://127.0.0.1:{served}", rows, tolerance=1e-4)
    assert check.ok, check


def test_right_answers_pass_and_nothing_asked_is_unsure(host: str) -> None:
    assert golden.replay(host, ROWS, tolerance=0).ok is True
    assert golden.replay(host, [], tolerance=0).ok is None


@pytest.mark.parametrize(
    ("together", "value"),
    [
        (b'{"predictions":[0.5,1.5,2.5,3.5]}', 0.5),
        (b'{"predictions":[0,1,2,null]}', "no number"),
        (b'{"predictions":[0,1,2,NaN]}', "no number"),
        (b'{"predictions":[0,1,2,"3"]}', "no number"),
        (b'{"predictions":[0,1,2]}', "POST /predict returned 3 predictions for 4 rows"),
        (b'{"answers":[0,1,2,3]}', "POST /predict returned 200 with a body that is not of this service"),
        (b'{"predictions":7}', "POST /predict returned 200 with a body that is not of this service"),
        (b"<html>", "POST /predict returned 200 with a body that is not of this service"),
    ],
)
def test_other_answers_are_a_no(handler: type[Echo], host: str, together: bytes, value: Any) -> None:
    handler.together = together
    check = golden.replay(host, ROWS, tolerance=0.1)
    assert (check.ok, check.value) == (False, value)


def test_one_row_alone_may_be_answered_otherwise(handler: type[Echo], host: str) -> None:
    handler.alone = b'{"prediction":0.25}'
    check = golden.replay(host, ROWS[:1], tolerance=0.1)
    assert (check.ok, check.value) == (False, 0.25)


def test_a_refusal_is_quoted(handler: type[Echo], host: str) -> None:
    handler.status = 422
    handler.together = b'{"errors":[{"message":"hour is 99"}]}'
    check = golden.replay(host, ROWS, tolerance=0.1)
    assert (check.ok, check.value) == (False, "POST /predict returned 422: hour is 99")


def test_nobody_there_is_a_no() -> None:
    check = golden.replay("http://127.0.0.1:9", ROWS, tolerance=1)
    assert check.ok is False
    assert "no response from http://127.0.0.1:9" in str(check.value)
    with pytest.raises(SlipwayError, match="no response from"):
        golden.predictions("http://127.0.0.1:9", [])


def test_large_answers_are_compared_relatively(handler: type[Echo], host: str) -> None:
    rows = [{"row": {"hour": 3}, "prediction": 3e7}]
    handler.together, handler.alone = b'{"predictions":[30000002]}', b'{"prediction":30000002}'
    assert golden.replay(host, rows, tolerance=1e-6).ok is True
    assert golden.replay(host, rows, tolerance=1e-8).ok is False


@pytest.mark.parametrize(
    "text", ["{}", "[1]", '["a"]', '[{"row": {}}]', '[{"row": 3, "prediction": 1}]', '[{"row": {}, "prediction": "x"}]']
)
def test_golden_file_of_another_form_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(DataError, match=r"golden\.json"):
        golden.read(tmp_path / "golden.json")
