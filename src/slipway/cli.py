"""Define the `slipway` command: results on stdout, messages on stderr, errors caught in `main` and nowhere else."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from slipway.core import config
from slipway.core.console import escape_error, run_command, stderr
from slipway.errors import ConfigError, SlipwayError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Carry a model from pull request to production, and prove it.")  # fmt: skip

Base = Annotated[str | None, typer.Option(help="Revision to compare with; default origin/main, else main.")]


@app.command()
def ingest() -> None:
    """Raw sources → data/table.parquet, checked against the contract."""
    from slipway.pipeline import ingest

    run_command("ingest", ingest.run)


@app.command()
def features() -> None:
    """The table → data/features.parquet; refuses a leak."""
    from slipway.pipeline import features

    run_command("features", features.run)


@app.command()
def train() -> None:
    """Fit the Pipeline on the training window → models/model.joblib."""
    from slipway.pipeline import train

    run_command("train", train.run)


@app.command()
def export() -> None:
    """Pipeline → models/model.onnx, contract and golden requests; parity on every test row."""
    from slipway.pipeline import export

    run_command("export", export.run)


@app.command()
def evaluate(
    table: Annotated[
        Path | None, typer.Option(help="Another checkout's table: only write its rows with losses.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="With --table: end of the test window.", formats=["%Y-%m-%d"])
    ] = None,
    test_days: Annotated[int | None, typer.Option(help="With --table: days of the test window.", min=1)] = None,
    out: Annotated[Path | None, typer.Option(help="With --table: where the rows go.")] = None,
) -> None:
    """Metrics, slices, plots and losses of the exported model on the test window."""
    from slipway.pipeline import evaluate

    if table is None:
        return run_command("evaluate", evaluate.run)
    if until is None or test_days is None or out is None:
        raise ConfigError(
            "evaluate --table needs --until, --test-days and --out with it", hint="slipway evaluate --help"
        )
    windows = {"data": config.Data(until=until.date(), test_days=test_days)}
    run_command(
        "evaluate", lambda params: evaluate.score_other_table(params.model_copy(update=windows), table=table, out=out)
    )


@app.command()
def stages(
    write: Annotated[bool, typer.Option("--write", help="Write requirements/stages.yaml.")] = False,
) -> None:
    """Check that requirements/stages.yaml has the code and libraries of each stage; exit 4 when it is stale."""
    from slipway.pipeline import stages

    run_command("stages", lambda _: stages.run(write=write))


@app.command()
def track() -> None:
    """One MLflow run for this dvc.lock; aliases challenger and champion."""
    from slipway.pipeline import track

    run_command("track", track.run)


@app.command()
def prove(base: Base = None) -> None:
    """The committed dvc.lock, metrics and plots against what the pipeline gives; exit 4 when not, 5 when unsure."""
    from slipway.judging import prove

    run_command("prove", lambda params: prove.run(params, base=base))


@app.command()
def judge(base: Base = None) -> None:
    """Challenger against what production runs, on the same rows; exit 4 when worse, 5 when unsure."""
    from slipway.judging import judge

    run_command("judge", lambda params: judge.run(params, base=base))


@app.command()
def latency(base: Base = None) -> None:
    """This change's service beside its base's, in turns on this machine; exit 4 when slower, 5 when unsure."""
    from slipway.judging import latency

    run_command("latency", lambda params: latency.run(params, base=base))


@app.command()
def report() -> None:
    """Verdicts and metrics → reports/report.md, report.html and data.html."""
    from slipway.reporting import report

    run_command("report", report.run)


@app.command()
def review(base: Base = None) -> None:
    """All that a pull request is asked: prove, repro, judge, manifests, latency, report; ends with the worst exit code."""
    from slipway.judging import review

    run_command("review", lambda params: review.run(params, base=base))


@app.command()
def comment() -> None:
    """In a workflow, after a pull request's check: its one comment; exit 4 when the run's report is refused."""
    from slipway.github import comment

    run_command("comment", comment.run)


Push = Annotated[
    bool, typer.Option("--push", help="Onto main of the remote, as release.mode says; else one commit here.")
]
Source = Annotated[str | None, typer.Option(help="Whom to ask for evidence: machine, cluster or status.")]
Env = Annotated[str, typer.Option(help="staging or production.")]


@app.command()
def package() -> None:
    """Model, contract and service → a bento; golden requests replayed through it."""
    from slipway.packaging import package

    run_command("package", package.run)


@app.command()
def serve(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Serve the packaged bento until interrupted."""
    from slipway.packaging import package

    package.serve(port=port)


@app.command()
def load(
    host: Annotated[str, typer.Option(help="Where the service answers.")] = "http://127.0.0.1:3000",
    digest: Annotated[
        str | None, typer.Option("--of", help="Hash of the bento or image under test, kept as evidence.")
    ] = None,
) -> None:
    """Locust drives, loadtests/slo.yaml judges; exit 4 when missed, 5 with too few requests."""
    from slipway.loadtest import load

    stderr.print(f"[bold]load[/bold] {load.run(host, of=digest)}", soft_wrap=True)


