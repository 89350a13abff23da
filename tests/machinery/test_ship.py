from __future__ import annotations

import json

from slipway.core import git, ledger
from support.sample_ledger import line


def test_results_go_to_stdout_and_talk_to_stderr(cli, bare_copy):
    ledger.append(line(1), bare_copy)
    done = cli(bare_copy, "release", "log")
    assert json.loads(done.stdout)["bento"] == "bikes:1"
    assert done.stderr == ""


def test_moment_before_any_release_is_null(cli, bare_copy):
    ledger.append(line(1), bare_copy)
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"]):
        git.output(*args, root=bare_copy)
    assert cli(bare_copy, "release", "log", "--at", "2000-01-01T00:00Z").stdout.strip() == "null"
    held = cli(bare_copy, "release", "log", "--at", "2100-01-01T00:00Z").stdout
    assert json.loads(held)["bento"] == "bikes:1"


def test_moment_that_is_none_is_refused(cli, bare_copy):
    done = cli(bare_copy, "release", "log", "--at", "yesterday")
    assert done.returncode == 2
    assert "--at 'yesterday' is no moment" in done.stderr
