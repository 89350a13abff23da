"""Samples of a load test, limits for them, and generators that were quiet, busy and late."""

from __future__ import annotations

from slipway.loadtest.generator_health import Generator, Limits
from slipway.loadtest.load import Sample
from slipway.loadtest.slo import Endpoint, Schedule, Slo

PREDICT = "POST /predict"


LIMITS = Endpoint(
    share=1, min_requests=100, errors_at_most=0.01, p50_ms_at_most=20, p95_ms_at_most=50, p99_ms_at_most=90
)


SCHEDULE = Schedule(rate=100, seconds=2, users=4)


SLO = Slo(
    schedules={"machine": SCHEDULE, "cluster": SCHEDULE},
    achieved_ratio_at_least=0.95,
    generator=Limits(lag_ms_at_most=25, cpu_at_most=0.8),
    golden_difference_at_most=0,
    endpoints={PREDICT: LIMITS},
)


QUIET = Generator(seconds=2, ran=0.2, waited=0.1, lags=[1.0] * 200, late=[1.0] * 200)


BUSY = QUIET._replace(waited=1.5)


LATE = QUIET._replace(lags=[1.0] * 197 + [30.0] * 3)


def samples(
    count: int = 200, *, slow: int = 0, failed: int = 0, ms: float = 5.0, slow_ms: float = 80.0
) -> list[Sample]:
    """A run of `count` requests, the first `slow` of them slow, the last `failed` of them failed."""
    return [
        Sample(PREDICT, number / 100, slow_ms if number < slow else ms, number < count - failed)
        for number in range(count)
    ]
