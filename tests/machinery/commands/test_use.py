"""`release log` at the command line: results on stdout, messages on stderr."""

from __future__ import annotations

import json
from pathlib import Path

from slipway.core import git, ledger
from support.callables import Cli
from support.sample_ledger import line


def test_results_go_to_stdout_and_messages_to_stderr(cli: Cli, bare_copy: Path) -> None:
    ledger.append(line(1), bare_copy)
    done = cli(bare_copy, "release", "log")
    assert json.loads(done.stdout)["bento"] == "bikes:1"
    assert done.stderr == ""


def test_empty_ledger_is_named_as_such(cli: Cli, bare: Path) -> None:
    done = cli(bare, "release", "log", "--env", "staging")
    assert (done.returncode, done.stdout) == (0, "")
    assert "staging has no releases yet" in done.stderr


def test_moment_before_any_release_is_null(cli: Cli, bare_copy: Path) -> None:
    ledger.append(line(1), bare_copy)
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"]):
        git.run(*args, root=bare_copy)
    before = cli(bare_copy, "release", "log", "--at", "2000-01-01T00:00Z")
    assert before.stdout.strip() == "null"
    assert "production had no release at 2000-01-01T00:00Z" in before.stderr
    held = cli(bare_copy, "release", "log", "--at", "2100-01-01T00:00Z").stdout
    assert json.loads(held)["bento"] == "bikes:1"


def test_text_that_is_no_moment_is_refused(cli: Cli, bare_copy: Path) -> None:
    done = cli(bare_copy, "release", "log", "--at", "yesterday")
    assert done.returncode == 2
    assert "--at is 'yesterday'; expected: a date and time" in done.stderr


def test_port_outside_the_range_is_refused(cli: Cli, bare: Path) -> None:
    done = cli(bare, "serve", "--port", "99999")
    assert done.returncode == 2
    assert "'--port'" in done.stderr
