"""The command line: a verb a chapter. Results on stdout, talk on stderr, errors caught here and nowhere else."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from slipway import ship
from slipway.core import config
from slipway.core.console import chapter, plain, talk
from slipway.errors import ConfigError, SlipwayError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
                  help="Carry a model from pull request to production, and prove it.")  # fmt: skip

Base = Annotated[str | None, typer.Option(help="Revision to compare with; default origin/main, else main.")]


@app.command()
def ingest() -> None:
    """Raw sources → data/table.parquet, checked against the contract."""
    from slipway.pipeline import ingest

    chapter("ingest", ingest.run)


@app.command()
def features() -> None:
    """The table → data/features.parquet; refuses a leak."""
    from slipway.pipeline import features

    chapter("features", features.run)


@app.command()
def train() -> None:
    """Fit the Pipeline on the training window → models/model.joblib."""
    from slipway.pipeline import train

    chapter("train", train.run)


@app.command()
def export() -> None:
    """Pipeline → models/model.onnx, contract and golden requests; parity on every test row."""
    from slipway.pipeline import export

    chapter("export", export.run)


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
        return chapter("evaluate", evaluate.run)
    if until is None or test_days is None or out is None:
        raise ConfigError(
            "evaluate --table needs --until, --test-days and --out with it", hint="slipway evaluate --help"
        )
    windows = {"data": config.Data(until=until.date(), test_days=test_days)}
    chapter("evaluate", lambda params: evaluate.replay(params.model_copy(update=windows), table=table, out=out))


@app.command()
def track() -> None:
    """One MLflow run for this dvc.lock; aliases challenger and champion."""
    from slipway.pipeline import track

    chapter("track", track.run)


@app.command()
def prove(base: Base = None) -> None:
    """The committed dvc.lock, metrics and plots against what the pipeline gives; exit 4 when not, 5 when unsure."""
    from slipway.judging import prove

    chapter("prove", lambda params: prove.run(params, base=base))


@app.command()
def judge(base: Base = None) -> None:
    """Challenger against what production runs, on the same rows; exit 4 when worse, 5 when unsure."""
    from slipway.judging import judge

    chapter("judge", lambda params: judge.run(params, base=base))


@app.command()
def latency(base: Base = None) -> None:
    """This change's service beside its base's, in turns on this machine; exit 4 when slower, 5 when unsure."""
    from slipway.judging import latency

    chapter("latency", lambda params: latency.run(params, base=base))


@app.command()
def report() -> None:
    """Verdicts and metrics → reports/report.md, report.html and data.html."""
    from slipway.reporting import report

    chapter("report", report.run)


@app.command()
def review(base: Base = None) -> None:
    """All that a pull request is asked: prove, repro, judge, manifests, latency, report; ends with the worst exit code."""
    from slipway.judging import review

    chapter("review", lambda params: review.run(params, base=base))


@app.command()
def comment() -> None:
    """In a workflow, after a pull request's check: its one comment; exit 4 when the run's report is refused."""
    from slipway.github import comment

    chapter("comment", comment.run)


for verb in ship.VERBS[:4]:
    app.command()(verb)
app.add_typer(ship.release_app, name="release")
for verb in ship.VERBS[4:]:
    app.command()(verb)


def main() -> None:
    """Run a verb; a SlipwayError ends in its sentence, its hint and its exit code, Ctrl-C in 130."""
    try:
        app(standalone_mode=True)
    except SlipwayError as error:
        talk.print(f"[red]error[/red] {plain(error)}", soft_wrap=True)
        if error.hint:
            talk.print(f"[dim]next:[/dim] {error.hint.replace('[', chr(92) + '[')}", soft_wrap=True)
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
