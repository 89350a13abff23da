"""The thread that writes the prediction log: nothing is lost at the end, and every loss is counted."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from slipway.core.process import poll_until
from slipway.errors import ConfigError
from slipway.serving.prediction_log import writer
from slipway.serving.prediction_log.lines import Request
from slipway.serving.prediction_log.log_file import LogFile
from slipway.serving.prediction_log.settings import Settings
from slipway.serving.prediction_log.writer import PredictionLog
from support.small_disk import largest_file

CONTRACT = {"problem": "flights", "inputs": {"properties": {"a": {}}}}


class Counted:
    """Counts what the log reports."""

    def __init__(self) -> None:
        self.lines, self.losses, self.files = 0, 0, 0

    def written(self, lines: int) -> None:
        self.lines += lines

    def lost(self, lines: int) -> None:
        self.losses += lines

    def begun(self) -> None:
        self.files += 1


def begun(folder: Path, **settings: Any) -> tuple[PredictionLog, Counted]:
    counts = Counted()
    return PredictionLog(Settings(folder=folder, **settings), CONTRACT, "abc", counts), counts


def one(number: int) -> Request:
    return Request(f"id-{number}", 1_767_225_600_000_000_000, 1.0, "/predict", b'{"a":1}', b'{"prediction":1.0}', 200)


def records(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "predictions").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def test_closing_writes_what_is_pending(tmp_path: Path) -> None:
    log, counts = begun(tmp_path)
    for number in range(1000):
        log.add(one(number))
    log.close()
    log.close()
    assert [each["id"] for each in records(tmp_path)[1:]] == [f"id-{number}" for number in range(1000)]
    assert (counts.lines, counts.losses, counts.files) == (1000, 0, 1)


def test_an_idle_log_begins_no_file(tmp_path: Path) -> None:
    log, counts = begun(tmp_path)
    log.close()
    assert (list((tmp_path / "predictions").iterdir()), counts.files) == ([], 0)


def test_a_line_is_written_within_a_flush(tmp_path: Path) -> None:
    log, _ = begun(tmp_path)
    log.add(one(1))
    assert poll_until(lambda: len(records(tmp_path)) == 2, seconds=5, every=0.02)
    log.close()


def test_files_end_at_their_size(tmp_path: Path) -> None:
    log, counts = begun(tmp_path, file_bytes=1024, total_bytes=1 << 20)
    for number in range(5000):
        log.add(one(number))
    log.close()
    assert counts.files > 1
    assert sum("id" in each for each in records(tmp_path)) == 5000


def test_a_sample_is_chosen_by_id(tmp_path: Path) -> None:
    for folder in (tmp_path / "one", tmp_path / "two"):
        log, _ = begun(folder, per_mille=100)
        for number in range(5000):
            log.add(one(number))
        log.close()
    assert records(tmp_path / "one")[1:] == records(tmp_path / "two")[1:]
    assert 400 < len(records(tmp_path / "one")) < 600


def test_a_full_buffer_is_counted_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BUFFER_BYTES", 1000)
    monkeypatch.setattr(writer, "FLUSH_SECONDS", 60)
    log, counts = begun(tmp_path)
    for number in range(10):
        log.add(one(number))
    log.close()
    lines = records(tmp_path)
    assert [each["lost"] for each in lines if "lost" in each] == [counts.losses]
    assert counts.lines + counts.losses == 10
    assert counts.losses > 0


def test_a_full_disk_costs_lines_and_recovers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "bentoml.slipway")
    log, counts = begun(tmp_path)
    log.add(one(1))
    poll_until(lambda: counts.lines == 1, seconds=5, every=0.02)
    with largest_file(next((tmp_path / "predictions").iterdir()).stat().st_size + 20):
        log.add(one(2))
        assert poll_until(lambda: counts.losses == 1, seconds=5, every=0.02)
    log.add(one(3))
    log.close()
    assert [each.get("lost", each.get("id")) for each in records(tmp_path)[1:]] == ["id-1", 1, "id-3"]
    assert (counts.lines, counts.losses) == (2, 1)


def test_a_removed_folder_costs_its_lines(tmp_path: Path) -> None:
    log, counts = begun(tmp_path)
    log.add(one(1))
    poll_until(lambda: counts.lines == 1, seconds=5, every=0.02)
    shutil.rmtree(tmp_path / "predictions")
    assert poll_until(lambda: counts.losses == 1, seconds=5, every=0.02)
    log.add(one(2))
    log.close()
    assert [each.get("lost", each.get("id")) for each in records(tmp_path)[1:]] == [1, "id-2"]


def test_a_file_removed_at_the_end_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, counts = begun(tmp_path)
    log.add(one(1))
    poll_until(lambda: counts.lines == 1, seconds=5, every=0.02)
    monkeypatch.setattr(LogFile, "is_due", False)
    shutil.rmtree(tmp_path / "predictions")
    log.close()
    assert (counts.lines, counts.losses) == (1, 1)


def test_a_file_moved_away_is_not_lost(tmp_path: Path) -> None:
    log, counts = begun(tmp_path)
    log.add(one(1))
    poll_until(lambda: counts.lines == 1, seconds=5, every=0.02)
    (tmp_path / "predictions").rename(tmp_path / "elsewhere")
    log.add(one(2))
    log.close()
    assert [each["id"] for each in records(tmp_path)[1:]] == ["id-2"]
    assert (counts.lines, counts.losses) == (2, 0)


def test_a_request_without_lines_is_lost(tmp_path: Path) -> None:
    log, counts = begun(tmp_path)
    log.add(one(1)._replace(body=b"[{", answer=b'{"predictions":[1,2]}'))
    log.add(one(2))
    log.close()
    assert (counts.lines, counts.losses) == (1, 2)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="SLIPWAY_LOG: no file can be made in"):
        begun(tmp_path / "file")
