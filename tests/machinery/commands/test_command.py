"""The help: every command in one group, with an example, in lines that fit 80 columns."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import typer

from slipway import cli as program
from slipway.commands import command
from slipway.core import console
from slipway.core.console import LiteralConsole
from support.callables import Cli

ROOT_COMMAND = typer.main.get_command(program.app)
COMMANDS = dict(command.walk(ROOT_COMMAND))  # type: ignore[arg-type]


def test_every_command_is_in_one_group() -> None:
    grouped = [name for names in command.GROUPS.values() for name in names]
    only_groups = {name for name, each in COMMANDS.items() if hasattr(each, "commands") and each.no_args_is_help}
    assert sorted(grouped) == sorted(COMMANDS.keys() - only_groups)


def test_help_lists_groups_in_lines_of_80_columns(cli: Cli, bare: Path) -> None:
    text = cli(bare, "--help").stdout
    for title, names in command.GROUPS.items():
        section = text.partition(f"\n{title}:\n")[2].partition("\n\n")[0].splitlines()
        assert [row.strip().partition("  ")[0] for row in section[:-1]] == list(names)
        assert section[-1].startswith("  Example: slipway ")
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


@pytest.mark.parametrize("name", COMMANDS)
def test_example_is_of_the_command_and_its_options_exist(name: str) -> None:
    one = COMMANDS[name]
    lines = command.example_lines(one)
    options = {option for parameter in one.params for option in parameter.opts}
    assert lines
    for line in lines:
        assert line.startswith(f"slipway {name}")
        assert {word for word in line.split() if word.startswith("-")} <= options | {"--env"}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_a_sentence_that_begins_with_a_verb(name: str) -> None:
    first = COMMANDS[name].short_help or ""
    assert first.endswith(".")
    assert first[0].isupper()
    assert not first.startswith(("What", "Who", "How", "The ", "All "))
    assert len(first) <= 62


def test_wrong_choice_is_named_with_its_alternatives(cli: Cli, bare: Path) -> None:
    done = cli(bare, "promote", "--source", "moon")
    assert done.returncode == 2
    assert "Invalid value for '--source': 'moon' is not one of 'machine', 'cluster', 'status'." in done.stderr


def test_result_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = LiteralConsole(file=io.StringIO())
    monkeypatch.setattr(command, "stderr", screen)
    command.print_result("score", "[x] flights:abc:", 1.26)
    assert screen.file.getvalue() == "score [x] flights:abc: (1.3 s)\n"  # type: ignore[attr-defined]
    assert console.stderr is not screen
