"""The statistics on made-up times, whose true ratio is known; and the limits of a change, which are its base's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from slipway.errors import ConfigError
from slipway.judging import latency_statistics
from slipway.judging.latency_client import ONE, Times
from slipway.loadtest import slo
from support.committed_project import begin, save
from support.latency_samples import LIMITS, limited, times
from support.paths import OBJECTIVE


def said(found: Times, limits: latency_statistics.Limits = LIMITS) -> dict[str, bool | None]:
    return {
        check.name.split(",")[0]: check.ok
        for check in latency_statistics.judge(latency_statistics.bootstrap_ratios([found], limits, seed=1), limits)
    }


def test_an_equal_service_passes_by_every_percentile():
    assert said(times()) == {"p50 of one row": True, "p95 of one row": True, "p50 of all rows": True}


def test_a_service_a_fifth_slower_is_refused():
    assert said(times(1.2))["p50 of one row"] is False


def test_each_percentile_has_a_tolerance_of_its_own():
    assert said(times(1.3)) == dict.fromkeys(said(times()), False)
    assert said(times(1.15, noise=0.01)) == {"p50 of one row": False, "p95 of one row": True, "p50 of all rows": True}


def test_a_slow_tail_is_refused_where_the_median_is_not():
    assert said(times(tail=4.0)) == {"p50 of one row": True, "p95 of one row": False, "p50 of all rows": True}


def test_rounds_in_which_something_else_ran_are_outside_the_middle():
    found = times(noise=0.01)
    disturbed, rows = found[ONE].copy(), np.random.default_rng(3).permutation(60)[:8]
    disturbed[rows[:6], 1] *= 8  # whom it meets is luck
    disturbed[rows[6:], 0] *= 8
    over_all = np.quantile(disturbed.swapaxes(0, 1).reshape(2, -1), 0.95, axis=1)
    assert over_all[1] / over_all[0] > 1.5
    noisy = {**found, ONE: disturbed}
    assert latency_statistics.bootstrap_ratios([noisy], LIMITS, seed=1)[1].more == pytest.approx(0, abs=0.06)
    assert said(noisy)["p95 of one row"] is not False
    disturbed[:40, 1] *= 8  # in two thirds of the rounds it is the service
    assert said(noisy)["p95 of one row"] is False


def test_the_middle_half_is_that_of_each_side():
    rounds = np.array([[9.0, 40.0], [1.0, 20.0], [2.0, 30.0], [3.0, 10.0]])
    assert latency_statistics.interquartile_mean(rounds).tolist() == [2.5, 25.0]
    assert latency_statistics.interquartile_mean(np.stack([rounds, 2 * rounds])).tolist() == [[2.5, 25.0], [5.0, 50.0]]


def test_a_wide_band_around_the_tolerance_cannot_tell():
    assert said(times(1.1, noise=0.3, rounds=20, seed=2))["p50 of one row"] is None


def test_a_wide_band_below_the_tolerance_is_still_a_yes():
    limits = LIMITS.model_copy(update={"band_at_most": 1e-9})
    assert said(times(0.5, noise=0.1), limits)["p50 of one row"] is True


def test_a_narrow_band_around_the_tolerance_is_tolerated():
    assert said(times(1.1, noise=0.01))["p50 of one row"] is True


def test_percentiles_and_band_are_told_in_milliseconds_and_parts():
    first = latency_statistics.bootstrap_ratios([times(1.2, noise=0.01)], LIMITS, seed=1)[0]
    assert first.head_ms / first.base_ms - 1 == pytest.approx(first.more)
    assert first.low < 0.2 < first.high
    assert 0.1 < first.base_ms < 0.3
    check = latency_statistics.judge([first], LIMITS)[0]
    assert check.name == "p50 of one row, more than the base's"
    assert check.limit == "≤ 10 % slower, known to ± 5 %"


@pytest.mark.parametrize(
    ("more", "low", "high", "text"),
    [
        (0.2, 0.18, 0.22, "p50 of one row is 20 % slower than the base (95 % interval 18 to 22 %)"),
        (-0.031, -0.05, -0.01, "p50 of one row is 3.1 % faster than the base (95 % interval −5 to −1 %)"),
        (
            0.06,
            -0.08,
            0.2,
            "p50 of one row is 6 % slower than the base (95 % interval −8 to 20 %), too uncertain to judge",
        ),
    ],
)
def test_check_is_a_sentence_of_percentages(more, low, high, text):
    interval = latency_statistics.RatioInterval(
        name="p50 of one row", base_ms=1.0, head_ms=1 + more, more=more, low=low, high=high, most=0.1
    )
    assert [check.text for check in latency_statistics.judge([interval], LIMITS)] == [text]


def test_measurements_are_pooled_and_a_seed_repeats_the_band():
    parts = [times(seed=1), times(seed=2)]
    assert latency_statistics.bootstrap_ratios(parts, LIMITS, seed=3) == latency_statistics.bootstrap_ratios(
        parts, LIMITS, seed=3
    )
    one, both = (
        latency_statistics.bootstrap_ratios(parts[:1], LIMITS, seed=3)[0],
        latency_statistics.bootstrap_ratios(parts, LIMITS, seed=3)[0],
    )
    assert both.high - both.low < one.high - one.low


@pytest.mark.parametrize("ratio", [1.0, 1.2])
def test_the_band_holds_the_truth_about_as_often_as_it_says(ratio: float):
    limits = LIMITS.model_copy(update={"resamples": 120})
    seen = [times(ratio, seed=seed, rounds=30, size=8) for seed in range(60)]
    held = [
        b.low <= ratio - 1 <= b.high
        for found in seen
        for b in latency_statistics.bootstrap_ratios([found], limits, seed=1)[:1]
    ]
    assert 52 <= sum(held) <= 60  # 95 % of 60 are 57; fewer than 52 are one in four hundred


def test_rounds_are_drawn_whole():
    """As if requests were independent, the noise of whole rounds would be taken for knowledge."""
    noisy: Callable[[], Times] = lambda: times(noise=0.2)  # noqa: E731
    shuffled = {kind: np.random.default_rng(1).permuted(found, axis=0) for kind, found in noisy().items()}
    whole, apart = (latency_statistics.bootstrap_ratios([found], LIMITS, seed=1)[0] for found in (noisy(), shuffled))
    assert whole.high - whole.low > 2 * (apart.high - apart.low)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with an objective."""
    folder = tmp_path / "a b é"
    (folder / "loadtests").mkdir(parents=True)
    shutil.copy(OBJECTIVE, folder / slo.PATH)
    limited(folder, LIMITS.model_dump())
    begin(folder)
    return save(folder)


