"""`loop`, `doctor` and `drill` at the command line."""

from __future__ import annotations

from pathlib import Path

from support.callables import Cli


def test_unknown_target_of_the_demo_is_refused(cli: Cli, bare: Path) -> None:
    done = cli(bare, "loop", "--target", "moon")
    assert done.returncode == 2
    assert "'moon' is not one of 'machine', 'cluster'" in done.stderr


def test_nothing_to_stop_is_no_error(cli: Cli, bare: Path) -> None:
    done = cli(bare, "loop", "--stop")
    assert (done.returncode, done.stdout) == (0, "Stopped 0 processes of the demo.\n")


def test_unknown_drill_lists_the_drills(cli: Cli, bare: Path) -> None:
    done = cli(bare, "drill", "flood")
    assert done.returncode == 2
    assert "flood" in done.stderr
    assert "slow, fixed, missing" in done.stderr
