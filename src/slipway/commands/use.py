"""Use what was shipped, and look back: serve, score, `release log`, verify."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import command, print_result, run_command
from slipway.commands.options import Env, Environment
from slipway.commands.shipping import release_app
from slipway.core import config
from slipway.core.console import running
from slipway.errors import ConfigError

app = typer.Typer()


@command(app, example="slipway serve --port 3000")
def serve(
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.", min=0, max=65535)] = 3000,
    with_log: Annotated[
        bool, typer.Option("--log/--no-log", help="Keep a prediction log in the folder monitor.log of params.yaml.")
    ] = True,
) -> None:
    """Serve the packaged model on this machine.

    It serves the bento of `slipway package` until you press Ctrl-C.
    """
    from slipway.packaging import package

    package.serve(port=port, prediction_log=Path(config.load().monitor.log) if with_log else None)


@command(app, example="slipway score data/new predictions.parquet")
def score(
    source: Annotated[
        Path, typer.Argument(help="A parquet file with the model's inputs, or a folder of them.", metavar="IN")
    ],
    out: Annotated[Path, typer.Argument(help="The parquet file to write.", metavar="OUT")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Predict every row of parquet files.

    An interrupted run resumes if you repeat the command.
    """
    from slipway.serving import score

    print_result("score", score.run(source, out, overwrite=overwrite))


@command(release_app, example="slipway release log --at 2026-03-04T12:00Z", name="log")
def release_log(
    env: Env = "production",
    at: Annotated[
        str | None,
        typer.Option(help="Print only the release that ran at this time, e.g. 2026-03-04T12:00Z.", metavar="TIME"),
    ] = None,
) -> None:
    """Print the releases of an environment, newest first.

    One JSON object per line, from the ledger releases/ENV.jsonl.
    """
    from slipway.core import ledger

    if at is None:
        lines = ledger.read(env)
        for line in reversed(lines):
            print(line.model_dump_json())  # noqa: T201
        if not lines:
            print_result("release", f"{env} has no releases yet: {ledger.path(env)} is empty or does not exist")
        return
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise ConfigError(
            f"--at is {at!r}", expected="a date and time, such as 2026-03-04T12:00Z", hint="slipway release log --help"
        ) from None
    current = ledger.line_at(env, moment)
    print(current.model_dump_json() if current else "null")  # noqa: T201
    if current is None:
        print_result("release", f"{env} had no release at {at}")


@command(app, example="slipway verify --pod serve-6f7c9 --namespace flights-production")
def verify(
    pod: Annotated[str | None, typer.Option(help="Start at a running pod of the service.", metavar="NAME")] = None,
    namespace: Annotated[
        str | None,
        typer.Option(help="Namespace of the pod. Default: the one that has a pod of that name.", metavar="NAME"),
    ] = None,
    env: Annotated[Environment | None, typer.Option(help="Start at an environment. Default: production.")] = None,
    image: Annotated[
        str | None, typer.Option(help="Start at an image with its digest, as a pod or the ledger names it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the chain as JSON.")] = False,
) -> None:
    """Trace what runs back to its data, commit and pull request.

    The chain goes over release, image, model and run. Exit code 4 when a link is broken.
    """
    from slipway.lineage import verify

    with running("verify …"):
        chains = verify.run(pod=pod, namespace=namespace, env=env, image=image)
    verify.show(chains, as_json=as_json)
    print_result("verify", verify.enforce(chains))


@command(app, example="slipway status --folder public")
def status(
    folder: Annotated[Path, typer.Option(help="Folder that index.html is written to.", metavar="FOLDER")] = Path(
        "reports/status"
    ),
) -> None:
    """Write the status page: releases, verdicts, budget and drift.

    It is one HTML file, made from Git alone: the ledgers of the main branch and the branch slipway-records,
    both as last fetched.
    """
    from slipway.reporting.status_page import status

    run_command("status", lambda params: status.run(params.problem, folder=folder))


@command(app, example="slipway incident --from 2026-03-04T11:00Z --to 2026-03-04T14:00Z")
def incident(
    start: Annotated[str, typer.Option("--from", help="First moment, with a time zone.", metavar="TIME")],
    end: Annotated[str, typer.Option("--to", help="Last moment, with a time zone.", metavar="TIME")],
    log: Annotated[
        list[Path] | None, typer.Option("--log", help="JSON log of the service; may be repeated.", metavar="FILE")
    ] = None,
    alertmanager: Annotated[str | None, typer.Option(help="Address of a running Alertmanager.", metavar="URL")] = None,
) -> None:
    """Write one page about a window: releases, alerts, logs.

    The result is reports/incident/index.html, and the same in Markdown.
    """
    from slipway.reporting.incident import incident

    run_command("incident", lambda _: incident.run(start, end, logs=log or (), alertmanager=alertmanager))
