"""The commands about the prediction log."""

from __future__ import annotations

from pathlib import Path

from support.callables import Cli


def test_compacting_names_a_folder_without_a_log(cli: Cli, tmp_path: Path) -> None:
    ended = cli(tmp_path, "log", "compact", "nothing")
    assert ended.returncode == 2
    assert "nothing/predictions does not exist" in ended.stderr


def test_compacting_an_empty_log_is_a_sentence(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "log/predictions").mkdir(parents=True)
    ended = cli(tmp_path, "log", "compact", "log")
    assert (ended.returncode, "0 files" in ended.stderr) == (0, True)
