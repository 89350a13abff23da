from __future__ import annotations

from slipway.core import console
from slipway.errors import CheckFailed


def test_nothing_said_is_a_command_to_a_runner():
    said = console.escape_error(CheckFailed("a\n::error::b\nc ##[group]d"))
    assert "\n::" not in said
    assert "##[" not in said.replace("\\[", "[")


def test_square_brackets_in_a_message_are_kept(cli, bare_copy):
    text = (bare_copy / "params.yaml").read_text().replace("seed: 7", "seed: '[bold]'")
    (bare_copy / "params.yaml").write_text(text)
    assert "[bold]" in cli(bare_copy, "train").stderr
