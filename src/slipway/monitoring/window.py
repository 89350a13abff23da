"""One window of the prediction log as the questions see it."""
from __future__ import annotations
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
import polars as pl
from slipway import problem
from slipway.core.verdict import Check

@dataclass(frozen=True, kw_only=True)
class Reference:
    inputs: Sequence[Mapping[str, Any]]
    predictions: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any]
@dataclass(frozen=True, kw_only=True)
class Window:
    spec: problem.Problem
    settings: Any
    start: datetime
    end: datetime
    rows: pl.DataFrame
    earlier: Sequence[pl.DataFrame]
    labels: pl.DataFrame
    reference: Reference
@dataclass(frozen=True, kw_only=True)
class Answer:
    sentence: str
    checks: Sequence[Check]
    rows: int
    notes: Mapping[str, Any]