@app.command()
def score(
    source: Annotated[
        Path, typer.Argument(help="A parquet file with the contract's inputs, or a folder of them.", metavar="IN")
    ],
    out: Annotated[Path, typer.Argument(help="The parquet file to write.", metavar="OUT")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT when it is there.")] = False,
) -> None:
    """Predict every row of parquet files, by the graph that is served; killed, the same command goes on."""
    from slipway.serving import score

    stderr.print(f"[bold]score[/bold] {escape(score.run(source, out, overwrite=overwrite))}", soft_wrap=True)


@app.command()
def image(
    gate: Annotated[bool, typer.Option("--gate", help="The image of the load gate instead, and its pin.")] = False,
) -> None:
    """The packaged bento as an image in the registry that staging's overlay names → reports/image.json."""
    from slipway.packaging import image

    run_command("image", lambda params: image.run(params, gate=gate))


release_app = typer.Typer(no_args_is_help=False, help="Releases: write one, or read the ledger.")
app.add_typer(release_app, name="release")


@release_app.callback(invoke_without_command=True)
def release(context: typer.Context, push: Push = False) -> None:
    """Write the packaged bento as staging's newest ledger line and its image into the overlay, in one commit."""
    if context.invoked_subcommand is None:
        from slipway.delivery import release

        run_command("release", lambda params: release.run(params, push=push))


@release_app.command("due")
def release_due() -> None:
    """Whether HEAD has anything to build and release, as `due=true` or `due=false`; the reason why not on stderr."""
    from slipway.core import environment
    from slipway.delivery import release
    from slipway.github import step_summary

    reason = release.reason_to_skip(Path())
    output = f"due={'false' if reason else 'true'}"
    print(output)  # noqa: T201
    if file := environment.step_output():
        with file.open("a", encoding="utf-8") as out:
            out.write(f"{output}\n")
    if reason:
        stderr.print(f"[bold]release[/bold] {escape(step_summary.write(reason))}", soft_wrap=True)


@release_app.command("gate")
def release_gate(push: Push = False) -> None:
    """Build the gate's image when what it is made of changed, and pin it in a commit or pull request of its own."""
    from slipway.delivery import release

    run_command("release", lambda params: release.gate(params, push=push))


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
    current = ledger.line_at(env, moment)
    print(current.model_dump_json() if current else "null")  # noqa: T201


@app.command()
def promote(
    source: Source = None,
    waive: Annotated[
        str | None, typer.Option(help="Without evidence, for this reason; code owners approve it.")
    ] = None,
    push: Push = False,
) -> None:
    """Copy staging's newest release to production, with its load verdict as evidence."""
    from slipway.delivery import promote

    run_command("promote", lambda params: promote.run(params, source=source, waive=waive, push=push))


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why, in a sentence; the ledger keeps it.")],
    env: Env = "production",
    aborted: Annotated[str | None, typer.Option(help="What an aborted canary's analysis said; - reads it.")] = None,
    digest: Annotated[str | None, typer.Option("--of", help="Only when this digest still runs there.")] = None,
    push: Push = False,
) -> None:
    """Restore what an environment ran before, by its ledger, in one commit."""
    from slipway.delivery import rollback

    run_command(
        "rollback", lambda p: rollback.run(p, env=env, reason=reason, aborted=aborted, only_digest=digest, push=push)
    )


@app.command()
def policy(
    base: Annotated[str | None, typer.Option(help="Revision to compare with; default origin/main, else main.")] = None,
    source: Annotated[str, typer.Option(help="Whom to ask for evidence: machine, cluster or status.")] = "status",
) -> None:
    """Every new ledger line and overlay digest of a change: append-only, evidenced, fresh; exit 4 when not."""
    from slipway.delivery import policy

    run_command("policy", lambda params: policy.run(params, base=base, source=source))


@app.command()
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

    with stderr.status("verify …"):
        chains = verify.run(pod=pod, namespace=namespace, env=env, image=image)
    verify.show(chains, as_json=as_json)
    stderr.print(f"[bold]verify[/bold] {verify.enforce(chains)}", soft_wrap=True)


@app.command()
def loop(
    keep: Annotated[bool, typer.Option("--keep", help="Leave staging and production running.")] = False,
    target: Annotated[str, typer.Option(help="machine, or cluster.")] = "machine",
    port: Annotated[int | None, typer.Option(help="Production's port; staging gets the next one.")] = None,
    stop: Annotated[bool, typer.Option("--stop", help="Only stop what an earlier --keep left running.")] = False,
) -> None:
    """The whole loop on this machine: one good pull request merged, one bad one refused."""
    from slipway.sandbox import loop

    if stop:
        return stderr.print(f"[bold]loop[/bold] {loop.remove_everything(Path().resolve())} stopped")
    loop.run(config.load(), keep=keep, target=target, port=port)


@app.command()
def drill(
    names: Annotated[list[str], typer.Argument(help="Which ones, or all.", metavar="NAME…")],
    keep: Annotated[bool, typer.Option("--keep", help="Leave the world made for it running.")] = False,
) -> None:
    """Break it on purpose, on a cluster: each fault must be seen and mended, nothing lost; exit 4 when not."""
    from slipway.sandbox.drills import drill

    stderr.print(f"[bold]drill[/bold] {escape(drill.run(config.load(), names, keep=keep))}", soft_wrap=True)


@app.command()
def doctor() -> None:
    """What is there and what is missing, and the command to get it."""
    from slipway.sandbox import doctor

    doctor.run()


def main() -> None:
    """Run a command. A SlipwayError prints its text and hint and exits with its code, Ctrl-C exits with 130."""
    try:
        app(standalone_mode=True)
    except SlipwayError as error:
        from slipway.github import step_summary

        step_summary.write_error(error)
        stderr.print(f"[red]error[/red] {escape_error(error)}", soft_wrap=True)
        if error.hint:
            stderr.print(f"[dim]next:[/dim] {error.hint.replace('[', chr(92) + '[')}", soft_wrap=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