def test_the_limits_are_the_bases_and_what_moves_is_told(project: Path):
    own, moved = latency_statistics.limits_at_base("HEAD", root=project)
    assert (own, moved) == (LIMITS, [])
    limited(project, LIMITS.model_dump() | {"seconds": 0.5})
    own, moved = latency_statistics.limits_at_base("HEAD", root=project)
    assert (own, moved) == (LIMITS, ["latency.seconds: 1.0 → 0.5"])


@pytest.mark.parametrize("before", [None, "no yaml: [", "- a list"])
def test_a_base_without_limits_holds_a_change_to_its_own(project: Path, before: str | None):
    own = (project / slo.PATH).read_text("utf-8")
    if before is None:
        limited(project, None)
    else:
        (project / slo.PATH).write_text(before, "utf-8")
    save(project)
    (project / slo.PATH).write_text(own, "utf-8")
    assert latency_statistics.limits_at_base("HEAD", root=project) == (LIMITS, [])


def test_limits_that_nobody_has_or_that_are_wrong_are_named(project: Path):
    limited(project, LIMITS.model_dump() | {"seconds": -1})
    with pytest.raises(ConfigError, match=r"slo\.yaml: latency: seconds is -1.* greater than 0") as caught:
        latency_statistics.own_limits(project)
    assert "section latency" in caught.value.hint
    save(project)
    with pytest.raises(ConfigError, match=r"slo\.yaml: latency: seconds is -1"):
        latency_statistics.limits_at_base("HEAD", root=project)  # a change's own too, or it would stop every later one
    limited(project, LIMITS.model_dump())
    with pytest.raises(ConfigError, match=r"slo\.yaml of the base HEAD: latency: seconds is -1"):
        latency_statistics.limits_at_base("HEAD", root=project)
    limited(project, None)
    with pytest.raises(ConfigError, match=r"slo\.yaml: latency: the section is None"):
        latency_statistics.own_limits(project)


def test_a_limit_that_the_bases_code_does_not_know_is_the_changes_own(project: Path):
    older = LIMITS.model_dump() | {"seconds": 0.5, "of_old": 1}
    del older["starts_at_most"]
    limited(project, older)
    save(project)
    limited(project, LIMITS.model_dump())
    own, moved = latency_statistics.limits_at_base("HEAD", root=project)
    assert own == LIMITS.model_copy(update={"seconds": 0.5})
    assert moved == ["latency.seconds: 0.5 → 1.0", "latency.of_old: 1 → None", "latency.starts_at_most: None → 3"]
