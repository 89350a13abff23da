from __future__ import annotations

import pytest

from slipway.core.verdict import Check, Verdict
from slipway.reporting.report_model import CheckRecord as CheckRecord
from slipway.reporting.summary import describe_check, headline, metric_deltas, number, slice_rows
from support.sample_reports import REGRESSION, facts, judged, paced, ruled


def test_a_better_challenger_is_called_better():
    head = headline(facts())
    assert (head.word, head.title) == ("pass", "Better than the champion")
    assert head.why == ["log_loss vs champion −0.0100 [−0.0200, −0.0050], limit high < 0.003"]


def test_a_pass_that_crosses_zero_is_only_not_worse():
    assert headline(facts(judge=judged(high=0.001))).title == "Not worse than the champion"


def test_a_refusal_names_what_stopped_it():
    head = headline(facts(judge=judged(value=0.05, low=0.03, high=0.07, ok=False)))
    assert (head.word, head.title) == ("fail", "Refused: worse than the champion")
    assert head.why == ["log_loss vs champion +0.0500 [+0.0300, +0.0700], limit high < 0.003"]


def test_a_wide_interval_is_refused_without_being_called_worse():
    refused = judged(value=0.001, low=-0.01, high=0.02, ok=False)
    assert headline(facts(judge=refused)).title == "Refused: not shown to be good enough"


def test_too_little_measured_is_unsure():
    head = headline(facts(judge=judged(ok=None)))
    assert (head.word, head.title) == ("unsure", "Cannot tell: too little was measured")


def test_no_judge_is_never_a_pass():
    assert headline(facts(gates={})).word == "unsure"
    assert headline(facts(gates={"judge": {"verdict": "fine"}})).word == "unsure"


def test_a_verdict_about_another_model_does_not_count():
    stale = judged() | {"inputs": {"challenger": "e" * 64}}
    head = headline(facts(judge=stale))
    assert (head.word, head.title) == ("unsure", "Judged another model")
    assert headline(facts(judge=judged() | {"inputs": {"challenger": "sha256:" + "c" * 64}})).word == "pass"


def test_another_gate_that_fails_refuses_too():
    missed = Verdict(chapter="load", checks=[Check(name="p95_ms", value=90.0, limit="≤ 50", ok=False)]).record()
    head = headline(facts(gates={"judge": judged(), "load": missed}))
    assert (head.word, head.title) == ("fail", "Refused: by load")
    assert head.why == ["p95_ms 90, limit ≤ 50"]


def test_manifests_that_fail_refuse_a_good_model():
    head = headline(facts(gates={"judge": judged(), "manifests": ruled(ok=False)}))
    assert (head.word, head.title) == ("fail", "Refused: what it deploys does not build, or breaks a rule")
    assert headline(facts(gates={"judge": judged(), "manifests": ruled()})).word == "pass"


def test_a_slower_service_refuses_a_good_model():
    head = headline(facts(gates={"judge": judged(), "latency": paced(more=0.2, ok=False)}))
    assert (head.word, head.title) == ("fail", "Refused: its service is slower than the base's, or fails")
    assert head.why == ["p50 of one row, more than the base's +0.2000 [+0.1800, +0.2200], limit low ≤ 0.1"]
    unsure = headline(facts(gates={"judge": judged(), "latency": paced(ok=None)}))
    assert (unsure.word, unsure.title) == ("unsure", "Cannot tell: by latency")


def test_a_delta_is_judged_by_its_metric():
    found = {delta.name: delta for delta in metric_deltas(facts())}
    assert found["log loss"].words == "▼ 0.0100 better"
    assert found["AUC"].words == "▼ 0.0100 worse"
    assert found["Brier score"].words == "as before"
    assert (found["AUC"].low, found["AUC"].high) == (0.69, 0.73)


def test_without_a_champion_the_dummy_is_the_reference():
    given = facts(metrics=REGRESSION, judge=judged(against="dummy", metrics={"champion": None}))
    found = {delta.name: delta for delta in metric_deltas(given)}
    assert found["squared error"].before == 342.2
    assert found["R²"].words == "–"
    assert headline(given).title == "Better than the dummy baseline"


def test_an_unknown_metric_is_shown_but_not_judged():
    given = facts(metrics={"profit_eur": 12.5}, judge=judged(metrics={"champion": {"profit_eur": 10.0}}))
    assert [(delta.name, delta.words) for delta in metric_deltas(given)] == [("profit eur", "▲ 2.5")]


def test_the_slice_that_got_worst_comes_first():
    rows = [
        {"slice": "carrier", "value": v, "rows": 9, "target": 0.1, "loss": loss}
        for v, loss in (("AA", 0.9), ("UA", 0.1))
    ]
    found = slice_rows(facts(slices=rows))
    assert [(row.value, row.better) for row in found] == [("UA", False), ("AA", None)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (1000, "1,000"), (0.42367, "0.4237"), (-0.01, "−0.0100"), (3.2e-7, "3.2e-7"), (0.0, "0"),
        (7.1, "7.1"), (1048.4, "1,048"), (342.21, "342.2"), (100.0, "100"), ("nan", "nan"), (True, "True"),
        (float("nan"), "nan"), (-1500, "−1,500"),
    ],
)  # fmt: skip
def test_a_number_is_short_to_read(value: object, text: str):
    assert number(value) == text


def test_only_a_difference_is_signed():
    assert (
        describe_check(CheckRecord(name="auc floor", value=0.7, limit="≥ 0.65", ok=True))
        == "auc floor 0.7000, limit ≥ 0.65"
    )
    assert number(0.5, signed=True) == "+0.5000"
