"""model: the exported graph with its contract, as gates and service use it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slipway.errors import DataError
from slipway.pipeline import features, ingest
from slipway.serving.onnx_model import Model

ROW = {"station": "park", "weekday": 5.0, "hour": 14.0, "temp": None, "recent": 21.0, "yesterday": None}


@pytest.fixture(scope="module")
def model(project: Path) -> Model:
    return Model(project / "models")


def test_rows_and_frame_answer_alike(model: Model, project: Path) -> None:
    frame = ingest.read_parquet(project / features.FRAME).tail(50)
    rows = frame.select(model.categories + model.numbers).to_dicts()
    assert np.array_equal(model.rows(rows), model.frame(frame))


def test_one_row_answers_as_among_many(model: Model) -> None:
    other = {**ROW, "station": "harbour"}
    alone = [model.rows([ROW])[0], model.rows([other])[0]]
    assert np.array_equal(model.rows([ROW, other]), alone)


@pytest.mark.parametrize("station", ["airport", "", None])
def test_an_unknown_category_is_answered(model: Model, station: str | None) -> None:
    assert 0 < model.rows([{**ROW, "station": station}])[0] < 100


def test_no_rows_give_no_answers(model: Model) -> None:
    assert model.rows([]).shape == (0,)


def test_a_missing_graph_says_the_next_command(project_copy: Path) -> None:
    (project_copy / "models/model.onnx").unlink()
    with pytest.raises(DataError, match=r"model\.onnx does not exist") as caught:
        Model(project_copy / "models")
    assert caught.value.hint == "run `make repro`"


@pytest.mark.parametrize("length", [0, 300])
def test_a_truncated_graph_says_the_next_command(project_copy: Path, length: int) -> None:
    graph = project_copy / "models/model.onnx"
    graph.write_bytes(graph.read_bytes()[:length])
    with pytest.raises(DataError, match=r"model\.onnx cannot be read as an ONNX model") as caught:
        Model(project_copy / "models")
    assert caught.value.hint.endswith("and run `make repro`")


def test_a_missing_contract_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"contract\.json does not exist"):
        Model(tmp_path)


def test_the_model_needs_no_training_libraries() -> None:
    heavy = ("sklearn", "pandas", "polars", "skl2onnx", "joblib")
    code = f"import sys, slipway.serving.onnx_model; print([name for name in {heavy} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert said.stdout.strip() == "[]"
