"""The command line's half that delivers: from the packaged bento to production, and back to the data.

`cli` registers these verbs; what is here only reads options and calls the chapter.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from slipway import config
from slipway.errors import ConfigError
from slipway.terminal import chapter, talk

Env = Annotated[str, typer.Option(help="staging or production.")]


def package() -> None:
    """Model, contract and service → a bento; golden requests replayed through it."""
    from slipway import package

    chapter("package", package.run)


def serve(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Serve the packaged bento until interrupted."""
    from slipway import package

    package.serve(port=port)


def load(
    host: Annotated[str, typer.Option(help="Where the service answers.")] = "http://127.0.0.1:3000",
    of: Annotated[str | None, typer.Option(help="Hash of the bento or image under test, kept as evidence.")] = None,
) -> None:
    """Locust drives, loadtests/slo.yaml judges; exit 4 when missed, 5 with too few requests."""
    from slipway import load

    talk.print(f"[bold]load[/bold] {load.run(host, of=of)}", soft_wrap=True)


release_app = typer.Typer(no_args_is_help=False, help="Releases: write one, or read the ledger.")


@release_app.callback(invoke_without_command=True)
def release(context: typer.Context) -> None:
    """Write the packaged bento as staging's newest ledger line, in one commit."""
    if context.invoked_subcommand is None:
        from slipway import release

        chapter("release", release.run)


@release_app.command("log")
def release_log(
    env: Env = "production",
    at: Annotated[str | None, typer.Option(help="Which one ran then, e.g. 2026-03-04T12:00Z.")] = None,
) -> None:
    """The ledger of an environment, newest first, or the line that held at a moment (as JSON)."""
    from slipway import ledger

    if at is None:
        for line in reversed(ledger.read(env)):
            print(line.model_dump_json())  # noqa: T201
        return
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise ConfigError(f"--at {at!r} is no moment", hint="write 2026-03-04T12:00Z") from None
    held = ledger.at(env, moment)
    print(held.model_dump_json() if held else "null")  # noqa: T201


def promote() -> None:
    """Copy staging's newest release to production, with its load verdict as evidence."""
    from slipway import promote

    chapter("promote", promote.run)


def loop(
    keep: Annotated[bool, typer.Option("--keep", help="Leave staging and production running.")] = False,
    target: Annotated[str, typer.Option(help="machine, or cluster.")] = "machine",
    port: Annotated[int | None, typer.Option(help="Production's port; staging gets the next one.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop what an earlier --keep left running.")] = False,
) -> None:
    """The whole loop on this machine: one good pull request merged, one bad one refused."""
    from slipway import loop, scene

    if stop:
        return talk.print(f"[bold]loop[/bold] {scene.stop(Path().resolve())} processes stopped")
    loop.run(config.load(), keep=keep, target=target, port=port)


def doctor() -> None:
    """What is there and what is missing, and the command to get it."""
    from slipway import doctor

    doctor.run()


VERBS = (package, serve, load, promote, loop, doctor)
"""What `cli` registers beside `release_app`, in this order."""
