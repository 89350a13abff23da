"""`slo`, `observe`: the alerts that follow from the objectives, and Prometheus on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from slipway.commands.command import command, print_result

app = typer.Typer()


@command(app, example="slipway slo --write")
def slo(write: Annotated[bool, typer.Option("--write", help="Write the files instead of comparing.")] = False) -> None:
    """Compare the alerts with the objectives in slo.yaml.

    The alerts are in k8s/observability: Prometheus rules, their unit tests, Alertmanager's configuration, a dashboard.
    """
    from slipway.observability import generate

    print_result("slo", generate.run(write=write))


@command(app, example="slipway observe --port 3000")
def observe(
    port: Annotated[int, typer.Option(help="Port of the running service.", min=1, max=65535)] = 3000,
    prometheus: Annotated[int, typer.Option(help="Port for Prometheus.", min=1, max=65535)] = 9090,
    alertmanager: Annotated[int, typer.Option(help="Port for Alertmanager.", min=1, max=65535)] = 9093,
) -> None:
    """Run Prometheus and Alertmanager for a local service.

    They use the alerts in k8s/observability, print their addresses, and end with Ctrl-C.
    """
    from slipway.observability import observe

    observe.run(observe.Setting(port, prometheus, alertmanager))
