"""The prediction log outside the service: `log compact`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import CommandGroup, command, markdown_example, print_result
from slipway.core import config
from slipway.core.console import running

LOG_HELP = "Work on the prediction log of the service."
app = typer.Typer()
log_app = typer.Typer(cls=CommandGroup, no_args_is_help=True)
app.add_typer(
    log_app, name="log", help=LOG_HELP, short_help=LOG_HELP, epilog=markdown_example("slipway log compact .slipway/log")
)
Folder = Annotated[
    Path | None,
    typer.Argument(help="Folder of the prediction log. Default: monitor.log of params.yaml.", metavar="FOLDER"),
]


@command(log_app, example="slipway log compact .slipway/log", name="compact")
def compact(
    folder: Folder = None,
) -> None:
    """Turn the closed files of a prediction log into parquet.

    A file of lines is removed after its parquet file is complete. An interrupted run goes on if you repeat the command.
    """
    from slipway import problem
    from slipway.monitoring.log_files import compaction

    params = config.load()
    with running("log compact …"):
        result = compaction.run(folder or Path(params.monitor.log), problem.load(params.problem))
    print_result("log", result)
