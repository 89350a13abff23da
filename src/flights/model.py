"""Build the estimators that params.yaml can select by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler, TargetEncoder


def estimator(
    name: str, options: Mapping[str, Any], *, categories: Sequence[str], numbers: Sequence[str], seed: int
) -> Pipeline:
    """An unfitted Pipeline over `categories` then `numbers`, addressed by position so that it exports to two inputs.

    Categories become the smoothed late rate of their value (cross-fitted); an unknown value the overall rate.
    KeyError for an unknown name, TypeError for an unknown option.
    """
    texts = slice(0, len(categories))
    values = slice(len(categories), len(categories) + len(numbers))
    encoder = TargetEncoder(target_type="binary", cv=StratifiedKFold(5, shuffle=True, random_state=seed))
    if name == "boosting":
        columns = ColumnTransformer([("categories", encoder, texts), ("numbers", "passthrough", values)])
        return Pipeline([("columns", columns), ("model", HistGradientBoostingClassifier(random_state=seed, **options))])
    if name == "logistic":
        scaled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
        columns = ColumnTransformer(
            [("categories", make_pipeline(encoder, StandardScaler()), texts), ("numbers", scaled, values)]
        )
        return Pipeline([("columns", columns), ("model", LogisticRegression(random_state=seed, **options))])
    raise KeyError(name)
