"""The demo's sentences, from records as the checks write them."""

from __future__ import annotations

from typing import Any

import pytest

from slipway.core.verdict import Check, Verdict
from slipway.sandbox import demo_results
from slipway.sandbox.demo_results import Result
from support.load_samples import PREDICT, SLO

GROUP = {"limit": "≤ 0.03 or low ≤ 0", "low": 0.01, "high": 0.08}


def record(*checks: Check, **notes: Any) -> dict[str, Any]:
    return Verdict(chapter="any", checks=checks, notes=notes).record()


def difference(value: float, low: float, high: float, against: str = "champion") -> Check:
    return Check(name=f"log_loss vs {against}", value=value, low=low, high=high, limit="high < 0.006", ok=high < 0.006)


def group(name: str, value: float, *, ok: bool = False) -> Check:
    return Check(name=f"log_loss vs champion, {name}", value=value, ok=ok, **GROUP)  # type: ignore[arg-type]


def judged(*checks: Check, against: str = "champion") -> list[Result]:
    metrics = {"challenger": {"log_loss": 0.4227}, "champion": None}
    return demo_results.judged(record(*checks, against=against, metrics=metrics), confidence=0.95)


def test_better_model_is_not_worse_than_production() -> None:
    assert judged(difference(-0.003, -0.00702, 0.0006)) == [
        Result(
            True, "not worse than production: log loss 0.003 lower (95 % interval −0.007 to +0.001; allowed: +0.006)"
        )
    ]


def test_worse_model_names_the_worst_group() -> None:
    results = judged(
        difference(0.0357, 0.0242, 0.0474), group("carrier=WN", 0.053), group("carrier=B6", 0.04),
        group("origin=JFK", 0.01, ok=True), Check(name="auc floor", value=0.59, limit="≥ 0.6", ok=False),
    )  # fmt: skip
    assert results == [
        Result(False, "worse than production: log loss 0.036 higher (95 % interval +0.024 to +0.047; allowed: +0.006)"),
        Result(False, "also worse for 2 groups of rows, most for carrier WN: +0.053"),
        Result(False, "auc floor is 0.59; allowed: at least 0.6"),
    ]


def test_first_model_is_compared_with_guessing() -> None:
    assert judged(difference(-0.0623, -0.0851, -0.0435, against="dummy"), against="dummy") == [
        Result(True, "better than guessing: log loss 0.423 vs 0.485")
    ]


def test_too_few_rows_are_undecided() -> None:
    assert judged(Check(name="paired rows", value=9, limit="≥ 1000", ok=None)) == [
        Result(None, "paired rows is 9; allowed: at least 1000")
    ]


@pytest.mark.parametrize(
    ("summary", "text"),
    [
        (
            "boosting on 245,697 rows before 2013-11-01",
            "trained on 245,697 rows, checked for leaks from the future",
        ),
        ("boosting", "trained, checked for leaks from the future"),
        ("", "model taken from DVC's cache: trained before, on the same data and code"),
    ],
)
def test_training_is_told_from_the_cache(summary: str, text: str) -> None:
    assert demo_results.trained(summary) == Result(True, text)


def test_proof_counts_checks_or_names_the_failing_one() -> None:
    good, bad = (Check(name=f"metrics {ok}", value="auc", limit="equal", ok=ok) for ok in (True, False))
    assert demo_results.proven(record(good, good)) == [Result(True, "results match what is committed (2 checks)")]
    assert demo_results.proven(record(good, bad)) == [
        Result(False, "results do not match what is committed: metrics False is auc; expected: equal")
    ]


def test_response_time_has_its_allowance() -> None:
    rounds = Check(name="rounds", value=40, limit="≥ 20", ok=True)
    table = [["p50 of one row", 0.25, 0.25, -0.004, -0.01, 0.01, 0.1], ["p95 of one row", 1, 2, 3, 4, 5, 6]]
    assert demo_results.timed(record(rounds, table=table)) == [Result(True, "not slower: −0.4 % (allowed: +10 %)")]
    assert demo_results.timed(record(rounds)) == []
    slower = Check(name="p50 of one row", value=0.3, limit="≤ 0.1", ok=False)
    assert [result.ok for result in demo_results.timed(record(rounds, slower, table=table))] == [False]


def test_load_test_names_its_slowest_endpoint() -> None:
    checks = [
        Check(name=f"{PREDICT} errors", value=0.0, limit="≤ 0.01 of the requests", ok=True),
        Check(name=f"{PREDICT} p95_ms", value=2.51, limit="≤ 50 ms", ok=True),
    ]
    limit, rate = SLO.endpoints[PREDICT].p95_ms_at_most, SLO.schedules["machine"].rate
    text = f"staging: 1,500 requests at {rate:g}/s, p95 2.5 ms (allowed: {limit:g} ms)"
    assert demo_results.loaded(record(*checks) | {"rows": 1500}, SLO) == [Result(True, text)]


def test_load_test_in_a_cluster_is_quoted_evidence() -> None:
    evidence = {"load": "pass", "requests": 1800, "p95_ms": 4.26}
    assert demo_results.load_evidence(evidence).text == "staging: load test in the cluster: 1,800 requests, p95 4.3 ms"
    assert demo_results.load_evidence(None).text == "staging: load test in the cluster: passed"
