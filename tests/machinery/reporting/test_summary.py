from __future__ import annotations

from slipway.core.verdict import Check, Verdict
from slipway.reporting.report_model import CheckRecord, Data
from slipway.reporting.summary import (
    by_shift,
    describe_check,
    describe_gate,
    describe_shifts,
    describe_size,
    headline,
    metric_deltas,
    slice_rows,
)
from support.sample_reports import REGRESSION, facts, judged, paced, ruled


def test_a_better_challenger_is_called_better():
    head = headline(facts())
    assert (head.word, head.title) == ("pass", "Better than production")
    assert head.why == ["Log loss is 0.0100 better than production (95 % interval 0.0050 to 0.0200)"]


def test_a_pass_that_crosses_zero_is_only_not_worse():
    head = headline(facts(judge=judged(high=0.001)))
    assert head.title == "Not worse than production"
    assert head.why == ["Log loss shows no clear change from production (95 % interval 0.020 better to 0.001 worse); "
                        "allowed: at most 0.003 worse"]  # fmt: skip


def test_a_pass_within_the_margin_is_not_called_equal():
    head = headline(facts(judge=judged(value=0.001, low=0.0005, high=0.002)))
    assert head.title == "Slightly worse than production, within what is allowed"


def test_a_refusal_names_what_stopped_it():
    head = headline(facts(judge=judged(value=0.05, low=0.03, high=0.07, ok=False)))
    assert (head.word, head.title) == ("fail", "Refused: worse than production")
    assert head.why == [
        "Log loss is 0.050 worse than production (95 % interval 0.030 to 0.070); allowed: at most 0.003 worse"
    ]


def test_a_wide_interval_is_refused_without_being_called_worse():
    refused = judged(value=0.001, low=-0.01, high=0.02, ok=False)
    head = headline(facts(judge=refused))
    assert head.title == "Refused: not shown to be as good as production"
    assert head.why[0].startswith("Log loss may be up to 0.020 worse than production")


def test_a_refusal_for_a_slice_alone_says_so():
    refused = judged()
    refused["verdict"], refused["checks"] = "fail", [*refused["checks"], refused["checks"][1] | {"ok": False}]
    assert headline(facts(judge=refused)).title == "Refused: worse than production for 1 slice of the data"
    refused["checks"][1:] = [{"name": "auc floor", "value": 0.5, "limit": "≥ 0.6", "ok": False}]
    assert headline(facts(judge=refused)).title == "Refused: the model, or its test window, does not meet a requirement"


def test_too_little_measured_is_unsure():
    head = headline(facts(judge=judged(ok=None)))
    assert (head.word, head.title) == ("unsure", "Inconclusive: too little was measured")


def test_no_judge_is_never_a_pass():
    assert headline(facts(gates={})).word == "unsure"
    assert headline(facts(gates={"judge": {"verdict": "fine"}})).word == "unsure"


def test_a_verdict_about_another_model_does_not_count():
    stale = judged() | {"inputs": {"challenger": "e" * 64}}
    head = headline(facts(judge=stale))
    assert (head.word, head.title) == ("unsure", "Inconclusive: another model was judged")
    assert headline(facts(judge=judged() | {"inputs": {"challenger": "sha256:" + "c" * 64}})).word == "pass"


def test_another_gate_that_fails_refuses_too():
    missed = Verdict(chapter="load", checks=[Check(name="p95_ms", value=90.0, limit="≤ 50", ok=False)]).record()
    head = headline(facts(gates={"judge": judged(), "load": missed}))
    assert (head.word, head.title) == ("fail", "Refused: the service is too slow under load, or fails")
    assert head.why == ["p95_ms: 90; allowed: at most 50"]


def test_manifests_that_fail_refuse_a_good_model():
    head = headline(facts(gates={"judge": judged(), "manifests": ruled(ok=False)}))
    assert (head.word, head.title) == ("fail", "Refused: the Kubernetes manifests do not build, or break a rule")
    assert headline(facts(gates={"judge": judged(), "manifests": ruled()})).word == "pass"


def test_a_slower_service_refuses_a_good_model():
    head = headline(facts(gates={"judge": judged(), "latency": paced(more=0.2, ok=False)}))
    assert (head.word, head.title) == ("fail", "Refused: the service is slower than before, or fails")
    assert head.why == ["p50 of one row, more than the base's: +0.2000 (+0.1800 to +0.2200); expected: low ≤ 0.1"]
    unsure = headline(facts(gates={"judge": judged(), "latency": paced(ok=None)}))
    assert (unsure.word, unsure.title) == ("unsure", "Inconclusive: latency measured too little")


