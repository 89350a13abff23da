"""The BentoML tutorial's service with this model: a data frame in, the fitted scikit-learn pipeline, an array out."""

from __future__ import annotations

import json
from pathlib import Path

import bentoml
import joblib  # type: ignore[import-untyped]
import numpy as np
import pandas as pd

MODELS = Path(__file__).resolve().parents[2] / "models"


@bentoml.service
class Tutorial:
    """`bentoml serve serving_tutorial:Tutorial`."""

    def __init__(self) -> None:
        contract = json.loads((MODELS / "contract.json").read_text("utf-8"))
        self.names = [*contract["categories"], *contract["numbers"]]
        self.numbers = dict.fromkeys(contract["numbers"], "float32")
        self.pipeline = joblib.load(MODELS / "model.joblib")

    @bentoml.api
    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Probabilities [rows]."""
        found: np.ndarray = self.pipeline.predict_proba(rows[self.names].astype(self.numbers))[:, 1]
        return found
