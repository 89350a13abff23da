"""Releases at the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.callables import Cli


@pytest.mark.parametrize("command", ["rollback", "promote"])
def test_help_says_what_push_does(command: str, cli: Cli, bare: Path) -> None:
    text = " ".join(cli(bare, command, "--help").stdout.split())
    assert "Push to main, or open a pull request if release.mode says so. Without it: one local commit." in text


def test_unknown_environment_of_a_rollback_is_refused(cli: Cli, bare: Path) -> None:
    done = cli(bare, "rollback", "--env", "prod", "--reason", "slow")
    assert done.returncode == 2
    assert "'prod' is not one of 'staging', 'production'" in done.stderr


def test_rollback_needs_a_reason(cli: Cli, bare: Path) -> None:
    done = cli(bare, "rollback")
    assert done.returncode == 2
    assert "Missing option '--reason'" in done.stderr


def test_load_against_a_dead_port_ends_in_two(cli: Cli, bare: Path) -> None:
    done = cli(bare, "load", "--host", "http://127.0.0.1:9")
    assert done.returncode == 2
