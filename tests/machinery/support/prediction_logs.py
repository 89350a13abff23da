"""Prediction logs of any contract: rows as the model was trained on, written in the service's lines, sound or broken."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from slipway import problem

MODEL = "0123456789ab"
END = datetime(2022, 3, 1, tzinfo=UTC)
"""The end of a made-up log: no test depends on the present."""
Fault = Callable[[pl.DataFrame], pl.DataFrame]


def read_reference(root: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The distributions of the inputs and of the predictions, as `evaluate` wrote them."""
    inputs, predictions = (root / "reports/plots" / name for name in ("reference.json", "predictions.json"))
    return json.loads(inputs.read_text("utf-8")), json.loads(predictions.read_text("utf-8"))


def rows(
    root: Path, spec: problem.Problem, *, count: int, days: int, end: datetime = END, seed: int = 1, model: str = MODEL
) -> pl.DataFrame:
    """Return `count` sound rows of the `days` before `end`: id, at, model, ms, status, prediction, the inputs, and `label`."""
    rng = np.random.default_rng(seed)
    inputs, predictions = read_reference(root)
    shares = np.array([each["rows"] for each in predictions], dtype=float)
    middles = np.array([each["prediction"] for each in predictions])
    width = middles[1] - middles[0]
    predicted = rng.choice(middles, count, p=shares / shares.sum()) + rng.uniform(-width / 2, width / 2, count)
    predicted = predicted.clip(max(0.0, middles[0] - width / 2), None)
    label = predicted + rng.normal(0, 4, count) if spec.task == "regression" else rng.random(count) < predicted
    seconds = np.sort(rng.uniform(0, days * 86_400, count))
    begin = end - timedelta(days=days)
    return pl.DataFrame({
        "id": [f"{seed}-{number}" for number in range(count)],
        "at": pl.Series([begin + timedelta(seconds=each) for each in seconds]).cast(pl.Datetime("us", "UTC")),
        "model": [model] * count,
        "ms": rng.lognormal(0.5, 0.3, count).round(3),
        "status": pl.Series([None] * count, dtype=pl.Int64),
        "prediction": predicted.round(6),
        **{each["input"]: _values(spec, each, count, rng) for each in inputs},
        "label": label.clip(0, None) if spec.task == "regression" else label.astype(float),
    })  # fmt: skip


def _values(spec: problem.Problem, groups: Mapping[str, Any], count: int, rng: np.random.Generator) -> pl.Series:
    """Values with the shares of a group of reference.json, and as many missing ones."""
    shares = np.array(groups["shares"], dtype=float)
    if "values" in groups:
        values = rng.choice(groups["values"][:-1], count, p=shares[:-1] / shares[:-1].sum())
    else:
        bounds = next(column for column in problem.columns(spec.inputs) if column.name == groups["input"])
        values = _numbers(groups["edges"], shares / shares.sum(), count, rng).clip(bounds.low, bounds.high)
    missing = rng.random(count) < groups["missing"]
    return pl.Series(
        groups["input"], [None if gone else value for gone, value in zip(missing, values.tolist(), strict=True)]
    )


def _numbers(edges: list[float], shares: NDArray[Any], count: int, rng: np.random.Generator) -> NDArray[Any]:
    gaps = np.diff(edges) if len(edges) > 1 else np.array([1.0])
    low = np.array([edges[0] - gaps[0], *edges])
    high = np.array([*edges, edges[-1] + gaps[-1]])
    group = rng.choice(len(shares), count, p=shares)
    return np.asarray(rng.uniform(low[group], high[group])).round(4)


def lines(frame: pl.DataFrame, inputs: list[str]) -> list[str]:
    """Return the line of each row; a row with a status is a failed request, which has no prediction and no inputs."""
    result = []
    for row in frame.iter_rows(named=True):
        line = {"v": 1, "id": row["id"], "at": stamp(row["at"]), "model": row["model"], "ms": row["ms"]}
        answer = {"prediction": row["prediction"], "inputs": {name: row[name] for name in inputs}}
        result.append(json.dumps(line | ({"status": row["status"]} if row["status"] else answer)))
    return result


def stamp(at: datetime) -> str:
    """Return a time as the service writes it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def head(spec: problem.Problem, at: datetime, model: str = MODEL) -> str:
    """Return the first line of a file."""
    line = {
        "v": 1,
        "at": stamp(at),
        "model": model,
        "problem": spec.name,
        "per_mille": 1000,
        "dropped": [],
        "hashed": [],
    }
    return json.dumps(line)


def write(
    folder: Path, spec: problem.Problem, frame: pl.DataFrame, *more: str, files: int = 2, end: str = "\n"
) -> Path:
    """Write the rows into `files` files of a log in `folder`, and lines `more` at the end of the last one; return `folder`."""
    names = [column.name for column in problem.columns(spec.inputs)]
    place = folder / "predictions"
    place.mkdir(parents=True, exist_ok=True)
    pieces = [frame[start : start + -(-len(frame) // files)] for start in range(0, len(frame), -(-len(frame) // files))]
    for number, piece in enumerate(pieces):
        at = piece["at"][0]
        own = [head(spec, at, piece["model"][0]), *lines(piece, names)]
        is_last = number == len(pieces) - 1
        own += more if is_last else ()
        path = place / f"{at:%Y%m%dT%H%M%S%fZ}-{number:012x}.jsonl"
        path.write_text("\n".join(own) + (end if is_last else "\n"), encoding="utf-8")
    return folder


def labels(frame: pl.DataFrame, target: str, *, delay_days: int = 28) -> pl.DataFrame:
    """Return the labels of rows as a system would deliver them: id, the target, known_at."""
    known = pl.col("at") + timedelta(days=delay_days)
    return frame.select("id", pl.col("label").alias(target), known_at=known)
