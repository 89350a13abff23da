"""One window of the prediction log as the questions of `monitor` see it, and their answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from slipway import problem
from slipway.core import config
from slipway.core.verdict import Check


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The distributions of the training data and of the test window, as the released commit has them in reports/."""

    inputs: Sequence[Mapping[str, Any]]
    predictions: Sequence[Mapping[str, Any]]
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Window:
    """The answered rows from `start` to before `end`, the windows before it, and the labels that are known by `end`.

    `rows` and each frame of `earlier` (newest first, of the same length) have id, at, ms, prediction and the inputs.
    `labels` has id, label and known_at.
    """

    spec: problem.Problem
    settings: config.Monitor
    start: datetime
    end: datetime
    rows: pl.DataFrame
    earlier: Sequence[pl.DataFrame]
    labels: pl.DataFrame
    reference: Reference


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to a question: a sentence, its checks, the number of rows judged, and tables for the report."""

    sentence: str
    checks: Sequence[Check]
    rows: int
    notes: Mapping[str, Any]
