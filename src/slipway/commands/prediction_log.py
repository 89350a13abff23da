"""The prediction log outside the service: `log compact`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import CommandGroup, command, markdown_example, print_result
from slipway.core.console import running

LOG_HELP = "Work on the prediction log of the service."
app = typer.Typer()
log_app = typer.Typer(cls=CommandGroup, no_args_is_help=True)
app.add_typer(
    log_app, name="log", help=LOG_HELP, short_help=LOG_HELP, epilog=markdown_example("slipway log compact .slipway/log")
)


@command(log_app, example="slipway log compact .slipway/log", name="compact")
def compact(
    folder: Annotated[Path, typer.Argument(help="Folder of the prediction log.", metavar="FOLDER")] = Path(
        ".slipway/log"
    ),
) -> None:
    """Turn the closed files of a prediction log into parquet.

    A file of lines is removed after its parquet file is complete. An interrupted run goes on if you repeat the command.
    """
    from slipway.monitoring.log_files import compaction

    with running("log compact …"):
        result = compaction.run(folder)
    print_result("log", result)
