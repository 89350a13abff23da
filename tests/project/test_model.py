"""model: both estimators fit, take what they never saw, and export to a graph that answers the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from flights.contract import Inputs
from flights.model import estimator
from flights.problem import PROBLEM
from slipway import problem
from slipway.pipeline import export, train

ESTIMATORS = [("boosting", {"max_iter": 3}), ("logistic", {"max_iter": 50})]
CATEGORIES, NUMBERS = problem.names(Inputs, "category"), problem.names(Inputs, "number")


@pytest.fixture(scope="module")
def frame(sample: pl.DataFrame) -> pl.DataFrame:
    """Some days of features."""
    return PROBLEM.features(sample.head(8000))


def fitted(frame: pl.DataFrame, name: str, options: dict[str, Any]) -> Any:
    """The estimator, fitted on the frame."""
    pipeline = estimator(name, options, categories=CATEGORIES, numbers=NUMBERS, seed=1)
    return pipeline.fit(train.model_inputs(frame, PROBLEM), frame["late"].to_numpy())


@pytest.mark.parametrize(("name", "options"), ESTIMATORS)
def test_both_estimators_fit_and_take_what_they_never_saw(
    frame: pl.DataFrame, name: str, options: dict[str, Any]
) -> None:
    pipeline = fitted(frame, name, options)
    strange = frame.head(3).with_columns(carrier=pl.lit("ZZ"), temp=pl.lit(None, pl.Float32))
    assert np.isfinite(pipeline.predict_proba(train.model_inputs(strange, PROBLEM))).all()


@pytest.mark.parametrize(("name", "options"), ESTIMATORS)
def test_both_estimators_export(frame: pl.DataFrame, name: str, options: dict[str, Any]) -> None:
    graph = export.to_graph(fitted(frame, name, options), PROBLEM)
    assert [given.name for given in graph.graph.input] == ["categories", "numbers"]
    assert [output.name for output in graph.graph.output] == ["prediction"]


def test_an_unknown_estimator_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="forest"):
        estimator("forest", {}, categories=["carrier"], numbers=["temp"], seed=1)
