"""The two consoles of Slipway: `stdout` for results, `stderr` for messages. No other module makes one.

Text is printed as it is: markup, emoji codes and control characters in it have no effect. Style is an argument.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import re
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from slipway.errors import SlipwayError

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that move the cursor, colour what follows, or reverse the direction of reading."""
Part = str | tuple[str, str]
"""Text, or text with its style."""


class LiteralConsole(Console):
    """A console that prints text as it is, also in the cells of a table."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """`text` without control characters; markup and emoji codes in it are text."""
        return super().render_str(literal(text), **options)

    def write_line(self, *parts: Part) -> None:
        """Print parts as one line, which is not wrapped."""
        self.print(styled(*parts), soft_wrap=True)


stdout = LiteralConsole()
stderr = LiteralConsole(stderr=True)


def literal(text: str) -> str:
    """`text` with � in place of each control character."""
    return CONTROL.sub("�", text)


def styled(*parts: Part) -> Text:
    """One text of several parts, each without control characters."""
    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((literal(text), style) for text, style in pairs))


def make_encodable(stream: object) -> None:
    r"""Let a stream print every character: one that its encoding lacks becomes `\u2026`, as in JSON."""
    codecs.register_error("slipway", lambda error: (_json_escapes(error), error.end))  # type: ignore[attr-defined]
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="slipway")


def _json_escapes(error: Any) -> str:
    return json.dumps(error.object[error.start : error.end])[1:-1]


@contextlib.contextmanager
def running(what: str, console: LiteralConsole = stderr) -> Iterator[None]:
    """Show what is running, and for how many seconds, while the block runs; on a terminal only."""
    if not console.is_terminal:
        yield
        return
    started, spinner = time.monotonic(), Spinner("dots", style="cyan")

    def frame() -> Spinner:
        spinner.update(text=styled(what, (f"  {time.monotonic() - started:.0f} s", "dim")))
        return spinner

    # What a command prints on stdout must reach a file or a pipe there, not this console.
    with Live(
        console=console, get_renderable=frame, refresh_per_second=8, transient=True, redirect_stdout=stdout.is_terminal
    ):
        yield


def escape_error(error: SlipwayError) -> str:
    """The error's text, with nothing that GitHub's runner reads as a command (leading `::`, any `##[`)."""
    return re.sub(r"(?m)^(?=\s*::)|(?<=##)(?=\[)", "\u200b", str(error))
