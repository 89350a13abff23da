from __future__ import annotations

import json

import pytest
import typer

from slipway import cli as command
from slipway.core import git, ledger
from support.sample_ledger import line

WORDS = sorted(typer.main.get_command(command.app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", WORDS)
def test_every_verb_says_what_it_does(word, cli, bare):
    done = cli(bare, word, "--help")
    assert done.returncode == 0
    assert len(done.stdout.strip().splitlines()) > 3


def test_list_of_verbs_is_complete(cli, bare):
    listed = cli(bare, "--help").stdout
    assert all(f" {word} " in listed for word in WORDS)
    assert set(WORDS) > {"ingest", "judge", "review", "release", "promote", "loop"}


def test_verb_outside_a_project_says_where_to_go(cli, tmp_path):
    done = cli(tmp_path, "train")
    assert done.returncode == 2
    assert "params.yaml does not exist (the working directory is" in done.stderr
    assert "next: change to the project's folder" in done.stderr


def test_data_error_ends_in_three_and_names_the_next_step(cli, bare_copy):
    done = cli(bare_copy, "train")
    assert done.returncode == 3
    assert "data/features.parquet does not exist" in done.stderr
    assert "Traceback" not in done.stderr


def test_bug_keeps_its_traceback(cli, bare_copy):
    (bare_copy / "data").mkdir()
    (bare_copy / "data/features.parquet").mkdir()
    done = cli(bare_copy, "train")
    assert done.returncode in (1, 3)


def test_chapters_run_by_their_verbs(cli, project_copy):
    for word, code in (("export", 0), ("evaluate", 0), ("report", 0), ("judge", 2), ("release", 2), ("promote", 2)):
        assert cli(project_copy, word).returncode == code, word


def test_results_go_to_stdout_and_talk_to_stderr(cli, bare_copy):
    ledger.append(line(1), bare_copy)
    done = cli(bare_copy, "release", "log")
    assert json.loads(done.stdout)["bento"] == "bikes:1"
    assert done.stderr == ""


def test_moment_before_any_release_is_null(cli, bare_copy):
    ledger.append(line(1), bare_copy)
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qm", "x"]):
        git.run(*args, root=bare_copy)
    assert cli(bare_copy, "release", "log", "--at", "2000-01-01T00:00Z").stdout.strip() == "null"
    held = cli(bare_copy, "release", "log", "--at", "2100-01-01T00:00Z").stdout
    assert json.loads(held)["bento"] == "bikes:1"


def test_moment_that_is_none_is_refused(cli, bare_copy):
    done = cli(bare_copy, "release", "log", "--at", "yesterday")
    assert done.returncode == 2
    assert "--at 'yesterday' is no moment" in done.stderr
