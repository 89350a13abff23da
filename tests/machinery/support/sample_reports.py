"""Small records in the real formats, for the tests of report, page and comment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from slipway.core.verdict import Check, Verdict
from slipway.reporting import wording
from slipway.reporting.report_model import Facts, Gate

BINARY: dict[str, Any] = {
    "rows": 1000, "days": 30, "base_rate": 0.2, "log_loss": 0.42, "auc": 0.71, "brier": 0.13,
    "intervals": {"auc": {"low": 0.69, "high": 0.73}}, "dummy": {"log_loss": 0.5, "prediction": 0.2},
}  # fmt: skip
REGRESSION: dict[str, Any] = {
    "rows": 500, "days": 28, "base_rate": 30.0, "mae": 3.3, "rmse": 4.4, "r2": 0.94, "squared_error": 19.2,
    "intervals": {}, "dummy": {"squared_error": 342.2, "prediction": 30.1},
}  # fmt: skip
RELIABILITY = [{"predicted": i / 10, "observed": i / 11, "rows": 9} for i in range(10)]
DATA: dict[str, Any] = {
    "train": [{"rows": 8000, "first": "2013-01-01", "last": "2013-09-01"},
              {"rows": 9000, "first": "2013-01-01", "last": "2013-10-01"}],
    "inputs": [{"input": "carrier", "train": 0.01, "test": 0.02, "missing": [0.0, 0.0]},
               {"input": "year", "train": 0.4, "test": 1.5, "missing": [0.17, 0.2]},
               {"input": "new", "train": None, "test": 0.1, "missing": None}],
    "gone": ["old"], "prediction": {"mean": [0.2, 0.25], "shift": 0.03},
}  # fmt: skip
CHAMPION = {"log_loss": 0.43, "auc": 0.72, "brier": 0.13}
CHANGES = {
    "log_loss": {"difference": -0.01, "low": -0.02, "high": -0.005},
    "auc": {"difference": -0.01, "low": -0.021, "high": -0.004},
    "brier": {"difference": 0.0, "low": -0.001, "high": 0.002},
}
"""Clearly better, clearly worse, no clear change."""
QUALITY: dict[str, Any] = {
    "rows": 9000, "first": "2013-01-01", "last": "2013-10-31",
    "faults": [{"source": "weather.csv", "column": "wind_speed", "what": "faster than 150 mph", "rows": 1,
                "worst": 1048.4, "action": "set to missing"}],
    "columns": [
        {"name": "carrier", "kind": "category", "unit": "", "description": "airline", "missing": 0.0,
         "distinct": 2, "top": {"UA": 5, "AA": 4}},
        {"name": "year", "kind": "number", "unit": "year", "description": "built", "missing": 0.17,
         "distinct": 3, "low": 1956.0, "high": 2013.0, "quantiles": [1990.0, 2002.0, 2012.0],
         "counts": [1, 0, 8]},
        {"name": "at", "kind": "time", "unit": "", "description": "when", "missing": 0.0, "distinct": 9},
    ],
    "days": {"day": ["2013-01-01", "2013-01-02"], "rows": [4, 5], "target": [0.2, None]},
}  # fmt: skip
DELIVERY: dict[str, Any] = {
    "by": "kustomize", "files": 2, "local": True, "ships": [], "envs": ["staging", "production"], "unknown": [],
    "hooks": {"staging": ["Job load-gate"], "production": []}, "objects": 2,
    "changes": [
        {"env": "staging", "kind": "Deployment", "namespace": "s", "name": "serve", "what": "changed", "hook": False,
         "pods": True, "fields": [["spec.template.spec.containers[serve].image", "a@sha256:1…", "a@sha256:2…"]]},
        {"env": "staging", "kind": "Job", "namespace": "s", "name": "load-gate", "what": "changed", "hook": True,
         "pods": False, "fields": [["metadata.labels.a", None, "b"]]},
    ],
}  # fmt: skip


def ruled(*, ok: bool | None = True) -> dict[str, Any]:
    """A record of `manifests` with one rule."""
    checks = [
        Check(name="kustomize build staging", value="9 objects", limit="ends well, with objects", ok=True),
        Check(name="rule images", value="staging Job x: x has x:1", limit="pinned by digest", ok=ok),
    ]
    return Verdict(chapter="manifests", checks=checks, rows=9, seconds=0.4, notes=DELIVERY).record()


def paced(*, more: float = 0.01, ok: bool | None = True, table: bool = True, value: Any = None) -> dict[str, Any]:
    """A record of the latency check with one percentile, or without any."""
    name, low, high = "p50 of one row", round(more - 0.02, 3), round(more + 0.02, 3)
    check = Check(name=f"{name}, more than the base's", value=more, low=low, high=high, limit="low ≤ 0.1", ok=ok)
    checks = [check if table else Check(name="service", value=value, limit="nothing to compare", ok=ok)]
    row = [name, 0.2, round(0.2 * (1 + more), 4), more, low, high, 0.1]
    notes = {"base": "a" * 40, "limits_changed": [], "table": [row] if table else []}
    return Verdict(chapter="latency", checks=checks, rows=9000, seconds=6.1, notes=notes).record()


def judged(*, value: float = -0.01, low: float = -0.02, high: float = -0.005, ok: bool | None = True,
           value_of_slice: str = "UA", **notes: Any) -> dict[str, Any]:  # fmt: skip
    """A record of the judge with one comparison and one slice."""
    text = wording.describe_change("log_loss", (value, low, high), against="champion", confidence=0.95, margin=0.003)
    checks = [
        Check(name="paired rows", value=1000, limit="≥ 500", ok=True, text="Rows to compare on: 1,000"),
        Check(name="log_loss vs champion", value=value, low=low, high=high, limit="≤ 0.003 worse", ok=ok, text=text),
    ]
    usual: dict[str, Any] = {
        "against": "champion", "base": "a" * 40, "champion_commit": "b" * 40, "better": high < 0, "days": 30,
        "window": ["2013-10-02", "2013-11-01"], "confidence": 0.95,
        "metrics": {"challenger": BINARY, "champion": CHAMPION, "changes": CHANGES},
        "slices": [{"slice": "carrier", "value": value_of_slice, "rows": 400,
                    "difference": 0.02, "low": 0.01, "high": 0.03}],
        "limits_changed": [], "params_changed": ["data.until: 2013-10-01 → 2013-11-01"], "data": DATA,
    }  # fmt: skip
    return Verdict(chapter="judge", checks=checks, rows=1000, seconds=1.3, notes=usual | notes).record()


def facts(*, judge: dict[str, Any] | None = None, **other: Any) -> Facts:
    """Facts of a binary problem; without `judge` the judge passes. `other` are records in place of the usual ones."""
    return Facts(**({
        "metrics": BINARY, "gates": {"judge": judge or judged()}, "quality": QUALITY,
        "contract": {"problem": "flights", "labels": {"title": "Late?"}},
        "slices": [{"slice": "carrier", "value": "UA", "rows": 400, "target": 0.2, "loss": 0.4, "auc": 0.7}],
        "hashes": {"model": "c" * 64}, "commit": "d" * 40,
        "delivery": DELIVERY,
    } | other))  # fmt: skip


def replaced(start: Facts, **records: Any) -> Facts:
    """The facts with other records, as JSON has them, in place of some of theirs."""
    return Facts(**start.record() | records)


def gate(record: dict[str, Any]) -> Gate:
    """A verdict of a record, as JSON has it."""
    return Gate(**record)


def write_sample(kind: str, folder: Path) -> Facts:
    """Write the pages of a pull request into `folder`: report.html, data.html, report.md, facts.json; return its facts.

    `kind` is one of `support.sample_pull_requests.KINDS`: pass, refused, unsure, stopped, data changed.
    """
    from support import sample_pull_requests  # it imports this module

    return sample_pull_requests.write(kind, folder)
