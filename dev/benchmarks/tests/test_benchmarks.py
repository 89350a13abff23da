"""The arithmetic behind dev/docs/judge.md and the delivery's figures, and that each page agrees with its record."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest

from slipway.core import config, files
from slipway.judging import latency_statistics

ROOT = Path(__file__).resolve().parents[3]


def loaded(name: str) -> ModuleType:
    """A module of dev/benchmarks/, which is a folder of scripts and no package."""
    sys.path.insert(0, str(ROOT / "dev/benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)


rates = loaded("judge_rates")
moments = loaded("delivery_moments")


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
    lost = rates.metrics.row_losses("binary", target, rates.worse(kind, own, dose, seed))
    assert np.mean(lost - rates.metrics.row_losses("binary", target, other)) == pytest.approx(0.008, abs=1e-4)


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
    record, text = (
        files.read_json(ROOT / "dev/figures/judge.json"),
        (ROOT / "dev/docs/judge.md").read_text(encoding="utf-8"),
    )
    assert page.filled(text, page.tables(record)) == text, "make bench NAME=judge ARGS=--page"


def test_page_of_the_year_is_what_its_record_says():
    year = loaded("monitor_year")
    record, text = files.read_json(year.RECORD), year.PAGE.read_text(encoding="utf-8")
    assert year.filled(text, year.tables(record)) == text, "make bench NAME=monitor_year ARGS=--page"
    assert record["settings"] == config.load(ROOT / "params.yaml").monitor.model_dump(mode="json")
    assert all(sum(bool(week["failed"]) for week in each["weeks"]) <= 4 for each in record["starts"])


def test_runs_of_weeks_are_written_short():
    assert loaded("monitor_year").ranges([0, 1, 2, 7]) == "0–2, 7"
    assert loaded("monitor_year").ranges([]) == "none"


def test_performance_page_is_what_its_records_say():
    page = loaded("performance")
    text = (ROOT / "dev/docs/performance.md").read_text(encoding="utf-8")
    assert page.filled(text, page.parts()) == text, "make bench NAME=performance"


def test_performance_picture_is_of_its_record():
    assert (ROOT / "dev/figures/performance.svg").read_text(encoding="utf-8").endswith(loaded("performance").mark())


def test_latency_record_is_about_the_limits_that_hold():
    told = files.read_json(ROOT / "dev/figures/latency.json")
    assert told["limits"] == latency_statistics.own_limits(ROOT).model_dump(), "make bench NAME=latency"
    no_change, slower = told["kinds"][:2]
    assert (no_change["pass"], no_change["trials"]) == (40, 40)
    assert slower["fail"] >= 36


def test_limits_of_serving_are_by_visits_of_the_same_turn():
    figures = loaded("serving_figures")
    cells = [{"rows": 1, "connections": 8, "rps": rps} for rps in (100, 200)]
    other = [{"rows": 1, "connections": 8, "rps": rps} for rps in (50, 50)]
    assert figures.ratios({"visits": cells}, {"visits": other}, "rps", 1, 8) == [2, 4]
    assert figures.middle({"visits": cells}, "rps", 1, 8) == 150


def test_closure_of_packages_holds_what_they_need_and_only_that():
    figures = loaded("serving_figures")
    alone, size = figures.closure(["idna"])
    assert alone == 1
    assert size > 10_000
    more, _ = figures.closure(["anyio"])
    assert more >= 2


def test_record_is_about_the_limits_that_hold():
    told, limits = files.read_json(ROOT / "dev/figures/judge.json")["settings"], config.load(ROOT / "params.yaml").judge
    held = {name: getattr(limits, name) for name in ("margin", "slice_margin", "confidence", "min_days")}
    assert held.items() <= told.items(), "make bench NAME=judge"


MINUTE = datetime(2026, 11, 21, 12, tzinfo=UTC)


def second(number: float) -> datetime:
    return MINUTE + timedelta(seconds=number)


def test_parts_of_a_release_add_up_to_it():
    cut = moments.parts(MINUTE, [
        moments.Moment("build", second(8)), moments.Moment("notices", second(10), waiting=True),
        moments.Moment("told too early", second(9.5)), moments.Moment("load", second(40)),
    ])  # fmt: skip
    assert [part.seconds for part in cut] == [8, 2, 0, 30]
    assert moments.whole(cut) == 40
    assert moments.waited(cut) == 0.05


def test_a_sync_of_staging_waits_where_nobody_works():
    def pod(end: dict[str, dict[str, str]]) -> dict[str, Any]:
        at = {"PodScheduled": "12:00:03Z", "Ready": "12:00:09Z"}
        conditions = [{"type": kind, "lastTransitionTime": f"2026-11-21T{moment}"} for kind, moment in at.items()]
        return {"metadata": {"creationTimestamp": "2026-11-21T12:00:11Z"},
                "status": {"conditions": conditions, "containerStatuses": [{"state": end}]}}  # fmt: skip

    service = pod({"running": {"startedAt": "2026-11-21T12:00:05Z"}})
    gate = pod({"terminated": {"startedAt": "2026-11-21T12:00:12Z", "finishedAt": "2026-11-21T12:00:46Z"}})
    log = "2026-11-21T12:00:05.1Z loaded\n2026-11-21T12:00:08.500000001Z Service Predictor initialized\n"
    found = moments.staged(service, log, gate, (second(2), second(47)))
    assert [(one.at - MINUTE).total_seconds() for one in found] == [2, 3, 5, 8.5, 9, 11, 12, 46, 47]
    assert moments.waited(moments.parts(MINUTE, found)) == pytest.approx(5.5 / 47)


def test_what_clients_saw_counts_failures_and_retries_apart():
    rows = [["POST /predict", at / 10, float(at), True, 1] for at in range(97)]
    rows += [["POST /predict", 9.7, 97.0, True, 2], ["POST /predict", 9.8, 98.0, False, 2], ["", 9.9, 99.0, False, 1]]
    seen = moments.sent(rows)
    assert (seen.requests, seen.failed, seen.retried, seen.mended) == (100, 2, 2, 1)
    assert (seen.p95_ms, seen.p99_ms, seen.most_ms, seen.failures) == (94, 98, 99, [9.8, 9.9])
    assert moments.sent([]).p95_ms == float("inf")


# Where the seconds go: each in one place, and the loop's own words understood


@pytest.fixture(scope="module")
def cost() -> ModuleType:
    return loaded("cost")


def line(*words: str, **seconds: float) -> dict[str, Any]:
    return {"words": list(words), "start": 0.1, **seconds}


def test_rows_add_up_to_the_whole(cost: ModuleType) -> None:
    lines = [
        line("slipway", "ingest", **{"import": 0.4, "read": 1.0, "compute": 0.5, "write": 0.2}),
        line("slipway", "train", **{"import": 1.0, "compute": 3.0}),
        line("dvc", "repro", **{"import": 0.5, "compute": 7.5}),
    ]
    rows = cost.repro("cold", 8.5, lines)
    assert [(row["name"], row["seconds"]) for row in rows] == [
        ("ingest", 2.2), ("train", 4.1), ("DVC", 1.8), ("ends of processes", 0.4), ("cold", 8.5),
    ]  # fmt: skip
    assert rows[2]["compute"] == pytest.approx(1.2)  # the stages it waited for are not its own
    assert sum(row["seconds"] for row in rows[:-1]) == pytest.approx(8.5)


def test_loops_own_words_are_its_steps(cost: ModuleType) -> None:
    said = (
        "\nPrepare\n  clone     7df7e516b85d with a bare remote of its own 0.3 s \n  note 36 changed files\n"
        "\n1 · main as it is\n  prove     21 checks 8.9 s pass\n"
    )
    assert cost.steps(said) == [
        {"act": "Prepare", "chapter": "clone", "seconds": 0.3},
        {"act": "1 · main as it is", "chapter": "prove", "seconds": 8.9},
    ]


def test_a_process_counts_its_own_seconds_once(cost: ModuleType, tmp_path: Path) -> None:
    seconds, lines, said = cost.traced([sys.executable, "-m", "slipway", "--help"], tmp_path)
    assert "ingest" in said
    [one] = lines
    assert one["words"] == ["slipway", "--help"]
    assert 0.02 < one["import"] < seconds
    assert seconds - 1 < cost.row("it", lines)["seconds"] <= seconds + 0.05


def test_reading_and_writing_are_told_apart(cost: ModuleType, tmp_path: Path) -> None:
    package = tmp_path / "src/slipway"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import time, pathlib\n"
        "at = pathlib.Path('file')\n"
        "at.write_text('x' * 30_000_000)\n"
        "at.read_text()\n"
        "time.sleep(0.3)\n"
    )
    _, [one], _ = cost.traced([sys.executable, "-m", "slipway"], tmp_path)
    assert 0.3 <= one["compute"] < 0.6
    assert one["write"] > 0.005
    assert one["read"] > 0.005
