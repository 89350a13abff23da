"""Print the result of a command on stderr, with a spinner on a terminal, and escape error messages."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from slipway.core import config
from slipway.errors import SlipwayError

stderr = Console(stderr=True, highlight=False)


def run_command(name: str, work: Callable[[config.Params], str]) -> None:
    """Load params.yaml, call `work` with it, and print the sentence that `work` returns and the seconds it took."""
    started = time.monotonic()
    params = config.load()
    with stderr.status(f"{name} …"):
        result = work(params)
    stderr.print(
        f"[bold]{name}[/bold] {escape(result)} [dim]({time.monotonic() - started:.1f} s)[/dim]", soft_wrap=True
    )


def escape_error(error: SlipwayError) -> str:
    """The error's text, with nothing that Rich reads as markup or GitHub's runner as a command (leading `::`, any `##[`)."""
    return re.sub(r"(?m)^(?=\s*::)|(?<=##)(?=\[)", "\u200b", str(error)).replace("[", r"\[")
