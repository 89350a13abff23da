"""The command itself: help, version, completion, wrong words, and how errors end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from slipway import cli as command
from slipway.core import environment
from support import sample_ledger
from support.callables import Cli
from support.paths import ROOT

WORDS = sorted(typer.main.get_command(command.app).commands)  # type: ignore[attr-defined]


@pytest.mark.parametrize("word", WORDS)
def test_every_verb_says_what_it_does(word: str, cli: Cli, bare: Path) -> None:
    done = cli(bare, word, "--help")
    assert done.returncode == 0
    assert len(done.stdout.strip().splitlines()) > 3
    assert "\nExample:\n  slipway " in done.stdout


def test_list_of_verbs_is_complete(cli: Cli, bare: Path) -> None:
    listed = cli(bare, "--help").stdout
    assert all(f" {word} " in listed for word in WORDS)
    assert set(WORDS) > {"ingest", "judge", "review", "release", "promote", "loop"}


def test_command_alone_prints_the_help(cli: Cli, bare: Path) -> None:
    done = cli(bare)
    assert done.returncode == 2
    assert "Try it:" in done.stderr


def test_version_is_that_of_the_project(cli: Cli, bare: Path) -> None:
    number = re.search(r'(?m)^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert number
    assert cli(bare, "--version").stdout == f"slipway {number[1]}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lop"], "No such command 'lop'. Did you mean 'loop', 'slo', 'log'?"),
        (["judge", "--bse", "x"], "No such option: --bse (Possible options: --base)"),
        (["frobnicate"], "No such command 'frobnicate'."),
    ],
)
def test_wrong_word_is_named_with_the_likely_one(words: list[str], message: str, cli: Cli, bare: Path) -> None:
    done = cli(bare, *words)
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str, bare: Path) -> None:
    program = Path(sys.executable).with_name("slipway")
    words = {"COMP_WORDS": "slipway ju", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "slipway ju",
             "_TYPER_COMPLETE_FISH_ACTION": "get-args"}  # fmt: skip
    env = environment.for_programs(ROOT, _SLIPWAY_COMPLETE=f"complete_{shell}", **words)
    done = subprocess.run([program], cwd=bare, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "judge" in done.stdout
    assert "promote" not in done.stdout


def test_verb_outside_a_project_says_where_to_go(cli: Cli, tmp_path: Path) -> None:
    done = cli(tmp_path, "train")
    assert done.returncode == 2
    assert "params.yaml does not exist (the working directory is" in done.stderr
    assert "next: change to the project's folder" in done.stderr


def test_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise KeyError("x")

    monkeypatch.setattr(command, "app", lambda **_: fail())
    with pytest.raises(SystemExit) as end:
        command.main()
    printed = capsys.readouterr().err
    assert end.value.code == 1
    assert "Traceback" in printed
    assert "error KeyError in Slipway's own code" in printed
    assert "next: report it with the traceback above" in printed


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp1252:strict"])
def test_every_encoding_of_the_output_is_enough(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    released = sample_ledger.line(1).model_copy(update={"bento": "größer…:1"})
    (tmp_path / "releases/production.jsonl").write_text(released.model_dump_json() + "\n", encoding="utf-8")
    env = environment.for_programs(tmp_path, PYTHONUTF8="0", PYTHONIOENCODING=encoding)
    done = subprocess.run([sys.executable, "-m", "slipway", "release", "log"], cwd=tmp_path, env=env, capture_output=True,
                          timeout=60, check=False)  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout.decode(encoding.partition(":")[0]))["bento"] == "größer…:1"


def test_output_that_cannot_be_written_is_a_sentence(bare: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-m", "slipway", "--help"], cwd=bare, env=environment.for_programs(bare),
                              stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode in (2, 120)


@pytest.mark.parametrize("words", [["--version"], ["judge", "--help"]])
def test_full_disk_behind_a_redirection_is_named(words: list[str], bare: Path) -> None:
    command = [sys.executable, "-m", "slipway", *words]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=bare, env=environment.for_programs(bare), stdout=full, stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "error standard output or a file in" in done.stderr


def test_help_needs_no_terminal_and_no_home(bare: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name not in ("HOME", "TERM")}
    done = subprocess.run(
        [sys.executable, "-m", "slipway", "--help"], cwd=bare, env=env, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
