"""The bikes problem as the machinery sees it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bikes.contract import Inputs, Slot
from slipway.problem import Problem, SourceFault

if TYPE_CHECKING:
    import polars as pl
    from sklearn.pipeline import Pipeline


def _sources() -> Path:
    return Path(__file__).parent


def _ingest(folder: Path) -> tuple[pl.DataFrame, list[SourceFault]]:
    from bikes.ingest import ingest

    return ingest(folder)


def _features(table: pl.DataFrame) -> pl.DataFrame:
    from bikes.features import features

    return features(table)


def _estimator(*args: Any, **options: Any) -> Pipeline:
    from bikes.model import estimator

    return estimator(*args, **options)


PROBLEM = Problem(
    name="bikes",
    task="regression",
    table=Slot,
    inputs=Inputs,
    target="hires",
    time="start",
    slices=("station", "part"),
    known_at={"temp": "start", "hires": "counted_at", "counted_at": "counted_at"},
    horizon_hours=1,
    sources=_sources,
    ingest=_ingest,
    features=_features,
    estimator=_estimator,
    labels={
        "title": "How many bikes will be hired?",
        "unit": "bikes",
        "purpose": "Says one hour ahead how many bikes a station will need. It exists to test the machinery.",
        "limits": "The numbers are made up: nothing about a real city follows from them.",
        "source": "Made by bikes.source from a seed, with faults put in on purpose.",
        "licence": "Apache-2.0",
    },
)
