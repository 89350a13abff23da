"""Check the load generator itself: a busy or starved one measures its own slowness, so its latencies are not reliable.

Imports only what `requirements/load.lock` has: the load gate's image runs it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field

from slipway.core.strict_model import StrictModel
from slipway.core.verdict import Check


class Limits(StrictModel):
    """The section `generator` of slo.yaml: within these limits the generator's own part of a latency is negligible."""

    lag_ms_at_most: Annotated[float, Field(gt=0)]
    cpu_at_most: Annotated[float, Field(gt=0, le=1)]


class Generator(NamedTuple):
    """Locust's own use of time, from the first scheduled request to the last response.

    Of `seconds`, its one thread `ran` on a processor and `waited` for one: behind another process, or stopped by a
    container's CPU quota. `lags` are the delays (ms) of a greenlet that only sleeps, `late` those (ms) of requests whose
    sender was not waiting for a response. Neither contains delays by the service.
    """

    seconds: float
    ran: float
    waited: float
    lags: Sequence[float]
    late: Sequence[float]


def percent(share: float) -> str:
    """A share as text in percent with three digits: 0.015 is `1.5 %`."""
    return f"{float(f'{100 * share:.3g}'):g} %"


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the smallest value that at least `share` of the values do not exceed; None without values."""
    return sorted(values)[math.ceil(share * len(values)) - 1] if values else None


def checks(generator: Generator, limits: Limits) -> list[Check]:
    """Check that the generator had time to measure. Each check is ok or unsure, for it is not about the service."""
    lags = [
        value for value in (percentile(generator.lags, 0.99), percentile(generator.late, 0.99)) if value is not None
    ]
    busy = (generator.ran + generator.waited) / generator.seconds if generator.seconds > 0 else None
    return [
        lag(max(lags, default=None), limits),
        Check(
            name="generator CPU",
            value=None if busy is None else round(busy, 3),
            limit=f"≤ {percent(limits.cpu_at_most)} of the time",
            ok=True if busy is not None and busy <= limits.cpu_at_most else None,
            text=""
            if busy is None
            else f"The load generator was busy, or waited for a processor, {percent(busy)} of the time",
        ),
    ]


def lag(p99_ms: float | None, limits: Limits) -> Check:
    """Check the delay with which the sender wakes up (99th percentile); unsure above the limit, or without a measurement."""
    limit_ms = limits.lag_ms_at_most
    ok = True if p99_ms is not None and p99_ms <= limit_ms else None
    value = None if p99_ms is None else round(p99_ms, 2)
    text = "" if value is None else f"The load generator itself was up to {value:g} ms late (99th percentile)"
    return Check(name="generator lag p99_ms", value=value, limit=f"≤ {limit_ms:g} ms", ok=ok, text=text)
