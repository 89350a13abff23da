"""From the packaged model to production and back: package, image, load, release, promote, rollback."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import CommandGroup, command, markdown_example, print_result, run_command
from slipway.commands.options import Env, Push, Source
from slipway.core.console import running

RELEASE_HELP = "Release the packaged model to staging, in one commit."
app = typer.Typer()


@command(app, example="slipway package")
def package() -> None:
    """Build the service with its model, and check its answers.

    The result is a bento in .slipway/bentoml. Exit code 4 unless its answers to the golden requests are the model's.
    """
    from slipway.packaging import package

    run_command("package", package.run)


@command(app, example="slipway image")
def image(
    gate: Annotated[bool, typer.Option("--gate", help="Build the image of the load test instead, and pin it.")] = False,
    uploader: Annotated[
        bool, typer.Option("--uploader", help="Build the image that uploads the prediction log, and pin it.")
    ] = False,
) -> None:
    """Build an image of the service, and push it to the registry.

    The registry is that of the overlay of staging. Writes reports/image.json.
    """
    from slipway.packaging import image

    program = image.GATE if gate else image.UPLOADER if uploader else None
    run_command("image", lambda params: image.run(params, program=program))


release_app = typer.Typer(cls=CommandGroup, no_args_is_help=False)
app.add_typer(
    release_app, name="release", short_help=RELEASE_HELP,
    epilog=markdown_example("slipway release --push", "slipway release log --env staging"),
)  # fmt: skip


@release_app.callback(invoke_without_command=True)
def release(context: typer.Context, push: Push = False) -> None:
    """Release the packaged model to staging, in one commit.

    The commit adds a record to the ledger, releases/staging.jsonl, and writes the image's digest into the overlay.
    """
    if context.invoked_subcommand is None:
        from slipway.delivery import release

        run_command("release", lambda params: release.run(params, push=push))


@command(release_app, example="slipway release due", name="due")
def release_due() -> None:
    """Print whether this commit has anything to release.

    Prints due=true or due=false; the reason for due=false is on stderr.
    """
    from slipway.core import environment, files
    from slipway.delivery import release
    from slipway.github import step_summary

    reason = release.reason_to_skip(Path())
    output = f"due={'false' if reason else 'true'}"
    print(output)  # noqa: T201
    if file := environment.step_output():
        with files.writing(file), file.open("a", encoding="utf-8") as out:
            out.write(f"{output}\n")
    if reason:
        print_result("release", step_summary.write(reason))


@command(release_app, example="slipway release gate --push", name="gate")
def release_gate(push: Push = False) -> None:
    """Build and pin the image of the load test, if it changed.

    With --push it is a commit on main or a pull request of its own.
    """
    from slipway.delivery import release

    run_command("release", lambda params: release.gate(params, push=push))


@command(app, example="slipway load --host http://127.0.0.1:3000")
def load(
    host: Annotated[
        str, typer.Option(help="Address of the service, which must be running.", metavar="URL")
    ] = "http://127.0.0.1:3000",
    digest: Annotated[
        str | None,
        typer.Option("--of", help="Hash of the bento or image under test; it is recorded.", metavar="DIGEST"),
    ] = None,
) -> None:
    """Load-test a running service against loadtests/slo.yaml.

    Exit code 4 when an objective is missed, 5 when too little was measured, 2 when nothing answers.
    """
    from slipway.loadtest import load

    with running("load …"):
        summary = load.run(host, of=digest)
    print_result("load", summary)


@command(app, example="slipway promote --source machine")
def promote(
    source: Source = None,
    waive: Annotated[
        str | None,
        typer.Option(
            help="Promote without a load test, for this reason. Code owners must approve it.", metavar="REASON"
        ),
    ] = None,
    push: Push = False,
) -> None:
    """Copy staging's newest release to production.

    The commit records the load-test result as evidence. Exit code 4 when it is no fresh pass, 5 when there is none.
    """
    from slipway.delivery import promote

    run_command("promote", lambda params: promote.run(params, source=source, waive=waive, push=push))


@command(app, example="slipway rollback --reason 'answers too slowly since noon' --push")
def rollback(
    reason: Annotated[str, typer.Option(help="One sentence, which is kept in the ledger.", metavar="TEXT")],
    env: Env = "production",
    aborted: Annotated[
        str | None,
        typer.Option(
            help="Message of the analysis that aborted a canary; - reads it from standard input.", metavar="TEXT"
        ),
    ] = None,
    digest: Annotated[
        str | None,
        typer.Option("--of", help="Only roll back if the environment still runs this digest.", metavar="DIGEST"),
    ] = None,
    push: Push = False,
) -> None:
    """Restore the previous release, with your reason.

    It is one commit, which adds a record to the ledger and writes the overlay of the environment.
    """
    from slipway.delivery import rollback

    run_command(
        "rollback", lambda p: rollback.run(p, env=env, reason=reason, aborted=aborted, only_digest=digest, push=push)
    )
