"""The checks of a pull request at the command line."""

from __future__ import annotations

from pathlib import Path

from support.callables import Cli


def test_checks_end_with_their_exit_codes(cli: Cli, project_copy: Path) -> None:
    for word, code in (("export", 0), ("evaluate", 0), ("report", 0), ("judge", 2), ("release", 2), ("promote", 2)):
        assert cli(project_copy, word).returncode == code, word
