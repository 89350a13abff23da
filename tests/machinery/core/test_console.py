"""Text that is not ours is printed as it is, and only one module makes a console."""

from __future__ import annotations

import ast
import io
import json
import time
from pathlib import Path

import pytest
from rich.table import Table

from slipway.core import console
from slipway.core.console import LiteralConsole
from slipway.errors import CheckFailed
from support.paths import ROOT

STRANGE = {
    "an emoji code": ("flights:abc:1", "flights:abc:1"),
    "markup": ("[bold]x[/bold] [x]", "[bold]x[/bold] [x]"),
    "a closing tag alone": ("a [/] b", "a [/] b"),
    "an escape sequence": ("\x1b[31mred\x1b[0m\rover", "�[31mred�[0m�over"),
    "a character that reverses": ("a\u202eb", "a�b"),
}


@pytest.fixture
def screen() -> LiteralConsole:
    return LiteralConsole(file=io.StringIO(), width=60, force_terminal=True, color_system=None)


def printed(screen: LiteralConsole) -> str:
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("text", "shown"), STRANGE.values(), ids=STRANGE)
def test_text_is_printed_as_it_is(screen: LiteralConsole, text: str, shown: str) -> None:
    screen.write_line(("name ", "bold"), text)
    screen.print(text)
    table = Table(text)
    table.add_row(text)
    screen.print(table)
    assert printed(screen).count(shown) == 4


def test_line_is_never_wrapped(screen: LiteralConsole) -> None:
    screen.write_line("word " * 100)
    assert len(printed(screen).splitlines()) == 1


def test_only_one_module_makes_a_console() -> None:
    makers = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].endswith("Console"):
                makers.add(path.relative_to(ROOT / "src/slipway").as_posix())
    assert makers == {"core/console.py"}


def test_terminal_shows_what_runs_and_for_how_long() -> None:
    screen = LiteralConsole(file=io.StringIO(), width=60, force_terminal=True, color_system=None)
    with console.running("training :tea: …", screen):
        time.sleep(1.2)
    assert "training :tea: …  0 s" in printed(screen)
    assert "training :tea: …  1 s" in printed(screen)


def test_pipe_gets_no_progress() -> None:
    screen = LiteralConsole(file=io.StringIO())
    with console.running("training …", screen):
        screen.write_line("result")
    assert printed(screen) == "result\n"


def test_message_holds_no_command_for_a_runner() -> None:
    message = console.escape_error(CheckFailed("a\n::error::b\nc ##[group]d"))
    assert "\n::" not in message
    assert "##[" not in message


def test_square_brackets_in_a_message_are_kept(cli, bare_copy: Path) -> None:  # type: ignore[no-untyped-def]
    text = (bare_copy / "params.yaml").read_text().replace("seed: 7", "seed: '[bold]'")
    (bare_copy / "params.yaml").write_text(text)
    assert "[bold]" in cli(bare_copy, "train").stderr


def test_name_with_colons_is_no_emoji(cli, bare_copy: Path) -> None:  # type: ignore[no-untyped-def]
    text = (bare_copy / "params.yaml").read_text().replace("seed: 7", "seed: 'flights:abc:'")
    (bare_copy / "params.yaml").write_text(text)
    assert "flights:abc:" in cli(bare_copy, "train").stderr


@pytest.mark.parametrize(("encoding", "text", "printed"), [
    ("ascii", "größer … \udcff", "gr\\u00f6\\u00dfer \\u2026 \\udcff"),
    ("latin-1", "größer …", "größer \\u2026"),
    ("utf-8", "größer … \udcff", "größer … \\udcff"),
])  # fmt: skip
def test_stream_prints_every_character(encoding: str, text: str, printed: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console.make_encodable(stream)
    stream.write(json.dumps(text, ensure_ascii=False))
    stream.seek(0)
    assert stream.read() == f'"{printed}"'
    assert json.loads(f'"{printed}"') == text


def test_stream_that_is_closed_is_left_alone() -> None:
    console.make_encodable(None)
