"""`train`: fit preprocessing and estimator as one scikit-learn Pipeline on the training window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from slipway import problem
from slipway.contract import data_check
from slipway.core import config, files
from slipway.errors import ConfigError, DataError, SlipwayError
from slipway.pipeline import ingest

if TYPE_CHECKING:  # evaluate and judge need `window` and no scikit-learn
    from sklearn.pipeline import Pipeline

MODEL = Path("models/model.joblib")


def model_inputs(frame: pl.DataFrame, spec: problem.Problem) -> pl.DataFrame:
    """The input columns of the model, categories first; a missing category becomes the empty text."""
    data_check.check_types(spec.inputs, frame, where="data/features.parquet")
    categories, numbers = problem.names(spec.inputs, "category"), problem.names(spec.inputs, "number")
    return frame.select(pl.col(categories).fill_null(""), pl.col(numbers).cast(pl.Float32))


def rows_of_window(frame: pl.DataFrame, data: config.Data, which: str) -> pl.DataFrame:
    """The rows of the "train" or the "test" window; an empty one is a DataError."""
    day = pl.col("day")
    first, last = str(frame["day"].min()), str(frame["day"].max())
    rows = frame.filter(
        day < data.test_from if which == "train" else day.is_between(data.test_from, data.until, closed="left")
    )
    if not len(rows):
        window = "training" if which == "train" else which
        raise DataError(
            f"the {window} window is empty: training uses the days before {data.test_from}, the test the days from "
            f"then to before {data.until}, and the data is from {first} to {last}",
            hint="change data.until or data.test_days in params.yaml",
        )
    return rows


def fit(frame: pl.DataFrame, params: config.Params, spec: problem.Problem) -> Pipeline:
    """Fit the estimator that `params.train` names on the training window of `frame`; seeded."""
    settings = params.train
    categories, numbers = problem.names(spec.inputs, "category"), problem.names(spec.inputs, "number")
    try:
        with problem.calling(spec.name, "estimator", passing=(KeyError, TypeError)):
            pipeline = spec.estimator(
                settings.estimator,
                settings.estimators[settings.estimator],
                categories=categories,
                numbers=numbers,
                seed=params.seed,
            )
    except KeyError:
        raise ConfigError(
            f"train.estimator is {settings.estimator!r}, which the problem {spec.name} does not have",
            hint=f"use a name that the estimator function of {spec.name} accepts, or add it there",
        ) from None
    except TypeError as error:
        raise ConfigError(
            f"train.estimators.{settings.estimator} does not fit the estimator: {error}",
            hint=f"correct the options train.estimators.{settings.estimator} in params.yaml",
        ) from None
    rows = rows_of_window(frame, params.data, "train")
    try:
        return pipeline.fit(model_inputs(rows, spec), rows[spec.target].to_numpy())
    except (SlipwayError, OSError, MemoryError):
        raise
    except Exception as error:  # scikit-learn and the steps of others raise ValueError, TypeError, AttributeError …
        raise ConfigError(
            f"train.estimators.{settings.estimator} does not fit the estimator: {error}",
            hint=f"correct the options train.estimators.{settings.estimator} in params.yaml",
        ) from None


def run(params: config.Params) -> str:
    """Turn data/features.parquet into models/model.joblib; return a sentence about it."""
    import joblib

    spec = problem.load(params.problem)
    frame = ingest.read_parquet(Path("data/features.parquet"), "day", spec.target)
    pipeline = fit(frame, params, spec)
    with files.atomic_write(MODEL) as partial:
        joblib.dump(pipeline, partial)
    rows = len(rows_of_window(frame, params.data, "train"))
    return f"{params.train.estimator} on {rows:,} rows before {params.data.test_from}"