def test_a_delta_is_judged_by_its_metric():
    found = {delta.name: delta for delta in metric_deltas(facts())}
    assert [found[name].words for name in ("log loss", "AUC", "Brier score")] == ["better", "worse", "no clear change"]
    assert [found[name].direction for name in ("log loss", "AUC")] == ["lower is better", "higher is better"]
    assert found["AUC"].interval == "−0.0210 to −0.0040"


def test_a_delta_without_an_interval_is_not_judged():
    found = {delta.name: delta for delta in metric_deltas(facts(judge=judged(metrics={"champion": {"auc": 0.1}})))}
    auc = found["AUC"]
    assert (auc.words, auc.difference, auc.interval, auc.better) == ("no interval", "+0.61", "–", None)


def test_the_changes_of_another_model_do_not_count():
    stale = judged() | {"inputs": {"challenger": "e" * 64}}
    assert {delta.better for delta in metric_deltas(facts(judge=stale))} == {None}


def test_without_a_champion_the_dummy_is_the_reference():
    given = facts(metrics=REGRESSION, judge=judged(against="dummy", metrics={"champion": None}))
    found = {delta.name: delta for delta in metric_deltas(given)}
    assert found["squared error"].before == 342.2
    assert found["R²"].words == "–"
    assert headline(given).title == "Better than the baseline"


def test_an_unknown_metric_is_shown_but_not_judged():
    given = facts(metrics={"profit_eur": 12.5}, judge=judged(metrics={"champion": {"profit_eur": 10.0}}))
    assert [(delta.name, delta.words) for delta in metric_deltas(given)] == [("profit eur", "no interval")]
    changes = {"profit_eur": {"difference": 2.5, "low": 1.0, "high": 4.0}}
    paired = judged(metrics={"champion": {"profit_eur": 10.0}, "changes": changes})
    [delta] = metric_deltas(facts(metrics={"profit_eur": 12.5}, judge=paired))
    assert (delta.words, delta.better, delta.difference) == ("changed", None, "+2.5")


def test_the_slice_that_got_worst_comes_first():
    rows = [
        {"slice": "carrier", "value": v, "rows": 9, "target": 0.1, "loss": loss}
        for v, loss in (("AA", 0.9), ("UA", 0.1))
    ]
    found = slice_rows(facts(slices=rows))
    assert [(row.value, row.better) for row in found] == [("UA", False), ("AA", None)]


def test_a_slice_that_is_the_whole_is_left_out():
    rows = [{"slice": "month", "value": "10", "rows": 1000, "target": 0.1, "loss": 0.4}, *facts().record()["slices"]]
    assert [row.slice for row in slice_rows(facts(slices=rows))] == ["carrier"]


def test_inputs_are_sorted_and_counted_by_the_larger_shift():
    data = Data.model_validate({"train": [None, None], "inputs": [
        {"input": "a", "train": 0.1, "test": 0.2}, {"input": "b", "train": 0.0, "test": 0.9},
        {"input": "c", "train": 0.5, "test": 0.0}, {"input": "d", "train": None, "test": None}]})  # fmt: skip
    assert [row.input for row in by_shift(data.inputs)] == ["b", "c", "a", "d"]
    assert describe_shifts(data) == "2 of 3 shifted (1 since the base, 1 between training and test)"


def test_a_gate_that_passes_gives_no_advice():
    passing = [Check(name="tree", value="equal", limit="equal; make repro, commit", ok=True)]
    shown = facts(gates={"prove": Verdict(chapter="prove", checks=passing).record()})
    assert describe_gate(shown, "prove") == "The committed results are what the pipeline produces"


def test_a_gate_that_fails_names_its_first_check_and_counts_the_others():
    failing = [Check(name=f"stage {i}", value="differs", limit="equal", ok=False) for i in range(3)]
    shown = facts(gates={"prove": Verdict(chapter="prove", checks=failing).record()})
    assert describe_gate(shown, "prove") == "stage 0: differs; expected: equal, and 2 more checks"


def test_a_gate_counts_in_its_own_unit():
    gates = facts(gates={"manifests": ruled(), "judge": judged(), "latency": paced()}).gates
    assert [describe_size(name, gate) for name, gate in gates.items()] == ["9 objects", "1,000 rows", "9,000 requests"]
    nothing = Verdict(chapter="repro", checks=[]).record()
    assert describe_size("repro", facts(gates={"repro": nothing}).gates["repro"]) == ""


def test_a_passing_check_is_its_result_alone():
    check = {"name": "auc floor", "value": 0.7, "limit": "≥ 0.65"}
    assert describe_check(CheckRecord(**check, ok=True)) == "auc floor: 0.7000"
    assert describe_check(CheckRecord(**check, ok=False)) == "auc floor: 0.7000; allowed: at least 0.65"
