"""The exported model: an ONNX graph and its contract, loaded by the service and by the checks.

Imports no scikit-learn, pandas or Polars, because the service imports it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from slipway.core import files
from slipway.errors import DataError

if TYPE_CHECKING:
    import polars as pl

FOLDER = Path("models")
CONTRACT_HINT = "export a model with this version of Slipway: `export` refuses a model that fails on valid rows"
ERRORS = (
    state.Fail, state.InvalidArgument, state.InvalidGraph, state.InvalidProtobuf, state.NotImplemented,
    state.RuntimeException,
)  # fmt: skip
"""The errors of ONNX Runtime, which have no class in common."""


class Model:
    """An ONNX graph with its contract: `categories` and `numbers` name the columns of its two inputs.

    `contract` is the content of contract.json in `folder`. `graph` loads another file than model.onnx of that folder,
    for a graph that is still to be checked.
    """

    def __init__(self, folder: Path = FOLDER, *, graph: Path | None = None) -> None:
        self.contract: dict[str, Any] = files.read_json(folder / "contract.json")
        with files.parsing(folder / "contract.json"):
            self.categories: list[str] = self.contract["categories"]
            self.numbers: list[str] = self.contract["numbers"]
            properties = self.contract["inputs"]["properties"]
            self._optional = any("anyOf" in properties[name] for name in self.categories)
        path = graph or folder / "model.onnx"
        if not path.exists():
            raise DataError(f"{path} does not exist", hint="run `make repro`")
        files.require_readable(path)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised, and reported once
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except ERRORS as error:
            raise DataError(
                f"{path} cannot be read as an ONNX model: {error}", hint=f"remove {path} and run `make repro`"
            ) from None
        self._graph_inputs = {i.name for i in self._session.get_inputs()}

    def predict(self, categories: NDArray[np.object_], numbers: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict `categories` [rows, k] of str and `numbers` [rows, m] of float32 (NaN is missing); returns [rows].

        A prediction is the probability of the positive class for a binary task, the value itself for a regression.
        DataError when ONNX Runtime cannot compute it. A prediction may be NaN or infinite.
        """
        arrays = {"categories": categories, "numbers": numbers}
        feed = {name: value for name, value in arrays.items() if name in self._graph_inputs}
        try:
            result: NDArray[np.float32] = self._session.run(["prediction"], feed)[0]
        except ERRORS as error:
            raise DataError(f"the model cannot predict: ONNX Runtime returned {error}", hint=CONTRACT_HINT) from error
        return result

    def values(self, rows: Sequence[tuple[Any, ...]]) -> NDArray[np.float32]:
        """Predict rows given as tuples: categories, then numbers, in the contract's order; None is missing."""
        count, width = len(rows), len(self.categories)
        texts = [value or "" for row in rows for value in row[:width]]
        numbers = [math.nan if value is None else value for row in rows for value in row[width:]]
        packed = struct.pack(f"{len(numbers)}d", *numbers)  # NumPy takes three times as long for a list of new numbers
        values = np.frombuffer(packed, dtype=np.float64).astype(np.float32)
        categories = np.array(texts, dtype=object)
        return self.predict(categories.reshape(count, width), values.reshape(count, len(self.numbers)))

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """Predict rows given as mappings from input name to value; None is missing."""
        names = [*self.categories, *self.numbers]
        return self.values([tuple(row[name] for name in names) for row in rows])

    def frame(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """Predict a frame that has all inputs, in its row order."""
        categories = frame.select(self.categories).fill_null("").to_numpy().astype(object)
        numbers = frame.select(self.numbers).cast(dict.fromkeys(self.numbers, float)).to_numpy().astype(np.float32)
        return self.predict(categories.reshape(len(frame), -1), numbers.reshape(len(frame), -1))
