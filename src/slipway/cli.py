"""The command line: a verb a chapter. Results on stdout, talk on stderr, errors caught here and nowhere else."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from slipway import config
from slipway.errors import ConfigError, SlipwayError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Carry a model from pull request to production, and prove it.")  # fmt: skip
talk = Console(stderr=True, highlight=False)

Base = Annotated[str | None, typer.Option(help="Revision to compare with; default origin/main, else main.")]
Env = Annotated[str, typer.Option(help="staging or production.")]


def _chapter(word: str, work: Callable[[config.Params], str]) -> None:
    """Load params, work (with a spinner on a terminal), and say in one line what was done."""
    started = time.monotonic()
    params = config.load()
    with talk.status(f"{word} …"):
        done = work(params)
    talk.print(f"[bold]{word}[/bold] {escape(done)} [dim]({time.monotonic() - started:.1f} s)[/dim]", soft_wrap=True)


@app.command()
def ingest() -> None:
    """Raw sources → data/table.parquet, checked against the contract."""
    from slipway import ingest

    _chapter("ingest", ingest.run)


@app.command()
def features() -> None:
    """The table → data/features.parquet; refuses a leak."""
    from slipway import features

    _chapter("features", features.run)


@app.command()
def train() -> None:
    """Fit the Pipeline on the training window → models/model.joblib."""
    from slipway import train

    _chapter("train", train.run)


@app.command()
def export() -> None:
    """Pipeline → models/model.onnx, contract and golden requests; parity on every test row."""
    from slipway import export

    _chapter("export", export.run)


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
    from slipway import evaluate

    if table is None:
        return _chapter("evaluate", evaluate.run)
    if until is None or test_days is None or out is None:
        raise ConfigError(
            "evaluate --table needs --until, --test-days and --out with it", hint="slipway evaluate --help"
        )
    windows = {"data": config.Data(until=until.date(), test_days=test_days)}
    _chapter("evaluate", lambda params: evaluate.replay(params.model_copy(update=windows), table=table, out=out))


@app.command()
def track() -> None:
    """One MLflow run for this dvc.lock; aliases challenger and champion."""
    from slipway import track

    _chapter("track", track.run)


@app.command()
def prove(base: Base = None) -> None:
    """The committed dvc.lock, metrics and plots against what the pipeline gives; exit 4 when not, 5 when unsure."""
    from slipway import prove

    _chapter("prove", lambda params: prove.run(params, base=base))


@app.command()
def judge(base: Base = None) -> None:
    """Challenger against what production runs, on the same rows; exit 4 when worse, 5 when unsure."""
    from slipway import judge

    _chapter("judge", lambda params: judge.run(params, base=base))


@app.command()
def report() -> None:
    """Verdicts and metrics → reports/report.md, report.html and data.html."""
    from slipway import report

    _chapter("report", report.run)


@app.command()
def review(base: Base = None) -> None:
    """All that a pull request is asked: prove, repro, judge, report; ends with the worst of their exit codes."""
    from slipway import review

    _chapter("review", lambda params: review.run(params, base=base))


@app.command()
def comment() -> None:
    """In a workflow, after a pull request's check: its one comment; exit 4 when the run's report is refused."""
    from slipway import comment

    _chapter("comment", comment.run)


@app.command()
def package() -> None:
    """Model, contract and service → a bento; golden requests replayed through it."""
    from slipway import package

    _chapter("package", package.run)


@app.command()
def serve(port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = 3000) -> None:
    """Serve the packaged bento until interrupted."""
    from slipway import package

    package.serve(port=port)


@app.command()
def load(
    host: Annotated[str, typer.Option(help="Where the service answers.")] = "http://127.0.0.1:3000",
    of: Annotated[str | None, typer.Option(help="Hash of the bento or image under test, kept as evidence.")] = None,
) -> None:
    """Locust drives, loadtests/slo.yaml judges; exit 4 when missed, 5 with too few requests."""
    from slipway import load

    talk.print(f"[bold]load[/bold] {load.run(host, of=of)}", soft_wrap=True)


release_app = typer.Typer(no_args_is_help=False, help="Releases: write one, or read the ledger.")
app.add_typer(release_app, name="release")


@release_app.callback(invoke_without_command=True)
def release(context: typer.Context) -> None:
    """Write the packaged bento as staging's newest ledger line, in one commit."""
    if context.invoked_subcommand is None:
        from slipway import release

        _chapter("release", release.run)


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


@app.command()
def promote() -> None:
    """Copy staging's newest release to production, with its load verdict as evidence."""
    from slipway import promote

    _chapter("promote", promote.run)


@app.command()
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


@app.command()
def doctor() -> None:
    """What is there and what is missing, and the command to get it."""
    from slipway import doctor

    doctor.run()


def main() -> None:
    """Run a verb; a SlipwayError ends in its sentence, its hint and its exit code, Ctrl-C in 130."""
    try:
        app(standalone_mode=True)
    except SlipwayError as error:
        talk.print(f"[red]error[/red] {_plain(error)}", soft_wrap=True)
        if error.hint:
            talk.print(f"[dim]next:[/dim] {error.hint.replace('[', chr(92) + '[')}", soft_wrap=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)


def _plain(error: SlipwayError) -> str:
    """Text that Rich does not read as markup, nor a workflow's runner as a command (`::…` in front, `##[…` anywhere)."""
    return re.sub(r"(?m)^(?=\s*::)|(?<=##)(?=\[)", "\u200b", str(error)).replace("[", r"\[")
