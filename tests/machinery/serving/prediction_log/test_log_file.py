"""Files of the prediction log: names, rotation, room, and whole lines on a full disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slipway.serving.prediction_log import log_file
from slipway.serving.prediction_log.log_file import LogFile
from support.small_disk import largest_file


def opened(folder: Path, *, file_bytes: int = 1000, file_seconds: float = 60, total_bytes: int = 10_000) -> LogFile:
    file = LogFile(folder, file_bytes=file_bytes, file_seconds=file_seconds, total_bytes=total_bytes)
    file.begin(b"head\n")
    return file


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    file = opened(tmp_path)
    with largest_file(14):
        assert file.write(b"one\ntwo\nthree\n") == 8
        assert file.write(b"four\n") == 0
    assert file.write(b"five\n") == 5
    file.close()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"head\none\ntwo\nfive\n"]


def test_a_file_that_cannot_begin_is_removed(tmp_path: Path) -> None:
    with largest_file(3), pytest.raises(OSError, match="too short"):
        opened(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_large_or_old_file_is_due(tmp_path: Path) -> None:
    file = opened(tmp_path, file_bytes=10)
    assert not file.is_due
    file.write(b"12345\n")
    assert file.is_due
    assert opened(tmp_path, file_seconds=0).is_due


def test_a_removed_file_is_due(tmp_path: Path) -> None:
    file = opened(tmp_path)
    next(tmp_path.iterdir()).unlink()
    assert file.is_due


def test_names_go_on_when_the_clock_is_put_back(tmp_path: Path) -> None:
    (tmp_path / "29991231T235959999999Z-0123456789ab.jsonl").touch()
    assert log_file.next_stamp(tmp_path) == "30000101T000000000000Z"
    (tmp_path / "99991231T235959999999Z-0123456789ab.jsonl").touch()
    assert log_file.next_stamp(tmp_path).startswith("2")


def test_two_processes_never_share_a_file(tmp_path: Path) -> None:
    files = [opened(tmp_path) for _ in range(3)]
    assert len(list(tmp_path.iterdir())) == 3
    assert not any(map(log_file.is_closed, tmp_path.iterdir()))
    for file in files:
        file.close()
    assert all(map(log_file.is_closed, tmp_path.iterdir()))
    assert not log_file.is_closed(tmp_path / "absent")


def test_the_oldest_closed_files_make_room(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"2020010{number + 1}T000000000000Z-0123456789ab.jsonl").write_bytes(b"x" * 100)
    file = opened(tmp_path, file_bytes=50, total_bytes=350)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name[:8] for name in names[:-1]] == ["20200103", "20200104", "20200105"]
    log_file.make_room(tmp_path, 0, open_bytes=50)
    assert [path.name for path in tmp_path.iterdir()] == names[-1:]
    file.close()


def test_closing_twice_is_safe(tmp_path: Path) -> None:
    file = opened(tmp_path)
    file.close()
    file.close()
    assert not file.is_due
    assert os.listdir(tmp_path)  # noqa: PTH208
