"""The prediction log is read with its bad lines counted, from JSON lines and from parquet alike."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bikes.problem import PROBLEM

from slipway.errors import DataError
from slipway.monitoring import prediction_log

START = datetime(2021, 6, 1, tzinfo=UTC)
INPUTS = {"station": "park", "weekday": 2, "hour": 8, "temp": None, "recent": 3.0, "yesterday": 4.0}
HEAD = {"v": 1, "at": "2021-06-01T00:00:00.000000Z", "model": "abc", "problem": "bikes"}


def row(number: int, **other: object) -> str:
    at = (START + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps(
        {"v": 1, "id": f"r{number}", "at": at, "model": "abc", "ms": 1.5, "prediction": 4.0, "inputs": INPUTS} | other
    )


def read(folder: Path, *lines: str, end: str = "\n") -> prediction_log.Log:
    place = folder / "predictions"
    place.mkdir(parents=True, exist_ok=True)
    (place / "1.jsonl").write_text("\n".join([json.dumps(HEAD), *lines]) + end, encoding="utf-8")
    return window(folder)


def window(folder: Path) -> prediction_log.Log:
    return prediction_log.read(folder, PROBLEM, start=START, end=START + timedelta(days=1), inputs_from=START)


def test_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert len(window(tmp_path).rows) == 0


def test_rows_have_their_inputs(tmp_path: Path) -> None:
    log = read(tmp_path, row(1), row(2))
    assert log.rows.select("id", "station", "temp").rows() == [("r1", "park", None), ("r2", "park", None)]
    assert not log.counts


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('{"v":1,"id":"x', "broken lines"),
        ("\x00 nothing", "broken lines"),
        (row(2, v=2), "lines of another version"),
        (row(1), "repeated ids (the first line counts)"),
        (row(2, inputs=INPUTS | {"hour": "eight"}), "lines that break the contract"),
        (row(9999), "lines from after the window's end"),
        (row(2, id=None), "lines without id or time"),
    ],
)
def test_bad_line_is_counted(tmp_path: Path, line: str, name: str) -> None:
    log = read(tmp_path, row(1), line, row(3))
    assert log.counts == {name: 1}
    assert {"r1", "r3"} <= set(log.rows["id"])


def test_half_line_at_the_end(tmp_path: Path) -> None:
    assert read(tmp_path, row(1), row(2)[:30], end="").counts == {"half lines at the end of a file": 1}


def test_lost_lines_are_summed(tmp_path: Path) -> None:
    lost = json.dumps({"v": 1, "at": HEAD["at"], "model": "abc", "lost": 5})
    assert read(tmp_path, row(1), lost, lost).lost == 10


def test_parquet_gives_the_same_rows(tmp_path: Path) -> None:
    log = read(tmp_path, *map(row, range(50)))
    log.rows.write_parquet(tmp_path / "predictions/1.parquet")
    assert window(tmp_path).rows.equals(log.rows)


def test_log_of_another_problem_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the log is of the problem flights"):
        read(tmp_path, json.dumps(HEAD | {"problem": "flights"}))
