"""The commands about the prediction log."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.callables import Cli
from support.paths import ROOT


def test_compacting_names_a_folder_without_a_log(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    ended = cli(tmp_path, "log", "compact", "nothing")
    assert ended.returncode == 2
    assert "nothing/predictions does not exist" in ended.stderr


def test_compacting_an_empty_log_is_a_sentence(cli: Cli, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "log/predictions").mkdir(parents=True)
    ended = cli(tmp_path, "log", "compact", "log")
    assert (ended.returncode, "0 files" in ended.stderr) == (0, True)


def test_an_upload_moves_closed_files(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "log/predictions").mkdir(parents=True)
    (tmp_path / "log/predictions/1.jsonl").write_bytes(b"{}\n")
    ended = cli(tmp_path, "log", "upload", "store", "--log", "log")
    assert (ended.returncode, "1 of 1 files" in ended.stderr) == (0, True)
    assert (tmp_path / "store/predictions/1.jsonl").exists()
