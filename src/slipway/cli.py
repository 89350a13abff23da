"""Define the `slipway` command: results on stdout, messages on stderr, errors caught in `main` and nowhere else."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from slipway.commands import demo, pipeline, pull_request, shipping, use
from slipway.commands.command import Program
from slipway.core import environment, files
from slipway.core.console import escape_error, stderr
from slipway.errors import SlipwayError

HELP = "Ship machine-learning models by pull request, and block the ones that make things worse."
EPILOG = """* Options and exit codes of a command: `slipway COMMAND --help`
* Completion by the Tab key: `slipway --install-completion`"""
app = typer.Typer(
    cls=Program, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=HELP, epilog=EPILOG,
    context_settings={"max_content_width": 110},
)  # fmt: skip
for module in (demo, pipeline, pull_request, shipping, use):
    app.add_typer(module.app)


def print_version(version: bool) -> None:
    """Print the version and end, if the option was set."""
    if version:
        print(f"slipway {importlib.metadata.version('slipway')}")  # noqa: T201
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of `slipway` itself."""


def main() -> None:
    """Run a command. A SlipwayError prints its text and hint and exits with its code, Ctrl-C exits with 130.

    So does a full disk, whichever library met it, and whichever file it wrote.
    """
    environment.forget_hook()
    try:
        try:
            app(standalone_mode=True)
        finally:
            _flush_output()
    except SlipwayError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if (failure := files.write_failure(error, Path(f"standard output or a file in {Path.cwd()}"))) is None:
            raise
        _fail(failure)


def _flush_output() -> None:
    """Write what is left of stdout; what cannot be written is dropped, or Python would try again when it exits."""
    try:
        with files.writing(Path("standard output")):
            sys.stdout.flush()
    except (BrokenPipeError, SlipwayError) as error:
        with Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), sys.stdout.fileno())
        if isinstance(error, SlipwayError):
            raise


def _fail(error: SlipwayError) -> None:
    """Print an error with its hint, also on the page of a workflow's run, and exit with its code."""
    from slipway.github import step_summary

    with contextlib.suppress(files.CannotWrite):
        step_summary.write_error(error)
    stderr.write_line(("error", "red"), f" {escape_error(error)}")
    if error.hint:
        stderr.write_line(("next:", "dim"), f" {error.hint}")
    sys.exit(error.code)
