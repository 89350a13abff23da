"""Made-up prediction logs of any contract, in the format of docs/reference/files.md: whole ones, and ways to break them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from slipway import problem

MODEL = "0123456789ab"
END = datetime(2026, 3, 4, tzinfo=UTC)
"""The end of the last window."""
Row = dict[str, Any]


def moment(at: datetime) -> str:
    """A time as the service writes it."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def head(spec: problem.Problem, model: str = MODEL) -> Row:
    """The first line of a file."""
    return {"v": 1, "at": moment(END), "model": model, "problem": spec.name, "per_mille": 1000, "dropped": [], "hashed": []}


def answers(
    spec: problem.Problem, inputs: Sequence[Mapping[str, Any]], predictions: Sequence[float], *, days: int, end: datetime = END
) -> list[Row]:  # fmt: skip
    """One line for each row of `inputs`, spread evenly over the days before `end`, in the order of time."""
    step = timedelta(days=days) / len(inputs)
    names = [column.name for column in problem.columns(spec.inputs)]
    return [
        {"v": 1, "id": f"r{number}", "at": moment(end - timedelta(days=days) + number * step), "model": MODEL, "ms": 1.5,
         "prediction": float(prediction), "inputs": {name: row.get(name) for name in names}}
        for number, (row, prediction) in enumerate(zip(inputs, predictions, strict=True))
    ]  # fmt: skip


def made_up(spec: problem.Problem, rows: int, *, seed: int = 0) -> list[Row]:
    """Inputs that the contract allows: numbers from the whole of their range, the contract's example for a text."""
    draw, example = np.random.default_rng(seed), problem.example_row(spec.inputs)
    table: dict[str, Sequence[Any]] = {}
    for column in problem.columns(spec.inputs):
        if column.kind == "number":
            low, high = (float(value if value is not None else other) for value, other in ((column.low, 0), (column.high, 1)))
            table[column.name] = draw.uniform(low, high, rows).round(0 if column.type is int else 3).tolist()
        else:
            table[column.name] = [example[column.name]] * rows
    return [dict(zip(table, values, strict=True)) for values in zip(*table.values(), strict=True)]


def healthy(spec: problem.Problem, features: pl.DataFrame, *, days: int, per_day: int, seed: int = 0) -> list[Row]:
    """A log of rows drawn from the training data, whose predictions are near the target."""
    drawn = features.drop_nulls(spec.target).sample(days * per_day, with_replacement=True, seed=seed)
    noise = np.random.default_rng(seed).normal(0, 0.1, len(drawn)) * float(features[spec.target].std())  # type: ignore[arg-type]
    names = [column.name for column in problem.columns(spec.inputs)]
    return answers(spec, drawn.select(names).to_dicts(), drawn[spec.target].to_numpy() + noise, days=days)


def failures(count: int, *, end: datetime = END) -> list[Row]:
    """Lines of requests that were answered with a server error in the last day."""
    return [{"v": 1, "id": f"f{n}", "at": moment(end - timedelta(seconds=n + 1)), "model": MODEL, "ms": 1.0, "status": 500}
            for n in range(count)]  # fmt: skip


def recent(rows: Sequence[Row], days: float, *, end: datetime = END) -> list[Row]:
    """The rows of the last days; the same objects, to change them."""
    return [row for row in rows if row["at"] >= moment(end - timedelta(days=days))]


def write(folder: Path, spec: problem.Problem, rows: Sequence[Row], *, name: str = "1", tail: str = "") -> Path:
    """Write rows as a file of the log in `folder`, and return the file; `tail` is put after the last line."""
    path = folder / "predictions" / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(row, separators=(",", ":")) for row in (head(spec), *rows)]
    path.write_text("\n".join(lines) + "\n" + tail, encoding="utf-8")
    return path


def labels_of(rows: Sequence[Row], folder: Path, target: str, *, shift: float = 0.0, name: str = "labels.csv") -> Path:
    """Write a CSV file with a label near the prediction of every row; it became known a minute after its row."""
    late = [moment(datetime.fromisoformat(row["at"]) + timedelta(minutes=1)) for row in rows]
    values = [max(0.0, round(row["prediction"] + shift, 3)) for row in rows]
    pl.DataFrame({"id": [row["id"] for row in rows], target: values, "known_at": late}).write_csv(folder / name)
    return folder / name
