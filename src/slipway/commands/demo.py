"""`loop`, `doctor`, `drill`: try Slipway, check this machine, inject faults into a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from slipway.commands.command import command, print_result
from slipway.core import config
from slipway.core.console import stdout

app = typer.Typer()


@command(app, example="slipway loop --keep")
def loop(
    keep: Annotated[bool, typer.Option("--keep", help="Leave staging and production running at the end.")] = False,
    target: Annotated[
        Literal["machine", "cluster"], typer.Option(help="Where to deploy: this machine, or a Kubernetes cluster.")
    ] = "machine",
    port: Annotated[
        int | None, typer.Option(help="Port of production; staging gets the next one. Default: free ports from 3000.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every step with its numbers.")] = False,
    table: Annotated[bool, typer.Option("--table", help="Print a table of all steps at the end.")] = False,
    operate: Annotated[
        bool, typer.Option("--operate", help="Then ask production for some weeks, break an input, and run monitor.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop what an earlier `--keep` left running.")] = False,
) -> None:
    """Run the demo: a good change ships, a bad change is blocked.

    It runs in a scratch clone, .slipway/loop; your branch is not touched. `make loop ARGS=--keep` is the same command.
    With `--operate` a demo that already ended well is not run again: production is started once more, and asked.
    """
    from slipway.sandbox import loop

    if stop:
        count = loop.remove_everything(Path().resolve())
        return stdout.write_line(f"Stopped {count} {'process' if count == 1 else 'processes'} of the demo.")
    loop.run(config.load(), keep=keep, target=target, port=port, verbose=verbose, table=table, operating=operate)


@command(app, example="slipway doctor")
def doctor() -> None:
    """List what this machine has, and how to install the rest."""
    from slipway.sandbox import doctor

    doctor.run()


@command(app, example="slipway drill slow fixed")
def drill(
    names: Annotated[
        list[str], typer.Argument(help="Names of drills, or all. An unknown name lists them.", metavar="NAME…")
    ],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the environments of the drills running.")] = False,
) -> None:
    """Inject faults into a test cluster, and check the repair.

    Exit code 4 when a fault is not detected, or not repaired in time.
    """
    from slipway.sandbox.drills import drill

    print_result("drill", drill.run(config.load(), names, keep=keep))
