"""Compaction of the prediction log: complete, safe to repeat, and open files are left alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from slipway.errors import ConfigError
from slipway.monitoring.log_files import compaction
from slipway.serving.prediction_log.log_file import LogFile

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
    assert "1 files, 3 lines are parquet" in compaction.run(tmp_path)
    table = pl.read_parquet(path.with_suffix(".parquet"))
    assert table.row(0) == ("a", datetime(2026, 1, 1, 0, 0, 0, 1, UTC), "abc", 1.5, 0.5, None, 1.0, "A", True)
    assert table.row(2, named=True)["status"] == 500
    assert table.schema["at"] == pl.Datetime("us", "UTC")
    assert json.loads(pl.read_parquet_metadata(path.with_suffix(".parquet"))["slipway"])["problem"] == "flights"
    assert not path.exists()


def test_bad_lines_are_counted_and_left_out(tmp_path: Path) -> None:
    row = ROW % (b"a", b"{}")
    write(tmp_path, HEAD, row, row, row.replace(b'"v":1', b'"v":2'), b"[1]\n", row[:40])
    assert compaction.run(tmp_path).endswith("left out: 2 unreadable, 1 of another version, 1 duplicate")
    assert "0 files" in compaction.run(tmp_path)


def test_an_open_file_is_left_alone(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "predictions", file_bytes=1000, file_seconds=60, total_bytes=10_000)
    file.begin(HEAD)
    assert "0 files" in compaction.run(tmp_path)
    file.close()
    assert "1 files" in compaction.run(tmp_path)


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="predictions does not exist; expected: the folder of a prediction log"):
        compaction.run(tmp_path)
