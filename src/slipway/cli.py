"""Define the `slipway` command: results on stdout, messages on stderr, errors caught in `main` and nowhere else."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from slipway.commands import (
    demo,
    monitoring,
    pipeline,
    prediction_log,
    pull_request,
    shipping,
    system_errors,
    use,
    watch,
)
from slipway.commands.command import Program
from slipway.core import environment, files
from slipway.core.console import escape_error, make_encodable, stderr
from slipway.errors import SlipwayError

HELP = "Ship machine-learning models by pull request, and block the ones that make things worse."
EPILOG = """* Options and exit codes of a command: `slipway COMMAND --help`
* Completion by the Tab key: `slipway --install-completion`"""
app = typer.Typer(
    cls=Program, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None, help=HELP, epilog=EPILOG,
    context_settings={"max_content_width": 110},
)  # fmt: skip
for module in (demo, pipeline, pull_request, shipping, use, monitoring, prediction_log, watch):
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

    So does an error of the system, such as a full disk, which may come from any line and any library. Any other error is a
    bug, with its traceback.
    """
    environment.forget_hook()
    make_encodable(sys.stdout)
    try:
        try:
            app(standalone_mode=True)
        finally:
            _flush_output()
    except SlipwayError as error:
        end(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        place = Path(f"standard output or a file in {Path.cwd()}")
        if explained := files.write_failure(error, place, nearby_too=False) or system_errors.explain(error):
            end(explained)
        traceback.print_exc()
        bug = f"{type(error).__name__} in Slipway's own code, or in the code of the problem: this is a bug"
        stderr.write_line(("error", "red"), f" {bug}")
        stderr.write_line(("next:", "dim"), " report it with the traceback above")
        sys.exit(SlipwayError.code)


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


def end(error: SlipwayError) -> NoReturn:
    """Print an error's text and hint, also in the summary of a workflow's run, and exit with its code."""
    from slipway.github import step_summary

    try:
        step_summary.write_error(error)
    except (OSError, files.CannotWrite) as failure:
        stderr.write_line(f"the summary of the run cannot be written: {failure}")
    stderr.write_line(("error", "red"), f" {escape_error(error)}")
    if error.hint:
        stderr.write_line(("next:", "dim"), f" {error.hint}")
    sys.exit(error.code)
