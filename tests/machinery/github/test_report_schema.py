"""The shape is what facts hold and what a report shows: tests/machinery/github/test_untrusted_report.py drives it from outside."""

from __future__ import annotations

from dataclasses import fields

from slipway.github import report_schema
from slipway.reporting import report_markdown
from slipway.reporting.report_data import GATES, Facts

WIDE = "&@#{" * 5000
"""Characters that become the longest when they are escaped."""


def test_a_record_has_the_fields_of_the_facts():
    assert list(report_schema.Record.model_fields) == [field.name for field in fields(Facts)]


def test_the_widest_report_that_fits_the_shape_fits_a_comment():
    checks = [{"name": WIDE, "value": WIDE, "limit": WIDE, "ok": False, "low": 1e-30, "high": 1e30}] * 99
    gate = {"verdict": "fail", "checks": checks, "rows": 1, "seconds": 1e30}
    notes = {"limits_changed": [WIDE] * 99, "params_changed": [WIDE] * 99, "better": True,
             "data": {"train": [None, {"rows": 1, "first": WIDE, "last": WIDE}], "gone": [WIDE] * 99,
                      "inputs": [{"input": WIDE, "train": 1e30, "test": -1e30, "missing": [0.1, None]}] * 99}}  # fmt: skip
    given = report_schema.Record.model_validate({
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
    text = report_markdown.render(Facts(**given.model_dump(exclude_unset=True)))
    assert len(text.encode()) <= report_markdown.MAX_BYTES
    assert "Left out" in text
    assert len(text.split("<details>")[0].encode()) > 20_000
