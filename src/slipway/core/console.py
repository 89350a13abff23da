"""What a verb says to a person: one line on stderr, with a spinner on a terminal, and nothing that is obeyed as a command."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from slipway.core import config
from slipway.errors import SlipwayError

talk = Console(stderr=True, highlight=False)


def run_command(word: str, work: Callable[[config.Params], str]) -> None:
    """Load params, work (with a spinner on a terminal), and say in one line what was done."""
    started = time.monotonic()
    params = config.load()
    with talk.status(f"{word} …"):
        done = work(params)
    talk.print(f"[bold]{word}[/bold] {escape(done)} [dim]({time.monotonic() - started:.1f} s)[/dim]", soft_wrap=True)


def escape_error(error: SlipwayError) -> str:
    """Text that Rich does not read as markup, nor a workflow's runner as a command (`::…` in front, `##[…` anywhere)."""
    return re.sub(r"(?m)^(?=\s*::)|(?<=##)(?=\[)", "\u200b", str(error)).replace("[", r"\[")
