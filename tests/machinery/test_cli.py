from __future__ import annotations

import pytest
import typer

from slipway import cli as command

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
    assert "params.yaml does not exist here" in done.stderr
    assert "next: run this in the project's folder" in done.stderr


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
