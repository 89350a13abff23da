"""The command line's half that delivers: from the packaged bento to production, and back to the data.

`cli` registers these verbs; what is here only reads options and calls the chapter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from slipway.core import config
from slipway.core.console import chapter, talk
from slipway.errors import ConfigError

Env = Annotated[str, typer.Option(help="staging or production.")]


def package() -> None:
    """Model, contract and service → a bento; golden requests replayed through it."""
    from slipway.packaging import package

    chapter("package", package.run)


def serve(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Serve the packaged bento until interrupted."""
    from slipway.packaging import package

    package.serve(port=port)


def load(
    host: Annotated[str, typer.Option(help="Where the service answers.")] = "http://127.0.0.1:3000",
    of: Annotated[str | None, typer.Option(help="Hash of the bento or image under test, kept as evidence.")] = None,
) -> None:
    """Locust drives, loadtests/slo.yaml judges; exit 4 when missed, 5 with too few requests."""
    from slipway.loadtest import load

    talk.print(f"[bold]load[/bold] {load.run(host, of=of)}", soft_wrap=True)


def score(
    given: Annotated[
        Path, typer.Argument(help="A parquet file with the contract's inputs, or a folder of them.", metavar="IN")
    ],
    out: Annotated[Path, typer.Argument(help="The parquet file to write.", metavar="OUT")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when it is there.")] = False,
) -> None:
    """Predict every row of parquet files, by the graph that is served; killed, the same command goes on."""
    from slipway.serving import score

    talk.print(f"[bold]score[/bold] {escape(score.run(given, out, overwrite=overwrite))}", soft_wrap=True)


def image(
    gate: Annotated[bool, typer.Option("--gate", help="The image of the load gate instead, and its pin.")] = False,
) -> None:
    """The packaged bento as an image in the registry that staging's overlay names → reports/image.json."""
    from slipway.packaging import image

    chapter("image", lambda params: image.run(params, gate=gate))


release_app = typer.Typer(no_args_is_help=False, help="Releases: write one, or read the ledger.")


@release_app.callback(invoke_without_command=True)
def release(context: typer.Context, push: Push = False) -> None:
    """Write the packaged bento as staging's newest ledger line and its image into the overlay, in one commit."""
    if context.invoked_subcommand is None:
        from slipway.delivery import release

        chapter("release", lambda params: release.run(params, push=push))


@release_app.command("due")
def release_due() -> None:
    """Whether HEAD has anything to build and release, as `due=true` or `due=false`; the reason why not on stderr."""
    from slipway.core import environment
    from slipway.delivery import release

    why = release.due(Path())
    print(said := f"due={'false' if why else 'true'}")  # noqa: T201
    told = {environment.step_output(): said, environment.step_summary(): why}
    for file, text in told.items():
        if file and text:
            with file.open("a", encoding="utf-8") as out:
                out.write(f"{text}\n")
    if why:
        talk.print(f"[bold]release[/bold] {escape(why)}", soft_wrap=True)


@release_app.command("gate")
def release_gate(push: Push = False) -> None:
    """Build the gate's image when what it is made of changed, and pin it in a commit or pull request of its own."""
    from slipway.delivery import release

    chapter("release", lambda params: release.gate(params, push=push))


@release_app.command("log")
def release_log(
    env: Env = "production",
    at: Annotated[str | None, typer.Option(help="Which one ran then, e.g. 2026-03-04T12:00Z.")] = None,
) -> None:
    """The ledger of an environment, newest first, or the line that held at a moment (as JSON)."""
    from slipway.core import ledger

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


Push = Annotated[
    bool, typer.Option("--push", help="Onto main of the remote, as release.mode says; else one commit here.")
]
Source = Annotated[str | None, typer.Option(help="Whom to ask for evidence: machine, cluster or status.")]


def promote(
    source: Source = None,
    waive: Annotated[
        str | None, typer.Option(help="Without evidence, for this reason; code owners approve it.")
    ] = None,
    push: Push = False,
) -> None:
    """Copy staging's newest release to production, with its load verdict as evidence."""
    from slipway.delivery import promote

    chapter("promote", lambda params: promote.run(params, source=source, waive=waive, push=push))


def rollback(
    reason: Annotated[str, typer.Option(help="Why, in a sentence; the ledger keeps it.")],
    env: Env = "production",
    aborted: Annotated[str | None, typer.Option(help="What an aborted canary's analysis said; - reads it.")] = None,
    of: Annotated[str | None, typer.Option(help="Only when this digest still runs there.")] = None,
    push: Push = False,
) -> None:
    """Restore what an environment ran before, by its ledger, in one commit."""
    from slipway.delivery import rollback

    chapter("rollback", lambda p: rollback.run(p, env=env, reason=reason, aborted=aborted, of=of, push=push))


def policy(
    base: Annotated[str | None, typer.Option(help="Revision to compare with; default origin/main, else main.")] = None,
    source: Annotated[str, typer.Option(help="Whom to ask for evidence: machine, cluster or status.")] = "status",
) -> None:
    """Every new ledger line and overlay digest of a change: append-only, evidenced, fresh; exit 4 when not."""
    from slipway.delivery import policy

    chapter("policy", lambda params: policy.run(params, base=base, source=source))


def verify(
    pod: Annotated[str | None, typer.Option(help="A running pod of the service.")] = None,
    namespace: Annotated[str | None, typer.Option(help="Of the pod; without it, wherever a pod has that name.")] = None,
    env: Annotated[
        str | None, typer.Option(help="staging or production (which is meant when nothing is named).")
    ] = None,
    image: Annotated[str | None, typer.Option(help="An image by digest, as a pod or a ledger line names it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The chain as JSON on stdout.")] = False,
) -> None:
    """Walk back from what runs to the data and the pull request; exit 4 at a broken link."""
    from slipway.lineage import verify

    with talk.status("verify …"):
        chains = verify.run(pod=pod, namespace=namespace, env=env, image=image)
    verify.show(chains, as_json=as_json)
    talk.print(f"[bold]verify[/bold] {verify.enforce(chains)}", soft_wrap=True)


def loop(
    keep: Annotated[bool, typer.Option("--keep", help="Leave staging and production running.")] = False,
    target: Annotated[str, typer.Option(help="machine, or cluster.")] = "machine",
    port: Annotated[int | None, typer.Option(help="Production's port; staging gets the next one.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop what an earlier --keep left running.")] = False,
) -> None:
    """The whole loop on this machine: one good pull request merged, one bad one refused."""
    from slipway.sandbox import loop

    if stop:
        return talk.print(f"[bold]loop[/bold] {loop.clear(Path().resolve())} stopped")
    loop.run(config.load(), keep=keep, target=target, port=port)


def drill(
    names: Annotated[list[str], typer.Argument(help="Which ones, or all.", metavar="NAME…")],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world made for it running.")] = False,
) -> None:
    """Break it on purpose, on a cluster: each fault must be seen and mended, nothing lost; exit 4 when not."""
    from slipway.sandbox.drills import drill

    talk.print(f"[bold]drill[/bold] {escape(drill.run(config.load(), names, keep=keep))}", soft_wrap=True)


def doctor() -> None:
    """What is there and what is missing, and the command to get it."""
    from slipway.sandbox import doctor

    doctor.run()


VERBS: tuple[Callable[..., None], ...] = (
    package,
    serve,
    load,
    score,
    image,
    promote,
    rollback,
    policy,
    verify,
    loop,
    drill,
    doctor,
)
"""What `cli` registers beside `release_app`, in this order."""
