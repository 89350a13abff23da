"""What the contract allows is compared, and what differs is named with the setting that mends it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import joblib
import numpy as np
import polars as pl
import pytest
from bikes.problem import PROBLEM
from pydantic import BaseModel, Field
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    BaggingRegressor,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestRegressor,
    StackingRegressor,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import LinearSVC

from slipway.core import config, files
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.pipeline import export, features, ingest, parity, train
from support.callables import Run

Part = Any
Make = Callable[[], Part]


def boosting() -> Part:
    return HistGradientBoostingRegressor(max_iter=30, min_samples_leaf=10, random_state=0)


def forest() -> Part:
    return RandomForestRegressor(10, random_state=0)


def encoder() -> Part:
    return OneHotEncoder(handle_unknown="ignore", sparse_output=False)


def median() -> Part:
    return SimpleImputer(strategy="median")


def polynomial() -> Part:
    return make_pipeline(median(), PolynomialFeatures(3))


def bagged() -> Part:
    return BaggingRegressor(boosting(), 5, random_state=0)


def imputed_ridge() -> Part:
    return make_pipeline(median(), Ridge())


def voting() -> Part:
    return VotingRegressor([("trees", boosting()), ("line", imputed_ridge())])


def stacked() -> Part:
    return StackingRegressor([("trees", boosting()), ("line", imputed_ridge())], final_estimator=boosting())


def plain() -> str:
    return "passthrough"


def use(
    project: Path, categories: Part, numbers: Part, model: Part,
    *, clean: bool = False, clean_test: bool = False, times: float = 1.0,
) -> Pipeline:  # fmt: skip
    """Put another fitted Pipeline into the project; `clean`: no missing values in training, `clean_test`: none in the test."""
    params = config.load(project / "params.yaml")
    frame = ingest.read_parquet(project / features.FRAME)
    if clean_test:
        complete = frame.fill_null(strategy="mean")
        frame = pl.concat([frame.filter(pl.col("day") < params.data.test_from),
                           complete.filter(pl.col("day") >= params.data.test_from)])  # fmt: skip
        ingest.write_parquet(frame, project / features.FRAME)
    rows = train.rows_of_window(frame, params.data, "train")
    rows = rows.drop_nulls() if clean else rows
    columns = ColumnTransformer([("categories", categories, slice(0, 1)), ("numbers", numbers, slice(1, 6))])
    pipeline = Pipeline([("columns", columns), ("model", model)])
    pipeline.fit(train.model_inputs(rows, PROBLEM), rows[PROBLEM.target].to_numpy() * times)
    joblib.dump(pipeline, project / train.MODEL)
    return pipeline


def refused(project: Path, run: Run, kind: type[SlipwayError] = CheckFailed) -> SlipwayError:
    with pytest.raises(kind) as caught:
        run(project, "export")
    assert not (project / "models/model.onnx").exists()
    return caught.value


# What the window does not show


def test_missing_value_absent_from_the_window_is_compared(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), plain(), forest(), clean_test=True)
    error = refused(project_copy, run)
    assert "rows that the contract allows: with `" in str(error)
    assert "` null, scikit-learn predicts " in str(error)
    assert error.hint.startswith(
        "ONNX does not treat a missing value as RandomForestRegressor does: put SimpleImputer("
    )
    window, generated = files.read_json(project_copy / "reports/export.json")["checks"]
    assert (window["ok"], generated["ok"]) == (True, False)


def test_forest_with_an_imputer_is_exported(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), median(), forest(), clean_test=True)
    assert "501 rows agree with scikit-learn, as do 1,0" in run(project_copy, "export")


@pytest.mark.parametrize(
    "categories", [lambda: OneHotEncoder(sparse_output=False), OrdinalEncoder], ids=["one-hot", "ordinal"]
)
def test_unknown_category_that_raises_is_refused(project_copy: Path, run: Run, categories: Make) -> None:
    use(project_copy, categories(), plain(), boosting())
    error = refused(project_copy, run)
    assert "For a row that the contract allows, with `station` 'never seen', scikit-learn raises ValueError" in str(
        error
    )
    assert 'OneHotEncoder(handle_unknown="ignore")' in error.hint


@pytest.mark.parametrize("model", [Ridge, lambda: BaggingRegressor(Ridge(), 3)], ids=["alone", "within"])
def test_missing_value_that_raises_is_refused(project_copy: Path, run: Run, model: Make) -> None:
    use(project_copy, encoder(), plain(), model(), clean=True, clean_test=True)
    error = refused(project_copy, run)
    assert "` null, scikit-learn raises ValueError: Input X contains NaN" in str(error)
    assert error.hint.startswith("put SimpleImputer(")


def test_missing_value_in_the_window_is_refused_without_a_traceback(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), plain(), Ridge(), clean=True)
    error = refused(project_copy, run)
    assert "For a row of the test window, with `" in str(error)
    assert error.code == 4


def test_exported_graph_that_fails_is_refused(project_copy: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """scikit-learn answers and ONNX Runtime does not: the graph is of an encoder that refuses unknown categories."""
    use(project_copy, encoder(), plain(), boosting())
    strict = use_strict_graph(project_copy)
    monkeypatch.setattr(export, "to_graph", lambda *_: strict)
    error = refused(project_copy, run)
    assert "with `station` 'never seen', the exported model raises the model cannot predict" in str(error)


def use_strict_graph(project: Path) -> Any:
    answering = (project / train.MODEL).read_bytes()
    graph = export.to_graph(use(project, OneHotEncoder(sparse_output=False), plain(), boosting()), PROBLEM)
    (project / train.MODEL).write_bytes(answering)
    return graph


def test_lost_indicator_is_named(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), SimpleImputer(add_indicator=True), Ridge(), clean_test=True)
    assert "add_indicator is lost in ONNX" in refused(project_copy, run).hint


def test_scaler_before_trees_is_named(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), StandardScaler(), boosting())
    assert refused(project_copy, run).hint.startswith("leave StandardScaler out: trees need none")


def test_native_categories_are_named(project_copy: Path, run: Run) -> None:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    use(project_copy, codes, plain(), boosting().set_params(categorical_features=[0]))
    assert "categorical_features convert wrongly" in refused(project_copy, run).hint


# Thresholds


@pytest.mark.parametrize("model", [bagged, voting, stacked, lambda: make_pipeline(bagged())],
                         ids=["bagging", "voting", "stacking", "nested"])  # fmt: skip
def test_thresholds_are_rounded_wherever_trees_are(project_copy: Path, run: Run, model: Make) -> None:
    use(project_copy, encoder(), plain(), model())
    run(project_copy, "export")
    verdict = files.read_json(project_copy / "reports/export.json")
    assert max(check["value"] for check in verdict["checks"]) < 1e-5


@pytest.mark.parametrize(
    ("part", "trees"),
    [
        (lambda: boosting().fit([[0.0], [1.0]] * 20, [0, 1] * 20), 30),
        (lambda: MultiOutputRegressor(boosting()).fit([[0.0], [1.0]] * 20, [[0, 1], [1, 0]] * 20), 60),
        (lambda: {"a": [(boosting().fit([[0.0], [1.0]] * 20, [0, 1] * 20), 1)]}, 30),
        (lambda: np.array([HistGradientBoostingClassifier(max_iter=2).fit([[0], [1]] * 20, [0, 1] * 20)], object), 2),
        (lambda: ExtraTreesRegressor(2).fit([[0.0]], [0]), 0),
    ],
    ids=["alone", "outputs", "containers", "array", "others"],
)
def test_trees_are_found_at_any_depth(part: Make, trees: int) -> None:
    parts = export.fitted_parts(part())
    assert sum(type(each).__name__ == "TreePredictor" for each in parts) == trees


# Tolerance


@pytest.mark.parametrize("times", [1e6, -1e9])
def test_large_predictions_agree_relatively(project_copy: Path, run: Run, times: float) -> None:
    use(project_copy, encoder(), median(), Ridge(), times=times)
    assert "501 rows agree" in run(project_copy, "export")


@pytest.mark.parametrize(
    ("reference", "exported", "difference"),
    [(1e6, 1e6 + 1, 1e-6), (-1e6, -1e6 + 1, 1e-6), (0.5, 0.25, 0.25), (0.0, 1e-9, 1e-9), (2.0, 3.0, 0.5)],
)
def test_difference_is_relative_above_one(reference: float, exported: float, difference: float) -> None:
    assert parity.scaled(np.array([reference]), np.array([exported]))[0] == pytest.approx(difference)


# What cannot be exported


@pytest.mark.parametrize(
    ("numbers", "model", "step"),
    [
        (lambda: FunctionTransformer(np.cbrt), boosting, "columns.numbers (FunctionTransformer)"),
        (lambda: make_pipeline(FunctionTransformer(np.cbrt)), boosting, "columns.numbers.functiontransformer (Fun"),
        (plain, lambda: TransformedTargetRegressor(boosting(), func=np.log1p, inverse_func=np.expm1),
         "model (TransformedTargetRegressor)"),
        (plain, lambda: BaggingRegressor(TransformedTargetRegressor(boosting(), func=np.log1p, inverse_func=np.expm1)),
         "model.estimator (TransformedTargetRegressor)"),
    ],
)  # fmt: skip
def test_step_that_cannot_be_exported_is_named(
    project_copy: Path, run: Run, numbers: Make, model: Make, step: str
) -> None:
    use(project_copy, encoder(), numbers(), model())
    error = refused(project_copy, run, ConfigError)
    assert f"the step {step}" in str(error)
    assert "cannot be exported to ONNX: " in str(error)


def test_setting_that_cannot_be_exported_is_named(project_copy: Path, run: Run) -> None:
    rare = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=500, sparse_output=False)
    use(project_copy, rare, plain(), boosting())
    assert "the step columns.categories (OneHotEncoder) cannot be" in str(refused(project_copy, run, ConfigError))


def test_classifier_without_probabilities_is_refused() -> None:
    def scikit_learn(frame: pl.DataFrame) -> Any:
        return LinearSVC().fit([[0], [1]], [0, 1]).predict_proba(frame)

    outcome = parity.compare(pl.DataFrame({"a": [1.0]}), scikit_learn, None, 1e-5)
    assert (
        parity.hint(outcome, []) == "use an estimator that has predict_proba: a binary problem predicts a probability"
    )


# The rows


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Contract(BaseModel):
    text: Annotated[str, Field(min_length=2, max_length=4)]
    word: Annotated[str | None, Field(pattern="^[a-z]+$")]
    open: Annotated[float, Field(gt=0, lt=1)]
    step: Annotated[float, Field(ge=0, le=1, multiple_of=0.25)]
    count: Annotated[int | None, Field(ge=1, le=9)]
    free: float


class Listed(BaseModel):
    choice: Literal["a", "b"]
    colour: Colour | None


def test_values_are_those_that_the_contract_allows() -> None:
    values = parity.allowed_values(Contract, {"text": ["abc"], "word": ["moon"]})
    for name, each in values.items():
        assert each, name
        for value in each:
            row = {"text": "ab", "word": "a", "open": 0.5, "step": 0.5, "count": 1, "free": 0.0} | {name: value}
            Contract.model_validate(row)
    assert not {"abc", "moon"} & {*values["text"], *values["word"]}
    assert (None in values["word"], None in values["text"]) == (True, False)
    assert {1, 2, 8, 9, None} <= {*values["count"]}
    assert {0.0, 0.25, 0.75, 1.0} <= {*values["step"]}
    assert 0 < min(values["open"]) < 1e-30
    assert 0.9999999 < max(values["open"]) < 1
    assert max(values["free"]) == -min(values["free"]) == 3.4e38


def test_listed_values_are_all_compared() -> None:
    values = parity.allowed_values(Listed, {"choice": ["a"], "colour": ["red"]})
    assert values == {"choice": ["a", "b"], "colour": [None, "red", "blue"]}


def test_generated_rows_hold_every_edge(project: Path) -> None:
    params = config.load(project / "params.yaml")
    frame = ingest.read_parquet(project / features.FRAME)
    windows = [train.rows_of_window(frame, params.data, which) for which in ("train", "test")]
    rows = parity.rows_of_contract(PROBLEM.inputs, *windows)
    for row in rows.to_dicts():
        PROBLEM.inputs.model_validate(row)
    for name, low, high in (("hour", 0, 23), ("temp", -30, 50), ("recent", 0, 500)):
        assert (rows[name].min(), rows[name].max()) == (low, high)
    assert rows.filter(pl.all_horizontal(pl.col("temp", "recent", "yesterday").is_null())).height
    assert {"harbour", "museum", "park", "never seen"} < set(rows["station"])
    assert rows.equals(parity.rows_of_contract(PROBLEM.inputs, *windows))


def test_polynomial_that_loses_digits_is_no_false_alarm(project_copy: Path, run: Run) -> None:
    use(project_copy, encoder(), polynomial(), Ridge())
    assert "501 rows agree" in run(project_copy, "export")


def test_the_simplest_cause_is_named() -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0, None], "b": [1.0, 2.0, 3.0]})
    outcome = parity.compare(
        frame,
        lambda rows: rows["b"].to_numpy(),
        lambda rows: (rows["b"] + rows["a"].is_null().cast(pl.Float64) * 5).to_numpy(),
        1e-5,
    )
    assert outcome.difference
    assert parity.describe_inputs(outcome.difference.inputs) == "`a` null"
    assert (outcome.wrong, outcome.worst) == (1, pytest.approx(5 / 3))
