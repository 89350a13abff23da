"""`slo`: the alerts that follow from the objectives."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.commands.command import command, print_result

app = typer.Typer()


@command(app, example="slipway slo --write")
def slo(write: Annotated[bool, typer.Option("--write", help="Write the files instead of comparing.")] = False) -> None:
    """Compare the alerts with the objectives in slo.yaml.

    The alerts are in k8s/observability: rules of Prometheus, their unit tests, and Alertmanager's configuration.
    """
    from slipway.observability import generate

    print_result("slo", generate.run(write=write))
