"""`monitor`, `labels add`: what moved since the release, and the labels that come later."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import CommandGroup, command, markdown_example, print_result, run_command
from slipway.core import config

LABELS_HELP = "Work on the labels of logged predictions."
app = typer.Typer()
labels_app = typer.Typer(cls=CommandGroup, no_args_is_help=True)
app.add_typer(
    labels_app, name="labels", help=LABELS_HELP, short_help=LABELS_HELP,
    epilog=markdown_example("slipway labels add labels.parquet"),
)  # fmt: skip
Log = Annotated[
    str | None,
    typer.Option(help="Folder or URL of the prediction log. Default: monitor.log of params.yaml.", metavar="FOLDER"),
]


@command(app, example="slipway monitor --until 2026-03-04T00:00Z")
def monitor(
    log: Log = None,
    until: Annotated[
        str | None, typer.Option(help="End of the window, with a time zone. Default: now.", metavar="TIME")
    ] = None,
    days: Annotated[
        int | None, typer.Option(help="Days of the window. Default: monitor.window_days.", min=1, max=36_500)
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Append the verdicts to the branch slipway-records.")
    ] = False,
    push: Annotated[bool, typer.Option("--push", help="With --record: push the branch to origin.")] = False,
    evidently: Annotated[
        bool, typer.Option("--evidently", help="Also write Evidently's page; installs Evidently when first used.")
    ] = False,
) -> None:
    """Compare what production answered with the training data.

    Four questions: is the service within its objectives, did inputs, predictions or performance move? Exit code 4 when
    one of them did, 5 when that cannot be decided. The report is reports/monitor/report.html.
    """
    from slipway.monitoring import monitor
    from slipway.reporting.incident.timeline import parse_moment

    moment = None if until is None else parse_moment(until, "--until")
    run_command(
        "monitor",
        lambda params: monitor.run(
            params, log=log, until=moment, days=days, record=record, push=push, evidently=evidently
        ),
    )


@command(labels_app, example="slipway labels add labels.parquet", name="add")
def add(
    file: Annotated[Path, typer.Argument(help="Parquet or CSV file with id and the target.", metavar="FILE")],
    log: Log = None,
) -> None:
    """Add labels to the rows of the prediction log.

    Labels that contradict an earlier one, or have an unknown id, are listed and kept apart.
    """
    from slipway import problem
    from slipway.core.console import running
    from slipway.monitoring import labels

    params = config.load()
    with running("labels add …"):
        result = labels.add_to(problem.load(params.problem), file, log or params.monitor.log)
    print_result("labels", result)
