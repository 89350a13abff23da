"""The estimators that may be asked for by name in params.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler


def estimator(
    name: str, options: Mapping[str, Any], *, categories: Sequence[str], numbers: Sequence[str], seed: int
) -> Pipeline:
    """An unfitted Pipeline over `categories` then `numbers`, addressed by position.

    `native` is a trap kept on purpose: scikit-learn's own categorical splits convert to ONNX without
    an error and answer wrongly, which the parity gate must refuse.
    """
    texts = slice(0, len(categories))
    values = slice(len(categories), len(categories) + len(numbers))
    onehot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    if name == "boosting":
        columns = ColumnTransformer([("categories", onehot, texts), ("numbers", "passthrough", values)])
        return Pipeline([("columns", columns), ("model", HistGradientBoostingRegressor(random_state=seed, **options))])
    if name == "ridge":
        scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        columns = ColumnTransformer([("categories", onehot, texts), ("numbers", scaled, values)])
        return Pipeline([("columns", columns), ("model", Ridge(random_state=seed, **options))])
    if name == "native":
        columns = ColumnTransformer([("categories", OrdinalEncoder(), texts), ("numbers", "passthrough", values)])
        splits = list(range(len(categories)))
        model = HistGradientBoostingRegressor(random_state=seed, categorical_features=splits, **options)
        return Pipeline([("columns", columns), ("model", model)])
    raise KeyError(name)
