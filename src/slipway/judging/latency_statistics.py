"""Confidence intervals for head/base ratios of latency percentiles, and their check against the limits of slo.yaml."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError
from ruamel.yaml.error import YAMLError

from slipway.core import base_limits, git
from slipway.core.process import UndecodableOutput
from slipway.core.strict_model import StrictModel, parse_yaml
from slipway.core.verdict import Check
from slipway.errors import ConfigError
from slipway.judging.latency_client import ALL, ONE, Floats, Times
from slipway.loadtest import slo
from slipway.loadtest.generator_health import percent
from slipway.loadtest.slo import Positive

SECTION = "latency"
JUDGED = ((ONE, 50), (ONE, 95), (ALL, 50))
"""The percentiles that are compared: kind of request, percentage."""


class Limits(StrictModel):
    """The section `latency` of slo.yaml; tolerances are fractions of the base's milliseconds."""

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
        """The largest allowed increase of a percentile over the base's, as a fraction."""
        at_most: float = getattr(self, f"{kind.replace(' ', '_')}_p{share}_at_most")
        return at_most


@dataclass(frozen=True, kw_only=True)
class RatioInterval:
    """A percentile of both sides in milliseconds (interquartile mean over rounds), and the head's increase with its interval.

    `more`, `low`, `high` and the tolerance `most` are fractions of the base's milliseconds.
    """

    name: str
    base_ms: float
    head_ms: float
    more: float
    low: float
    high: float
    most: float


def bootstrap_ratios(parts: Sequence[Times], limits: Limits, *, seed: int) -> list[RatioInterval]:
    """Bootstrap the ratio of each percentile over whole rounds (A-B-B-A), both sides of a round together.

    Requests are not independent, because a disturbance lasts over several blocks; rounds nearly are.
    """
    rounds = sum(len(times[ONE]) for times in parts)
    draws = np.random.default_rng(seed).integers(rounds, size=(limits.resamples, rounds))
    tail = (1 - limits.confidence) / 2
    intervals = []
    for kind, share in JUDGED:
        percentiles = np.concatenate([np.quantile(times[kind], share / 100, axis=2) for times in parts])
        base, head = (float(value) for value in interquartile_mean(percentiles))
        before, after = interquartile_mean(percentiles[draws]).T
        low, high = np.quantile(after / before, [tail, 1 - tail])
        intervals.append(RatioInterval(name=f"p{share} of {kind}", base_ms=base, head_ms=head, more=head / base - 1,
                         low=float(low) - 1, high=float(high) - 1, most=limits.tolerance(kind, share)))  # fmt: skip
    return intervals


def interquartile_mean(rounds: Floats) -> Floats:
    """The mean over the middle half of the rounds (the last axis but one), which leaves disturbed rounds out."""
    ordered = np.sort(rounds, axis=-2)
    cut = ordered.shape[-2] // 4
    middle: Floats = ordered[..., cut : ordered.shape[-2] - cut, :].mean(axis=-2)
    return middle


def judge(intervals: Sequence[RatioInterval], limits: Limits) -> list[Check]:
    """Check each interval: fails when it is above the tolerance, unsure when it contains it and is too wide."""
    return [
        Check(name=f"{each.name}, more than the base's", value=round(each.more, 4), low=round(each.low, 4),
              high=round(each.high, 4), limit=f"≤ {percent(each.most)} slower, known to ± {percent(limits.band_at_most)}",
              ok=_is_within(each, limits), text=describe(each, limits))
        for each in intervals
    ]  # fmt: skip


def describe(interval: RatioInterval, limits: Limits) -> str:
    """An interval as a sentence: the change of a percentile, and if it is too uncertain to judge."""
    low, high = (f"{100 * end:.3g}".replace("-", "−") for end in (interval.low, interval.high))
    change = f"{percent(abs(interval.more))} {'slower' if interval.more >= 0 else 'faster'} than the base"
    unsure = ", too uncertain to judge" if _is_within(interval, limits) is None else ""
    return f"{interval.name} is {change} ({percent(limits.confidence)} interval {low} to {high} %){unsure}"


def _is_within(interval: RatioInterval, limits: Limits) -> bool | None:
    if interval.low > interval.most:
        return False
    half_width = (interval.high - interval.low) / 2
    return True if interval.high <= interval.most or half_width <= limits.band_at_most else None


def limits_at_base(base: str, *, root: Path) -> tuple[Limits, list[str]]:
    """The limits at the base commit, which apply, and the differences of this commit's as sentences.

    This commit's own limits apply where the base has none, or lacks one of them. ConfigError when its own are invalid.
    """
    section, base_section = slo.read(root / slo.PATH).latency, _section_at(base, root)
    of_head = _parse(section, str(slo.PATH))
    if not isinstance(base_section, Mapping):
        return of_head, []
    of_base = {name: base_section[name] for name in Limits.model_fields if name in base_section}
    changes = base_limits.changed_values(base_section, section, SECTION)
    return _parse({**of_head.model_dump(), **of_base}, f"{slo.PATH} of the base {base[:12]}"), changes


def own_limits(root: Path) -> Limits:
    """The limits in this checkout; ConfigError when it has none."""
    return _parse(slo.read(root / slo.PATH).latency, str(slo.PATH))


def _parse(section: Any, file: str) -> Limits:
    try:
        return Limits.model_validate(section)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'the section'} is {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{file}: {SECTION}: {faults}", hint=f"edit the section {SECTION} of {slo.PATH}") from None


def _section_at(base: str, root: Path) -> Any:
    """The section in the base's slo.yaml; None when there is none, or the file cannot be read."""
    try:
        content = parse_yaml(git.file_at(base, slo.PATH.as_posix(), root=root) or "")
    except (YAMLError, UndecodableOutput):
        return None
    return content.get(SECTION) if isinstance(content, Mapping) else None
