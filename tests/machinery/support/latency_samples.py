"""Response times of two services whose true ratio is known, and limits for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from slipway.judging import latency_statistics
from slipway.judging.latency_client import ALL, ONE, Times
from slipway.loadtest import slo

LIMITS = latency_statistics.Limits(
    warm_seconds=0.1, seconds=1, again_seconds=1, starts_at_most=3, block_ms=5, min_rounds=5, resamples=200, confidence=0.95,
    one_row_p50_at_most=0.1, one_row_p95_at_most=0.15, all_rows_p50_at_most=0.2, band_at_most=0.05,
)  # fmt: skip


def times(ratio: float = 1.0, *, rounds: int = 60, noise: float = 0.05, seed: int = 1, tail: float = 1.0,
          size: int = 60) -> Times:  # fmt: skip
    """Rounds that each have a speed of their own, for both sides; the head is `ratio` times as slow, one in ten `tail` times."""
    rng = np.random.default_rng(seed)

    def kind(usual: float, size: int) -> np.ndarray:
        speed = rng.lognormal(0, 0.3, (rounds, 1, 1)) * rng.lognormal(0, noise, (rounds, 2, 1))
        found = usual * speed * rng.lognormal(0, 0.1, (rounds, 2, size))
        found[:, 1] *= ratio * np.where(rng.random((rounds, size)) < 0.1, tail, 1.0)
        return found

    return {ONE: kind(0.2, size), ALL: kind(1.0, 4)}


def limited(folder: Path, section: Any) -> None:
    """Write the section of slo.yaml; None removes it."""
    path, yaml = folder / slo.PATH, YAML()
    found = yaml.load(path.read_text("utf-8"))
    found.pop("latency", None)
    if section is not None:
        found["latency"] = section
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(found, file)
