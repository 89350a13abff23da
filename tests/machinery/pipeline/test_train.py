"""train: one seeded Pipeline, fitted on the training window only."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import config
from slipway.errors import ConfigError, DataError
from slipway.pipeline import features, ingest, train
from support.callables import Cli, Run


@pytest.fixture(scope="module")
def frame(project: Path) -> pl.DataFrame:
    return ingest.read_parquet(project / features.FRAME)


def choosing(params: config.Params, estimator: str, **options: Any) -> config.Params:
    return params.model_copy(update={"train": config.Train(estimator=estimator, estimators={estimator: options})})


def predictions(frame: pl.DataFrame, params: config.Params) -> Any:
    return train.fit(frame, params, PROBLEM).predict(train.model_inputs(frame, PROBLEM))


def test_windows_meet_and_do_not_overlap(frame: pl.DataFrame, params: config.Params) -> None:
    seen, test = (train.rows_of_window(frame, params.data, which) for which in ("train", "test"))
    assert len(seen) + len(test) == len(frame)
    assert seen["day"].max() == date(2021, 5, 16)
    assert test["day"].min() == params.data.test_from == date(2021, 5, 17)
    assert test["day"].max() == date(2021, 6, 13)


@pytest.mark.parametrize(
    ("which", "name", "until"), [("test", "test", date(2022, 1, 1)), ("train", "training", date(2021, 3, 5))]
)
def test_an_empty_window_names_the_dates(frame: pl.DataFrame, which: str, name: str, until: date) -> None:
    message = f"the {name} window is empty: .* the data is from 2021-03-01 to 2021-06-13"
    with pytest.raises(DataError, match=message):
        train.rows_of_window(frame, config.Data(until=until, test_days=28), which)


@pytest.mark.parametrize(("estimator", "options"), [("boosting", {"max_iter": 9}), ("ridge", {})])
def test_two_runs_give_the_same_predictions(
    frame: pl.DataFrame, params: config.Params, estimator: str, options: dict[str, Any]
) -> None:
    chosen = choosing(params, estimator, **options)
    assert np.array_equal(predictions(frame, chosen), predictions(frame, chosen))


def test_two_runs_give_the_same_model(project: Path, project_copy: Path, run: Run) -> None:
    run(project_copy, "train")
    assert (project_copy / train.MODEL).read_bytes() == (project / train.MODEL).read_bytes()


def test_the_test_window_is_not_trained_on(frame: pl.DataFrame, params: config.Params) -> None:
    later = pl.col("day") >= params.data.test_from
    spoiled = frame.with_columns(hires=pl.when(later).then(0.0).otherwise(pl.col("hires")))
    chosen = choosing(params, "ridge")
    assert np.array_equal(predictions(frame, chosen), predictions(spoiled, chosen))


def test_missing_categories_become_the_empty_text(frame: pl.DataFrame) -> None:
    given = train.model_inputs(frame.head(2).with_columns(station=pl.lit(None, pl.String)), PROBLEM)
    assert given["station"].to_list() == ["", ""]
    assert given.columns[0] == "station"


@pytest.mark.parametrize(
    ("estimator", "options", "message"),
    [
        ("forest", {}, "train.estimator is 'forest', which the problem bikes does not have"),
        ("boosting", {"max_iterr": 9}, "unexpected keyword argument 'max_iterr'"),
        (
            "boosting",
            {"max_iter": -1},
            "train.estimators.boosting does not fit the estimator: The 'max_iter' parameter",
        ),
        ("ridge", {"alpha": "much"}, "train.estimators.ridge does not fit the estimator: The 'alpha' parameter"),
    ],
)
def test_an_impossible_estimator_is_a_config_error(
    frame: pl.DataFrame, params: config.Params, estimator: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        train.fit(frame, choosing(params, estimator, **options), PROBLEM)
    assert message in str(caught.value)
    assert estimator in caught.value.hint or "bikes" in caught.value.hint


def test_an_unknown_option_ends_in_exit_code_2(project_copy: Path, cli: Cli) -> None:
    path = project_copy / "params.yaml"
    path.write_text(path.read_text().replace("max_leaf_nodes: 15", "max_leaves: 15"))
    said = cli(project_copy, "train")
    assert said.returncode == 2
    assert "unexpected keyword argument 'max_leaves'" in said.stderr


def test_a_bug_in_a_problem_is_not_called_a_setting(frame: pl.DataFrame, params: config.Params) -> None:
    spec = replace(PROBLEM, estimator=lambda *_, **__: 1 / 0)
    with pytest.raises(DataError, match="problem bikes: its `estimator` raised ZeroDivisionError: division by zero"):
        train.fit(frame, params, spec)


def test_the_model_file_is_a_pipeline(project: Path) -> None:
    assert [name for name, _ in joblib.load(project / train.MODEL).steps] == ["columns", "model"]


def test_a_frame_with_another_type_is_refused(frame: pl.DataFrame, params: config.Params) -> None:
    with pytest.raises(DataError, match="column temp has type String; expected: number"):
        train.fit(frame.with_columns(pl.col("temp").cast(pl.String)), params, PROBLEM)
