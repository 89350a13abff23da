"""The statistics of the canary's judge, against hand-made numbers and SciPy."""

from __future__ import annotations

import random

import pytest
from scipy import stats

from slipway.loadtest import canary_statistics
from slipway.pipeline import drift

EDGES = [0.0, 0.25, 0.5, 0.75, 1.0]


def counted(*counts: float) -> list[tuple[float, float]]:
    """What a histogram of EDGES says after so many predictions in each group."""
    total, found = 0.0, [(0.0, 0.0)]
    for edge, count in zip(EDGES[1:], counts, strict=True):
        total += count
        found.append((edge, total))
    return [*found, (float("inf"), total)]


def shift(before: list[int], *after: float, sent: int = 0, most: float = 0.25) -> object:
    return canary_statistics.check_prediction_shift(
        {"edges": EDGES, "counts": before}, counted(*after), sent, most
    ).value


def test_shift_is_the_population_stability_index() -> None:
    assert shift([10, 20, 30, 40], 1, 2, 3, 4) == 0
    apart = drift.population_stability_index([0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1])
    assert shift([10, 20, 30, 40], 40, 30, 20, 10) == pytest.approx(apart, abs=1e-4)
    far = canary_statistics.check_prediction_shift(
        {"edges": EDGES, "counts": [10, 20, 30, 40]}, counted(40, 30, 20, 10), 100, 0.25
    )
    assert far.ok is False


def test_shift_joins_groups_that_nearly_nobody_was_in() -> None:
    joined = drift.population_stability_index([0.5, 0.5], [0.4, 0.6])
    assert shift([1000, 980, 10, 10], 40, 40, 10, 10) == pytest.approx(joined, abs=1e-3)
    assert shift([0, 0, 0, 100], 50, 30, 10, 10) == 0  # one group is left: nothing can be told apart


@pytest.mark.parametrize(("sent", "ok"), [(100, True), (101, None)])
def test_shift_is_unsure_when_fewer_were_counted_than_sent(sent: int, ok: bool | None) -> None:
    check = canary_statistics.check_prediction_shift(
        {"edges": EDGES, "counts": [1, 1, 1, 1]}, counted(25, 25, 25, 25), sent, 0.25
    )
    assert check.ok is ok
    assert (ok is None) == (check.value == "100 of 101 predictions counted")


def test_shift_is_unsure_of_other_groups_and_of_nothing() -> None:
    other = canary_statistics.check_prediction_shift(
        {"edges": [0.0, 0.3, 1.0], "counts": [1, 1]}, counted(1, 1, 1, 1), 1, 0.25
    )
    assert (other.ok, other.value) == (None, "counted in other groups")
    assert canary_statistics.check_prediction_shift({"edges": EDGES, "counts": [1, 1, 1, 1]}, None, 0, 0.25).ok is None
    assert (
        canary_statistics.check_prediction_shift(
            {"edges": EDGES, "counts": [1, 1, 1, 1]}, counted(0, 0, 0, 0), 0, 0.25
        ).ok
        is None
    )


def test_shift_counts_what_lies_outside_in_the_end_groups() -> None:
    above = [*counted(10, 0, 0, 0)[:-1], (float("inf"), 40.0)]  # thirty are above the highest edge
    check = canary_statistics.check_prediction_shift({"edges": EDGES, "counts": [25, 25, 25, 25]}, above, 40, 9.0)
    apart = drift.population_stability_index([0.25] * 4, [0.25, 0, 0, 0.75])
    assert check.value == pytest.approx(apart, abs=1e-3)


def test_order_is_the_rank_correlation() -> None:
    rng = random.Random(3)
    pairs = [(x := rng.randint(0, 9) / 10, x + rng.random()) for _ in range(200)]  # with ties
    value = stats.spearmanr([a for a, _ in pairs], [b for _, b in pairs]).statistic
    assert canary_statistics.check_rank_correlation(pairs, 0.5).value == pytest.approx(value, abs=1e-4)
    assert [canary_statistics.check_rank_correlation(pairs, least).ok for least in (0.3, 0.9)] == [True, False]


def test_order_of_a_constant_is_none() -> None:
    assert canary_statistics.check_rank_correlation([(0.1, 0.5), (0.2, 0.5)], 0.5).ok is False
    assert canary_statistics.check_rank_correlation([(0.5, 0.1), (0.5, 0.2)], 0.5).ok is None
    assert canary_statistics.check_rank_correlation([], 0.5).ok is None


def times(mean: float, count: int = 600, *, seed: int = 0) -> list[float | None]:
    rng = random.Random(seed)
    return [rng.expovariate(1 / mean) for _ in range(count)]


@pytest.mark.parametrize(("mean", "ok"), [(2.0, True), (2.5, True), (30.0, False), (5.5, None)])
def test_slower_says_no_only_when_the_whole_interval_does(mean: float, ok: bool | None) -> None:
    check = canary_statistics.check_latency_ratio(times(2.0), times(mean, seed=1), times=1.5, limit_ms=8)
    assert check.ok is ok, check
    assert check.low is not None
    assert check.high is not None
    assert check.low <= float(check.value or 0) <= check.high


def test_slower_leaves_out_what_was_not_answered_well() -> None:
    some: list[float | None] = [2.0, None] * 300
    check = canary_statistics.check_latency_ratio(some, some, times=1.0, limit_ms=1)
    assert (check.value, check.low, check.high, check.ok) == (0.0, 0.0, 0.0, True)


def test_slower_allows_the_multiple_and_some_milliseconds() -> None:
    stable: list[float | None] = [10.0] * 100
    canary: list[float | None] = [20.0] * 100
    assert canary_statistics.check_latency_ratio(stable, canary, times=1.5, limit_ms=5).ok is True
    assert canary_statistics.check_latency_ratio(stable, canary, times=1.4, limit_ms=5).ok is False
