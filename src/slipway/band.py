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
    """A percentile of both sides in milliseconds; the head's part above the base's, and the band of that."""

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
    together = {kind: np.concatenate([times[kind] for times in parts]) for kind in (ONE, ALL)}
    rng, rounds = np.random.default_rng(seed), len(together[ONE])
    draws = [rng.integers(rounds, size=rounds) for _ in range(limits.resamples)]
    tail = (1 - limits.confidence) / 2
    found = []
    for kind, share in JUDGED:
        times = together[kind]
        base, head = _percentiles(times, share)
        ratios = [after / before for before, after in (_percentiles(times[drawn], share) for drawn in draws)]
        low, high = np.quantile(ratios, [tail, 1 - tail])
        found.append(Band(name=f"p{share} of {kind}", base_ms=base, head_ms=head, more=head / base - 1,
                          low=float(low) - 1, high=float(high) - 1, most=limits.tolerance(kind, share)))  # fmt: skip
    return found


def _percentiles(times: Floats, share: int) -> tuple[float, float]:
    """Of base and head."""
    base, head = np.quantile(times.swapaxes(0, 1).reshape(2, -1), share / 100, axis=1)
    return float(base), float(head)


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
