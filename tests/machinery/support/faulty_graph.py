"""A graph for the bikes problem that fails on some valid rows, as no admitted model does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FAILS, INFINITE, GOOD = (
    {"hour": 20},
    {"weekday": 7},
    {"weekday": 5, "hour": 14, "temp": 16.0, "recent": 21.0, "yesterday": 3.0},
)
"""Inputs for which ONNX Runtime raises an error, for which the prediction is infinite, and for which it is GOOD_ANSWER.

A missing number makes the prediction NaN.
"""
GOOD_ANSWER = 5 + 14 + 16 + 21 + 3 + 1 / (7 - 5)


def write(path: Path) -> None:
    """Write a graph whose prediction is the sum of all numbers + 1 / (7 - weekday); an hour from 20 on is out of bounds."""
    constants = {
        "axis": np.array([1]), "zeros": np.zeros(20, np.float32), "first": np.array(0), "second": np.array(1),
        "seven": np.array(7, np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("ReduceSum", ["numbers", "axis"], ["sum"], keepdims=0),
        helper.make_node("Gather", ["numbers", "first"], ["weekday"], axis=1),
        helper.make_node("Sub", ["seven", "weekday"], ["days"]),
        helper.make_node("Reciprocal", ["days"], ["share"]),
        helper.make_node("Gather", ["numbers", "second"], ["hour"], axis=1),
        helper.make_node("Cast", ["hour"], ["position"], to=TensorProto.INT64),
        helper.make_node("Gather", ["zeros", "position"], ["zero"]),
        helper.make_node("Add", ["sum", "share"], ["both"]),
        helper.make_node("Add", ["both", "zero"], ["prediction"]),
    ]
    graph = helper.make_graph(
        nodes, "faulty",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, 5])],
        [helper.make_tensor_value_info("prediction", TensorProto.FLOAT, [None])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
