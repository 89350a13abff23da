"""Register a command with its group and its example, and print the help as plain text in groups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from slipway.core import config
from slipway.core.console import running, stderr

GROUPS = {
    "Try it": ("loop", "doctor"),
    "Run the pipeline": ("ingest", "features", "train", "export", "evaluate", "track", "stages"),
    "Check a pull request": ("review", "prove", "judge", "latency", "report", "policy", "comment"),
    "Ship": ("package", "image", "release", "load", "promote", "release due", "release gate"),
    "Use the model": ("serve", "score"),
    "Watch": ("monitor", "labels add", "log compact", "log upload", "observe", "slo"),
    "Look back": ("verify", "release log", "status", "incident"),
    "Repair and rehearse": ("rollback", "drill"),
}
"""The commands by what a person wants to do, in the order of `slipway --help`."""
F = TypeVar("F", bound=Callable[..., Any])


class Command(TyperCommand):
    """A command whose help ends with its example."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options; the message about a wrong value has no words of the library that read it."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library calls it so
        """Write the example."""
        write_section(formatter, "Example", example_lines(self))


class CommandGroup(TyperGroup):
    """A command with subcommands, whose help ends with its example."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library calls it so
        """Write the example."""
        write_section(formatter, "Example", example_lines(self))


class Program(TyperGroup):
    """All commands, listed by what a person wants to do."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library calls it so
        """Write one section for each group: its commands, and the example of the first one."""
        commands = dict(walk(self))
        width = max(map(len, commands))
        for title, names in GROUPS.items():
            rows = [f"{name:<{width}}  {commands[name].short_help}" for name in names]
            write_section(formatter, title, [*rows, f"Example: {example_lines(commands[names[0]])[0]}"])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - the library calls it so
        """Write where to read on, one line each; the epilog is a list in Markdown."""
        lines = (self.epilog or "").replace("`", "").splitlines()
        write_section(formatter, "More", [line.removeprefix("* ") for line in lines])


def walk(group: TyperGroup, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The commands of a group and of the groups in it, each with its whole name."""
    for name, command in group.commands.items():
        yield f"{prefix}{name}", command
        if isinstance(command, TyperGroup):
            yield from walk(command, f"{prefix}{name} ")


def example_lines(command: Any) -> list[str]:
    """The lines of a command's example, from its epilog, which is Markdown for docs/commands.md."""
    return [line.removeprefix("$ ") for line in command.epilog.splitlines() if line.startswith("$ ")]


def write_section(formatter: Any, title: str, lines: Iterable[str]) -> None:
    """Write lines below a title, without wrapping them."""
    with formatter.section(typer.style(title, bold=True)):
        formatter.write("".join(f"{' ' * formatter.current_indent}{line}\n" for line in lines))


def markdown_example(*lines: str) -> str:
    """The epilog of a command: its example in Markdown."""
    return "\n".join(["**Example**:", "", "```console", *(f"$ {line}" for line in lines), "```"])


def command(app: typer.Typer, *, example: str, name: str | None = None) -> Callable[[F], F]:
    """Register a function as a command of `app`; the first line of its docstring is its line in `slipway --help`."""

    def register(function: F) -> F:
        short = (function.__doc__ or "").partition("\n")[0]
        return app.command(name, cls=Command, epilog=markdown_example(example), short_help=short)(function)

    return register


def run_command(name: str, work: Callable[[config.Params], str]) -> None:
    """Load params.yaml, call `work` with it, and print the sentence that `work` returns and the seconds it took."""
    started = time.monotonic()
    params = config.load()
    with running(f"{name} …"):
        result = work(params)
    print_result(name, result, time.monotonic() - started)


def print_result(name: str, result: str, seconds: float | None = None) -> None:
    """Print what a command did, on stderr, with its name first."""
    stderr.write_line((name, "bold"), f" {result}", (f" ({seconds:.1f} s)" if seconds is not None else "", "dim"))
