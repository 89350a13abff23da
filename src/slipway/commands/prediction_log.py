"""The prediction log outside the service: `log compact`, `log upload`."""

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


@command(log_app, example="slipway log upload s3://bucket/flights", name="upload")
def upload(
    url: Annotated[str, typer.Argument(help="Where the files go: s3://, file:// or a folder.", metavar="URL")],
    log: Annotated[
        Path | None,
        typer.Option(help="Folder of the prediction log. Default: monitor.log of params.yaml.", metavar="FOLDER"),
    ] = None,
    every: Annotated[
        float | None, typer.Option(help="Repeat after so many seconds, until SIGTERM.", min=0.1, metavar="SECONDS")
    ] = None,
) -> None:
    """Copy the closed files of a prediction log to a store.

    A file is removed here after its copy was compared with it. An interrupted run goes on if you repeat the command.
    """
    from slipway.monitoring.log_files import remote

    folder = log or Path(config.load().monitor.log)
    if every is None:
        with running("log upload …"):
            result = remote.upload(folder, url)
    else:
        result = remote.upload_every(
            folder, url, seconds=every, report=lambda text: print_result("log", text), ended=remote.end_at_sigterm()
        )
    print_result("log", result)
