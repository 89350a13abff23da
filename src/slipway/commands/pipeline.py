"""The stages of `dvc repro` as commands, and `track` and `stages`, which keep their records."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from slipway.commands.command import command, run_command
from slipway.core import config
from slipway.errors import ConfigError

app = typer.Typer()


@command(app, example="slipway ingest")
def ingest(
    new: Annotated[list[str] | None, typer.Argument(help="With --pin: new source files.", metavar="FILE…")] = None,
    pin: Annotated[
        bool, typer.Option("--pin", help="Only write the sources' SHA-256 as they are now into params.yaml.")
    ] = False,
) -> None:
    """Read the sources, check them, and write data/table.parquet.

    Exit code 3 when a source or the table breaks its contract.
    """
    if new and not pin:
        raise ConfigError("a FILE is only for --pin", expected="slipway ingest --pin FILE", value=new[0])
    if pin:
        from slipway.lineage import pin as pinning

        return run_command("ingest", lambda params: pinning.run(params, new or ()))
    from slipway.pipeline import ingest

    run_command("ingest", ingest.run)


@command(app, example="slipway features")
def features() -> None:
    """Build the model's inputs, and check that none uses the future.

    Reads data/table.parquet, writes data/features.parquet. Exit code 3 when an input uses the future.
    """
    from slipway.pipeline import features

    run_command("features", features.run)


@command(app, example="slipway train")
def train() -> None:
    """Train the model on the training window.

    It is one scikit-learn Pipeline of preprocessing and estimator, written to models/model.joblib.
    """
    from slipway.pipeline import train

    run_command("train", train.run)


@command(app, example="slipway export")
def export() -> None:
    """Convert the model to ONNX, and compare every prediction.

    Both models predict every row of the test window. Exit code 4 when they differ. Also writes the contract and the
    golden requests.
    """
    from slipway.pipeline import export

    run_command("export", export.run)


@command(app, example="slipway evaluate")
def evaluate(
    table: Annotated[
        Path | None, typer.Option(help="Evaluate on this table of another checkout, and only write the losses.")
    ] = None,
    sources: Annotated[
        Path | None, typer.Option(help="Evaluate on the table of the source files in this folder, as --table does.")
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="With --table or --sources: the day after the test window.", formats=["%Y-%m-%d"]),
    ] = None,
    test_days: Annotated[
        int | None, typer.Option(help="With --table or --sources: length of the test window in days.", min=1)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --table or --sources: the parquet file to write.")] = None,
) -> None:
    """Compute metrics, slices and plots on the test window.

    Predictions are those of the exported ONNX model. Also writes the loss of every row. Exit code 5 when there are too
    few rows.
    """
    from slipway.pipeline import evaluate

    if table is None and sources is None:
        return run_command("evaluate", evaluate.run)
    hint = "slipway evaluate --help"
    if table and sources:
        raise ConfigError("evaluate: --table and --sources exclude each other", hint=hint)
    if until is None or test_days is None or out is None:
        option = "--table" if table else "--sources"
        raise ConfigError(f"evaluate: {option} also needs --until, --test-days and --out", hint=hint)
    windows = {"data": config.Data(until=until.date(), test_days=test_days)}
    run_command(
        "evaluate",
        lambda params: evaluate.score_for_comparison(
            params.model_copy(update=windows), table=table, sources=sources, out=out
        ),
    )


@command(app, example="slipway track")
def track() -> None:
    """Record the model of this dvc.lock as a run in MLflow.

    Its alias is challenger. The alias champion goes to the model in production.
    """
    from slipway.pipeline import track

    run_command("track", track.run)


@command(app, example="slipway stages --write")
def stages(
    write: Annotated[bool, typer.Option("--write", help="Write the file instead of checking it.")] = False,
) -> None:
    """Check that requirements/stages.yaml matches the code.

    Exit code 4 when the code or the libraries of a stage changed since it was written.
    """
    from slipway.pipeline import stages

    run_command("stages", lambda _: stages.run(write=write))
