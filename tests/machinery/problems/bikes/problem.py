"""Declare the bikes problem: contracts, target, what is known when, and the functions of the stages."""

from __future__ import annotations

from pathlib import Path

from bikes.contract import Inputs, Slot
from slipway.problem import Problem


def _sources() -> Path:
    return Path(__file__).parent


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
    ingest="bikes.ingest:ingest",
    features="bikes.features:features",
    estimator="bikes.model:estimator",
    labels={
        "title": "How many bikes will be hired?",
        "unit": "bikes",
        "purpose": "Says one hour ahead how many bikes a station will need. It exists to test the machinery.",
        "limits": "The numbers are made up: nothing about a real city follows from them.",
        "source": "Made by bikes.source from a seed, with faults put in on purpose.",
        "licence": "Apache-2.0",
    },
)
