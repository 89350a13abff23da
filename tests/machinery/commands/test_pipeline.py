"""The pipeline's stages at the command line."""

from __future__ import annotations

from pathlib import Path

from support.callables import Cli


def test_data_error_ends_in_three_and_names_the_next_step(cli: Cli, bare_copy: Path) -> None:
    done = cli(bare_copy, "train")
    assert done.returncode == 3
    assert "data/features.parquet does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_table_needs_all_four_options(cli: Cli, bare: Path) -> None:
    done = cli(bare, "evaluate", "--table", "data/table.parquet", "--out", "losses.parquet")
    assert done.returncode == 2
    assert "--table also needs --until, --test-days and --out" in done.stderr


def test_wrong_date_is_refused(cli: Cli, bare: Path) -> None:
    done = cli(bare, "evaluate", "--until", "May")
    assert done.returncode == 2
    assert "'--until'" in done.stderr
