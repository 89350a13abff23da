"""The model of trusted records; tests/machinery/github/test_untrusted_report.py drives that of untrusted ones from outside."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slipway.reporting import report_markdown
from slipway.reporting.report_model import GATES, Facts, parse_untrusted
from support.sample_reports import BINARY, DELIVERY, QUALITY, facts, judged, paced, ruled

WIDE = "&@#{" * 5000
"""Characters that become the longest when they are escaped."""


def test_the_widest_report_within_the_bounds_fits_a_comment():
    checks = [{"name": WIDE, "value": WIDE, "limit": WIDE, "ok": False, "low": 1e-30, "high": 1e30}] * 99
    gate = {"verdict": "fail", "checks": checks, "rows": 1, "seconds": 1e30}
    notes = {"limits_changed": [WIDE] * 99, "params_changed": [WIDE] * 99, "better": True,
             "data": {"train": [None, {"rows": 1, "first": WIDE, "last": WIDE}], "gone": [WIDE] * 99,
                      "inputs": [{"input": WIDE, "train": 1e30, "test": -1e30, "missing": [0.1, None]}] * 99}}  # fmt: skip
    widest = parse_untrusted({
        "metrics": {f"{number:04}{WIDE[:76]}": -1.23456e29 for number in range(99)},
        "gates": dict.fromkeys(GATES, gate | {"notes": notes}),
        "quality": {"rows": 1, "first": WIDE, "last": WIDE, "faults": [
            {"source": WIDE, "column": WIDE, "what": WIDE, "rows": 1, "worst": WIDE, "action": WIDE}] * 99},
        "contract": {"labels": {"title": WIDE}},
        "slices": [{"slice": WIDE, "value": WIDE, "rows": 1, "target": 0.1, "loss": 1e30}] * 99,
        "hashes": {"model": "a" * 64}, "commit": "a" * 40,
        "delivery": {"by": WIDE, "files": 10**15, "ships": [WIDE] * 99, "envs": [WIDE[:80]] * 99, "unknown": [WIDE] * 99,
                     "hooks": {WIDE[:80]: [WIDE] * 99}, "changes": [
                         {"env": WIDE[:80], "kind": WIDE, "name": WIDE, "what": "changed", "hook": False, "pods": True,
                          "fields": [[WIDE, WIDE, WIDE]] * 99}] * 99},
    })  # fmt: skip
    text = report_markdown.render(widest)
    assert len(text.encode()) <= report_markdown.MAX_BYTES
    assert "Left out" in text
    assert len(text.split("<details>")[0].encode()) > 20_000


@pytest.mark.parametrize(
    "start", [Facts(), facts(), facts(gates={"judge": judged(), "latency": paced(), "manifests": ruled()})]
)
def test_facts_are_the_same_after_json(start: Facts):
    record = json.loads(json.dumps(start.record()))
    assert list(record) == list(Facts.model_fields)
    assert Facts(**record) == start


def test_what_no_report_shows_is_kept_in_the_record():
    record = facts(
        metrics=BINARY | {"confusion": [[1, 2], [3, 4]]}, contract={"sha256": "x", "labels": {"unit": "%"}}
    ).record()
    assert record["metrics"]["confusion"] == [[1, 2], [3, 4]]
    assert record["contract"] == {"sha256": "x", "labels": {"unit": "%"}}
    assert record["gates"]["judge"] == judged()
    assert (record["quality"], record["delivery"]) == (QUALITY, DELIVERY)


def test_what_does_not_exist_is_empty_and_false():
    empty = Facts()
    assert [bool(part) for part in (empty.metrics, empty.quality, empty.contract, empty.delivery, empty.judge)] == [
        False
    ] * 5
    assert all((facts().metrics, facts().quality, facts().contract, facts().delivery, facts().judge))


def test_notes_of_other_gates_may_have_any_form():
    given = facts(
        gates={"load": {"notes": {"base": "b", "slices": 3, "data": [], "more": 1}}, "policy": {"notes": None}}
    )
    assert given.gates["load"].notes.base == "b"
    assert given.record()["gates"]["load"]["notes"] == {"base": "b", "more": 1}


def test_a_number_keeps_its_kind():
    given = facts(metrics={"rows": 1000, "auc": 1, "brier": 0.5})
    assert [repr(value) for value in (given.metrics.rows, *given.metrics.by_name.values())] == ["1000", "1", "0.5"]


@pytest.mark.parametrize(
    ("judge", "model"),
    [
        ({}, ""),
        ({"inputs": None}, ""),
        ({"inputs": {"challenger": "sha256:" + "c" * 64}}, ""),
        ({"inputs": {"challenger": "e" * 64}}, "e" * 64),
    ],
)
def test_a_judgement_of_another_model_is_known(judge: dict[str, Any], model: str):
    assert facts(gates={"judge": judge}).foreign_model == model


def test_limits_that_a_change_moves_are_those_of_judge_and_latency():
    both = {"judge": judged(limits_changed=["a: 1 → 2"]), "latency": {"notes": {"limits_changed": ["b: 1 → 2"]}}}
    assert facts(gates=both).limits_changed == ["a: 1 → 2", "b: 1 → 2"]
    assert facts(gates={}).limits_changed == []


def test_a_window_ends_on_its_last_day():
    assert facts().window == "2013-10-02 to 2013-10-31"
    assert facts(judge=judged(window=["soon", 3])).window == facts(gates={}).window == ""
