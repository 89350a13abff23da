"""A band: by how much a change's percentiles lie above its base's, with what the noise of the machine leaves open. Pure.

The tolerances stand in the section `latency` of loadtests/slo.yaml.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from slipway.asker import ALL, ONE, Floats, Times
from slipway.load import Positive, Section
from slipway.verdict import Check

JUDGED = ((ONE, 50), (ONE, 95), (ALL, 50))
"""The percentiles that are compared, by kind of request."""


class Limits(Section):
    """The section `latency` of slo.yaml; tolerances and bands are parts of the base's milliseconds."""

    warm_seconds: Positive
    seconds: Positive
    again_seconds: Positive
    starts_at_most: Annotated[int, Field(ge=2)]
    block_ms: Positive
    min_rounds: Annotated[int, Field(ge=2)]
    resamples: Annotated[int, Field(gt=0)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    one_row_p50_at_most: Positive
    one_row_p95_at_most: Positive
    all_rows_p50_at_most: Positive
    band_at_most: Positive

    def tolerance(self, kind: str, share: int) -> float:
        """By how much the head's percentile may be above the base's."""
        found: float = getattr(self, f"{kind.replace(' ', '_')}_p{share}_at_most")
        return found


@dataclass(frozen=True, kw_only=True)
class Band:
    """A percentile of a round, as `usual`, of both sides in milliseconds; the head's part above the base's, and its band."""

    name: str
    base_ms: float
    head_ms: float
    more: float
    low: float
    high: float
    most: float


def bands(parts: Sequence[Times], limits: Limits, *, seed: int) -> list[Band]:
    """The bootstrap of each percentile's ratio: whole rounds A-B-B-A are drawn, both sides of one together. Pure.

    What disturbs one block disturbs its neighbours: requests are not independent, rounds nearly are.
    """
    rounds = sum(len(times[ONE]) for times in parts)
    drawn = np.random.default_rng(seed).integers(rounds, size=(limits.resamples, rounds))
    tail = (1 - limits.confidence) / 2
    found = []
    for kind, share in JUDGED:
        together = np.concatenate([np.quantile(times[kind], share / 100, axis=2) for times in parts])
        base, head = (float(value) for value in usual(together))
        low, high = np.quantile(np.divide(*usual(together[drawn]).T[::-1]), [tail, 1 - tail])
        found.append(Band(name=f"p{share} of {kind}", base_ms=base, head_ms=head, more=head / base - 1,
                          low=float(low) - 1, high=float(high) - 1, most=limits.tolerance(kind, share)))  # fmt: skip
    return found


def usual(rounds: Floats) -> Floats:
    """The mean of the middle half of the rounds (the axis before the last): rounds in which something else ran are outside."""
    ordered = np.sort(rounds, axis=-2)
    cut = ordered.shape[-2] // 4
    middle: Floats = ordered[..., cut : ordered.shape[-2] - cut, :].mean(axis=-2)
    return middle


def judge(found: Sequence[Band], limits: Limits) -> list[Check]:
    """No when the whole band is above the tolerance; unsure when the tolerance lies in a band that is too wide. Pure."""
    return [
        Check(name=f"{band.name}, more than the base's", value=round(band.more, 4), low=round(band.low, 4),
              high=round(band.high, 4), limit=f"low ≤ {band.most:g}, band ± {limits.band_at_most:g}",
              ok=_told(band, limits))
        for band in found
    ]  # fmt: skip


def _told(band: Band, limits: Limits) -> bool | None:
    if band.low > band.most:
        return False
    return True if band.high <= band.most or (band.high - band.low) / 2 <= limits.band_at_most else None
