"""A band: by how much a change's percentiles lie above its base's, with what the noise of the machine leaves open.

The tolerances are the section `latency` of loadtests/slo.yaml, of the base's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import base_limits, git
from slipway.core.strict_model import StrictModel
from slipway.core.verdict import Check
from slipway.errors import ConfigError
from slipway.judging.latency_client import ALL, ONE, Floats, Times
from slipway.loadtest import slo
from slipway.loadtest.slo import Positive

SECTION = "latency"
JUDGED = ((ONE, 50), (ONE, 95), (ALL, 50))
"""The percentiles that are compared, by kind of request."""


class Limits(StrictModel):
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
class RatioInterval:
    """A percentile of a round, as `usual`, of both sides in milliseconds; the head's part above the base's, and its band."""

    name: str
    base_ms: float
    head_ms: float
    more: float
    low: float
    high: float
    most: float


def bootstrap_ratios(parts: Sequence[Times], limits: Limits, *, seed: int) -> list[RatioInterval]:
    """The bootstrap of each percentile's ratio: whole rounds A-B-B-A are drawn, both sides of one together. Pure.

    What disturbs one block disturbs its neighbours: requests are not independent, rounds nearly are.
    """
    rounds = sum(len(times[ONE]) for times in parts)
    drawn = np.random.default_rng(seed).integers(rounds, size=(limits.resamples, rounds))
    tail = (1 - limits.confidence) / 2
    found = []
    for kind, share in JUDGED:
        together = np.concatenate([np.quantile(times[kind], share / 100, axis=2) for times in parts])
        base, head = (float(value) for value in interquartile_mean(together))
        before, after = interquartile_mean(together[drawn]).T
        low, high = np.quantile(after / before, [tail, 1 - tail])
        found.append(RatioInterval(name=f"p{share} of {kind}", base_ms=base, head_ms=head, more=head / base - 1,
                          low=float(low) - 1, high=float(high) - 1, most=limits.tolerance(kind, share)))  # fmt: skip
    return found


def interquartile_mean(rounds: Floats) -> Floats:
    """The mean of the middle half of the rounds (the axis before the last): rounds in which something else ran are outside."""
    ordered = np.sort(rounds, axis=-2)
    cut = ordered.shape[-2] // 4
    middle: Floats = ordered[..., cut : ordered.shape[-2] - cut, :].mean(axis=-2)
    return middle


def judge(found: Sequence[RatioInterval], limits: Limits) -> list[Check]:
    """No when the whole band is above the tolerance; unsure when the tolerance lies in a band that is too wide. Pure."""
    return [
        Check(name=f"{band.name}, more than the base's", value=round(band.more, 4), low=round(band.low, 4),
              high=round(band.high, 4), limit=f"low ≤ {band.most:g}, band ± {limits.band_at_most:g}",
              ok=_told(band, limits))
        for band in found
    ]  # fmt: skip


def _told(band: RatioInterval, limits: Limits) -> bool | None:
    if band.low > band.most:
        return False
    return True if band.high <= band.most or (band.high - band.low) / 2 <= limits.band_at_most else None


def limits_at_base(base: str, *, root: Path) -> tuple[Limits, list[str]]:
    """The limits as the base has them, which are what holds, and what differs; ConfigError when this change's are wrong.

    Its own are taken where the base has none, and limit by limit where the base's code knows others.
    """
    now, before = slo.read(root / slo.PATH).latency, _section(base, root)
    mine = _limits(now, str(slo.PATH))
    if not isinstance(before, Mapping):
        return mine, []
    known = {name: before[name] for name in Limits.model_fields if name in before}
    moved = base_limits.changed_values(before, now, SECTION)
    return _limits({**mine.model_dump(), **known}, f"{slo.PATH} of the base {base[:12]}"), moved


def own_limits(root: Path) -> Limits:
    """The limits that this checkout has; ConfigError where it has none."""
    return _limits(slo.read(root / slo.PATH).latency, str(slo.PATH))


def _limits(section: Any, where: str) -> Limits:
    try:
        return Limits.model_validate(section)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'it'} is {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{where}: {SECTION}: {wrong}", hint=f"edit the section {SECTION} of {slo.PATH}") from None


def _section(base: str, root: Path) -> Any:
    """The section of slo.yaml at the base; None when it has none that can be read."""
    try:
        found = YAML(typ="safe").load(git.file_at(base, slo.PATH.as_posix(), root=root) or "")
    except YAMLError:
        return None
    return found.get(SECTION) if isinstance(found, Mapping) else None
