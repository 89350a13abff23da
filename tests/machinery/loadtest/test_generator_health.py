"""The generator about itself: what it says is ok or unsure, and never a word about the service."""

from __future__ import annotations

import pytest

from slipway.loadtest import generator_health
from slipway.loadtest.generator_health import Generator, Limits

LIMITS = Limits(lag_ms_at_most=25, cpu_at_most=0.8)
QUIET = Generator(seconds=10, ran=1, waited=1, lags=[1.0] * 100, late=[2.0] * 100)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.95, 4.0), (0.25, 1.0), (1.0, 4.0)])
def test_percentile_is_a_value_that_was_measured(share: float, value: float) -> None:
    assert generator_health.percentile([4.0, 1.0, 3.0, 2.0], share) == value
    assert generator_health.percentile([], share) is None


@pytest.mark.parametrize(
    ("of", "oks", "values"),
    [
        (QUIET, (True, True), (2.0, 0.2)),
        (QUIET._replace(lags=[1.0] * 99 + [99.0]), (True, True), (2.0, 0.2)),
        (QUIET._replace(lags=[1.0] * 98 + [26.0] * 2), (None, True), (26.0, 0.2)),
        (QUIET._replace(late=[1.0] * 98 + [26.0] * 2), (None, True), (26.0, 0.2)),
        (QUIET._replace(late=[]), (True, True), (1.0, 0.2)),
        (QUIET._replace(late=[], lags=[]), (None, True), (None, 0.2)),
        (QUIET._replace(ran=8), (True, None), (2.0, 0.9)),
        (QUIET._replace(waited=7.5), (True, None), (2.0, 0.85)),
        (QUIET._replace(seconds=0), (True, None), (2.0, None)),
    ],
)
def test_a_busy_or_late_generator_is_unsure(
    of: Generator, oks: tuple[bool | None, ...], values: tuple[float | None, ...]
) -> None:
    found = generator_health.checks(of, LIMITS)
    assert tuple(check.ok for check in found) == oks
    assert tuple(check.value for check in found) == values
