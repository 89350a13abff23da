"""The arithmetic behind docs/judge.md, and that the page says what was measured with the settings that hold."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import polars as pl
import pytest

from slipway import config, files

ROOT = Path(__file__).resolve().parents[1]


def loaded(name: str) -> ModuleType:
    """A module of benchmarks/, which is a folder of scripts and no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


rates = loaded("judge_rates")


def pair(rows: int = 20_000, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    rng = np.random.default_rng(seed)
    truth = rng.beta(2, 6, rows)
    return (rng.random(rows) < truth).astype(float), truth, truth, [seed]


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    told = binomtest(3, 40).proportion_ci(method="wilson")
    assert rates.wilson(3 / 40, 40) == pytest.approx((told.low, told.high), abs=1e-4)


@pytest.mark.parametrize("kind", rates.KINDS)
def test_dose_costs_exactly_the_effect(kind):
    target, own, other, seed = pair()
    dose = rates.dose_for(kind, 0.008, [(target, own, other, seed)])
    lost = rates.metrics.loss("binary", target, rates.worse(kind, own, dose, seed))
    assert np.mean(lost - rates.metrics.loss("binary", target, other)) == pytest.approx(0.008, abs=1e-4)


def test_swapped_models_trade_whole_days():
    day = np.repeat(np.arange(rates.HELD), 5)
    own, other = rates.swapped(np.zeros(len(day)), np.ones(len(day)), day, [0])
    assert np.all(own + other == 1)
    assert {tuple(own[day == d]) for d in range(rates.HELD)} == {(0.0,) * 5, (1.0,) * 5}


def test_windows_never_overlap_nor_leave_the_days_held_back():
    for days in (14, 30, 90):
        found = rates.windows(days)
        assert all(end - first == days for first, end in found)
        assert [first for first, _ in found[1:]] == [end for _, end in found[:-1]]
        assert found[-1][1] <= rates.HELD


def test_days_needed_are_none_when_luck_alone_forbids():
    assert rates.days_needed(0.003, spread=0.005, luck=0.0, confidence=0.95) == 37  # ((1.96 + 1.645) * 5 / 3)²
    assert rates.days_needed(0.003, spread=0.005, luck=0.003, confidence=0.95) is None


def test_luck_of_a_pair_is_what_its_windows_share():
    rng = np.random.default_rng(3)
    own, pairs, windows = rng.normal(0, 0.002, 4000), 4000, 3
    frame = pl.DataFrame({
        "cut": 0, "pair": np.repeat(np.arange(pairs), windows), "challenger": "a", "window": [0, 1, 2] * pairs,
        "value": np.repeat(own, windows) + rng.normal(0, 0.004, pairs * windows),
    })  # fmt: skip
    assert rates.luck(frame) == pytest.approx(0.002, rel=0.1)


def test_trials_of_one_window_count_less_when_they_agree():
    frame = pl.DataFrame({"cut": 0, "pair": list(range(10)) * 4, "window": [w for w in range(4) for _ in range(10)]})
    same = frame.with_columns(hit=pl.col("window") == 0)
    mixed = frame.with_columns(hit=pl.col("pair") == 0)
    assert rates.effective(same, pl.col("hit")) < rates.effective(mixed, pl.col("hit")) == 40


def test_page_is_what_the_record_says():
    page = loaded("judge_page")
    record, text = files.read_json(ROOT / "docs/judge.json"), (ROOT / "docs/judge.md").read_text(encoding="utf-8")
    assert page.filled(text, page.tables(record)) == text, "make bench NAME=judge ARGS=--page"


def test_record_is_about_the_limits_that_hold():
    told, limits = files.read_json(ROOT / "docs/judge.json")["settings"], config.load(ROOT / "params.yaml").judge
    held = {name: getattr(limits, name) for name in ("margin", "slice_margin", "confidence", "min_days")}
    assert held.items() <= told.items(), "make bench NAME=judge"
