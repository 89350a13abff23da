"""Compaction of the prediction log: complete, safe to repeat, and open files are left alone."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import process
from slipway.errors import ConfigError
from slipway.monitoring import prediction_log
from slipway.monitoring.log_files import compaction
from slipway.serving.prediction_log.log_file import LogFile
from support.paths import ROOT

HEAD = b'{"v":1,"at":"2026-01-01T00:00:00.000001Z","model":"abc","problem":"flights"}\n'
ROW = b'{"v":1,"id":"%b","at":"2026-01-01T00:00:00.000001Z","model":"abc","ms":1.5,"prediction":0.5,"inputs":%b}\n'
NAME = "20260101T000000000000Z-0123456789ab.jsonl"


def write(folder: Path, *lines: bytes) -> Path:
    path = folder / "predictions" / NAME
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"".join(lines))
    return path


def test_lines_become_typed_columns(tmp_path: Path) -> None:
    failed = b'{"v":1,"id":"c","at":"2026-01-01T00:00:02.000000Z","model":"abc","ms":2,"status":500}\n'
    path = write(
        tmp_path, HEAD, ROW % (b"a", b'{"x":1,"y":"A","z":true}'), ROW % (b"b", b'{"x":null,"y":"B","z":false}'), failed
    )
    assert "1 files, 3 lines are parquet" in compaction.run(tmp_path, PROBLEM)
    table = pl.read_parquet(path.with_suffix(".parquet"))
    first = table.select("id", "at", "model", "ms", "prediction", "status", "x", "y", "z").row(0)
    assert first == ("a", datetime(2026, 1, 1, 0, 0, 0, 1, UTC), "abc", 1.5, 0.5, None, 1.0, "A", True)
    assert table.row(2, named=True)["status"] == 500
    assert table.schema["at"] == pl.Datetime("us", "UTC")
    assert json.loads(pl.read_parquet_metadata(path.with_suffix(".parquet"))["slipway"])["problem"] == "flights"
    assert not path.exists()


def test_bad_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    row = ROW % (b"a", b"{}")
    write(tmp_path, HEAD, row, row, row.replace(b'"v":1', b'"v":2'), b"[1]\n", row[:40])
    assert compaction.run(tmp_path, PROBLEM).endswith("left out: 2 unreadable, 1 of another version, 1 duplicate")
    assert "0 files" in compaction.run(tmp_path, PROBLEM)


def test_an_open_file_is_left_alone(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "predictions", file_bytes=1000, file_seconds=60, total_bytes=10_000)
    file.begin(HEAD)
    assert "0 files" in compaction.run(tmp_path, PROBLEM)
    file.close()
    assert "1 files" in compaction.run(tmp_path, PROBLEM)


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="predictions does not exist; expected: the folder of a prediction log"):
        compaction.run(tmp_path, PROBLEM)


def test_columns_have_the_types_of_the_contract(tmp_path: Path) -> None:
    head = HEAD[:-2] + b',"hashed":["hour"],"dropped":["temp"]}\n'
    path = write(
        tmp_path, head, ROW % (b"a", b'{"station":null,"weekday":null,"hour":"0f","recent":"high","new":null}')
    )
    compaction.run(tmp_path, PROBLEM)
    schema = pl.read_parquet_schema(path.with_suffix(".parquet"))
    expected = {"station": pl.String, "weekday": pl.Float64, "hour": pl.String, "recent": pl.String, "new": pl.String}
    assert {name: schema[name] for name in expected} == expected
    assert "temp" not in schema


def test_lost_lines_are_counted_by_the_reader(tmp_path: Path) -> None:
    lost = b'{"v":1,"at":"2026-01-01T00:00:00.000001Z","model":"abc","lost":%d}\n'
    write(tmp_path, HEAD.replace(b"flights", b"bikes"), lost % 3, ROW % (b"a", b"{}"), lost % 4)
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    before = prediction_log.read(tmp_path, PROBLEM, start=start, end=end, inputs_from=start)
    compaction.run(tmp_path, PROBLEM)
    after = prediction_log.read(tmp_path, PROBLEM, start=start, end=end, inputs_from=start)
    assert (before.lost, after.lost) == (7, 7)
    assert before.rows["id"].to_list() == after.rows["id"].to_list() == ["a"]


def test_pieces_make_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PIECE_ROWS", 2)
    path = write(tmp_path, HEAD, *(ROW % (b"%d" % number, b'{"hour":%d}' % number) for number in range(5)))
    compaction.run(tmp_path, PROBLEM)
    table = pl.read_parquet(path.with_suffix(".parquet"))
    assert table.select("id", "hour").rows() == [(f"{number}", float(number)) for number in range(5)]
    assert [each.name for each in path.parent.iterdir()] == [path.with_suffix(".parquet").name]


def test_a_file_without_rows_keeps_its_loss(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD, b'{"v":1,"at":"2026-01-01T00:00:00.000001Z","model":"abc","lost":9}\n')
    compaction.run(tmp_path, PROBLEM)
    assert pl.read_parquet_metadata(path.with_suffix(".parquet"))["slipway_lost"] == "9"


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")
def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    row = b'{"station":"park","weekday":2,"hour":8,"temp":null,"recent":3.0,"yesterday":4.0}'
    write(tmp_path, HEAD, *(ROW % (b"%032d" % number, row) for number in range(330_000)))
    code = (
        "import pathlib, re, sys\n"
        "from bikes.problem import PROBLEM\n"
        "from slipway.monitoring.log_files import compaction\n"
        "print(compaction.run(pathlib.Path(sys.argv[1]), PROBLEM))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    variables = dict(os.environ) | {"PYTHONPATH": str(ROOT / "tests/machinery/problems")}
    finished = process.run([sys.executable, "-c", code, str(tmp_path)], env=variables)
    assert "330,000 lines are parquet" in finished.out, finished.err
    assert int(finished.out.split()[-1]) < 300_000
