"""The seam: what the machinery asks of a problem, and nothing else."""

from __future__ import annotations

import importlib
import threading
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from slipway.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

if TYPE_CHECKING:  # a type only: the service reads a problem's lookup without Polars or scikit-learn
    import polars as pl
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class SourceFault:
    """Something wrong in the raw data: where, what, how many rows, the worst value, what ingest did."""

    source: str
    column: str
    what: str
    rows: int
    worst: float | str | None
    action: str


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One prediction problem.

    `table` is the contract of what `ingest` makes, `inputs` of what the model is given and a caller sends.
    Both tables carry `row_id` (stable, unique text) and `time` (the event's moment, UTC).
    `known_at` names, for every column of the table that is not known beforehand, the column that holds the
    moment when it became known; `horizon_hours` is how long before `time` a prediction is asked for.
    From the two the leak check follows.
    """

    name: str
    task: Literal["binary", "regression"]
    table: type[BaseModel]
    inputs: type[BaseModel]
    target: str
    time: str
    slices: tuple[str, ...]
    known_at: Mapping[str, str]
    horizon_hours: float
    sources: Callable[[], Path]
    """The folder that holds the source files."""
    ingest: Callable[[Path], tuple[pl.DataFrame, list[SourceFault]]]
    """Folder of sources → typed table with `row_id`, and what was found wrong on the way."""
    features: Callable[[pl.DataFrame], pl.DataFrame]
    """Table → frame: `row_id`, time, target, slice columns, and the columns of `inputs`; rows with a target only."""
    estimator: Callable[..., Pipeline]
    """`(name, options, *, categories, numbers, seed)` → unfitted Pipeline over those columns, categories first."""
    lookup: str | None = None
    """Module with `Question`, `write(table, path)` and `answer(path, question)`; imports the standard library only."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """How to call things on pages: `title`, `positive`, `unit`; for the cards `purpose`, `limits`, `source`, `licence`."""


def import_in_background(module: str) -> None:
    """Load a slow library beside the work that comes before its use; the import then finds it there, or waits."""
    threading.Thread(target=importlib.import_module, args=(module,), daemon=True).start()


def load(name: str) -> Problem:
    """The `PROBLEM` of the module `<name>.problem`; ConfigError when there is none."""
    try:
        found: Any = importlib.import_module(f"{name}.problem").PROBLEM
    except ModuleNotFoundError as error:
        if error.name not in (name, f"{name}.problem"):
            raise
        raise ConfigError(
            f"problem {name!r} has no module {name}.problem", hint="set `problem` in params.yaml"
        ) from None
    if not isinstance(found, Problem):
        raise ConfigError(f"{name}.problem.PROBLEM is a {type(found).__name__}, not a Problem")
    return found


Kind = Literal["category", "number", "time"]


@dataclass(frozen=True, kw_only=True)
class Column:
    """One field of a contract: what it is, what values it may take, whether it may be missing."""

    name: str
    kind: Kind
    nullable: bool
    low: float | None
    high: float | None
    unit: str
    description: str
    example: Any


def columns(model: type[BaseModel]) -> list[Column]:
    """The fields of `model` in their order."""
    return [_column(name, info) for name, info in model.model_fields.items()]


def names(model: type[BaseModel], kind: Kind) -> list[str]:
    """The names of the fields of one kind, in order."""
    return [column.name for column in columns(model) if column.kind == kind]


def _column(name: str, info: FieldInfo) -> Column:
    kind, nullable = _kind(name, info.annotation)
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    low, high = bound(info, "ge"), bound(info, "le")
    return Column(
        name=name, kind=kind, nullable=nullable, low=low, high=high, unit=str(extra.get("unit", "")),
        description=info.description or "", example=info.examples[0] if info.examples else None,
    )  # fmt: skip


def _kind(name: str, annotation: Any) -> tuple[Kind, bool]:
    parts = typing.get_args(annotation) if typing.get_origin(annotation) in (Union, types.UnionType) else (annotation,)
    kinds: dict[Any, Kind] = {str: "category", float: "number", int: "number", datetime: "time"}
    found = [part for part in parts if part is not type(None)]
    if len(found) != 1 or found[0] not in kinds:
        raise TypeError(
            f"contract field {name}: {annotation} is not str, float, int or datetime, or one of them | None"
        )
    return kinds[found[0]], type(None) in parts


def bound(info: FieldInfo, which: str) -> float | None:
    """The limit of a field by its constraint: `ge`, `le`, `min_length` or `max_length`; None when it has none."""
    return next((float(v) for m in info.metadata if (v := getattr(m, which, None)) is not None), None)


def example_row(model: type[BaseModel]) -> dict[str, Any]:
    """A row that keeps the contract, from the examples of its fields."""
    return {column.name: column.example for column in columns(model)}
