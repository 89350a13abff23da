"""Grafana's dashboard from the objectives: the service, its budget, its predictions, its log, and releases as annotations.

It is written as JSON without a library, so that `slo --write` needs none; a test reads it with Grafana's own SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slipway.loadtest.slo import FASTEST_BURN, Objectives
from slipway.observability.rules import BURNS, require_bucket

SOURCE = {"type": "prometheus", "uid": "${source}"}
"""The data source that a person chooses at the top of the dashboard."""
HERE = 'namespace="$namespace"'
RATE = "$__rate_interval"
HEIGHT = 7
"""Of a panel, in rows of Grafana's grid, which has 24 columns."""
NOTE = (
    "Drift of inputs and of performance is no metric: `slipway monitor` judges it from the prediction log, and `slipway status` "
    "shows its verdicts. The panels of this row show what the service itself counts."
)
Panel = dict[str, Any]


def build(objectives: Objectives, *, routes: Sequence[str]) -> dict[str, Any]:
    """The dashboard as a value of Grafana's JSON, schema 39; `routes` are the paths that the objectives are about."""
    rows = [
        ("Service", _service(objectives, routes)),
        ("Budget", _budget(objectives, routes)),
        ("Predictions", _predictions()),
        ("Drift", _drift()),
        ("Prediction log", _log()),
    ]
    return {
        "uid": "slipway", "title": "Slipway", "tags": ["slipway"], "schemaVersion": 39, "editable": True,
        "description": "Generated from loadtests/slo.yaml by `make lock`: do not edit.",
        "time": {"from": "now-24h", "to": "now"}, "refresh": "1m", "timezone": "browser",
        "templating": {"list": _variables()},
        "annotations": {"list": _annotations()},
        "panels": _placed(rows),
    }  # fmt: skip


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Every PromQL expression of a dashboard, with its variables."""
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return panels + [each["expr"] for each in dashboard["annotations"]["list"]]


def _service(objectives: Objectives, routes: Sequence[str]) -> list[Panel]:
    """Rate, errors and latency, as callers see them."""
    where = f'{HERE}, route=~"{"|".join(routes)}"'
    share, within = 1 - objectives.availability.at_least, objectives.latency.within_ms / 1000
    seconds = f"sum by (le) (rate(slipway_request_seconds_bucket{{{where}}}[{RATE}]))"
    return [
        _lines("Requests", "reqps", {f"sum by (status) (rate(slipway_requests_total{{{where}}}[{RATE}]))": "{{status}}"}),
        _lines("Requests that fail", "percentunit", {f"slipway:errors:ratio_rate5m{{{HERE}}}": "over 5 minutes"},
               limits=[round(FASTEST_BURN * share, 9)]),
        _lines("Time to answer", "s", {
            f"histogram_quantile(0.5, {seconds})": "p50", f"histogram_quantile(0.99, {seconds})": "p99",
        }, limits=[within]),
        _lines("Instances by model", "short", {f"count by (model_sha256) (slipway_model_info{{{HERE}}})": "{{model_sha256}}"}),
    ]  # fmt: skip


def _budget(objectives: Objectives, routes: Sequence[str]) -> list[Panel]:
    """The part of each budget that is left, and how fast both burn."""
    where, days = f'{HERE}, route=~"{"|".join(routes)}"', f"{objectives.window_days}d"
    available, fast = (round(1 - each.at_least, 9) for each in (objectives.availability, objectives.latency))

    def total(metric: str, more: str = "") -> str:
        return f"sum(increase({metric}{{{where}{more}}}[{days}]))"

    failed, requests = (total("slipway_requests_total", more) for more in (', status=~"5.."', ""))
    bucket = f', le="{require_bucket(objectives)}"'
    slow = f"1 - {total('slipway_request_seconds_bucket', bucket)} / {total('slipway_request_seconds_count')}"
    burns = {
        f"slipway:errors:ratio_rate1h{{{HERE}}} / {available:g}": "availability",
        f"slipway:slow:ratio_rate1h{{{HERE}}} / {fast:g}": "latency",
    }
    return [
        _number(f"Availability: budget left of {days}", f"1 - ({failed} or vector(0)) / {requests} / {available:g}"),
        _number(f"Latency: budget left of {days}", f"1 - ({slow}) / {fast:g}"),
        _lines("Burn rate over an hour (1 spends the budget exactly)", "short", burns,
               limits=sorted({burn for pairs in BURNS.values() for burn, _, _ in pairs})),
    ]  # fmt: skip


def _predictions() -> list[Panel]:
    """The predictions, and what is wrong with some of them."""
    rate = f"rate(slipway_prediction_{{}}{{{{{HERE}}}}}[{RATE}])"
    mean = f"sum({rate.format('sum')}) / sum({rate.format('count')})"
    bins = f"sum by (le) (increase(slipway_prediction_bucket{{{HERE}}}[{RATE}]))"
    not_finite = f"sum(increase(slipway_predictions_not_finite_total{{{HERE}}}[{RATE}]))"
    return [
        _panel("Distribution", "heatmap", {bins: "{{le}}"}, heatmap=True),
        _lines("Rows a second", "short", {f"sum({rate.format('count')})": "rows"}),
        _lines("Mean", "short", {mean: "mean"}),
        _lines("NaN or infinity", "short", {not_finite: "predictions"}, limits=[1]),
    ]


def _drift() -> list[Panel]:
    """Signs of drift that the service itself counts."""
    mean = "sum(rate(slipway_prediction_sum{{{here}}}[1d]{o})) / sum(rate(slipway_prediction_count{{{here}}}[1d]{o}))"
    now, before = mean.format(here=HERE, o=""), mean.format(here=HERE, o=" offset 7d")
    unknown = {f"slipway:unknown:ratio_rate1h{{{HERE}}}": "{{column}}"}
    return [
        _lines("Values never trained on, share of rows", "percentunit", unknown),
        _lines("Mean of a day's predictions", "short", {now: "now", before: "a week before"}),
        {"type": "text", "title": "What is not here", "options": {"mode": "markdown", "content": NOTE}},
    ]


def _log() -> list[Panel]:
    """Lines written and lost; empty where the log is off."""
    rate = f"sum(rate(slipway_prediction_log_{{}}_total{{{{{HERE}}}}}[{RATE}]))"
    return [
        _lines("Lines written a second", "short", {rate.format("lines"): "written"}),
        _lines("Lines lost a second", "short", {rate.format("lost"): "lost"}, limits=[0.001]),
    ]


def _lines(title: str, unit: str, queries: dict[str, str], *, limits: Sequence[float] = ()) -> Panel:
    """A panel of lines over time; `queries` are expressions with their legends, `limits` are drawn dashed."""
    panel = _panel(title, "timeseries", queries)
    defaults: dict[str, Any] = {"unit": unit}
    if limits:
        steps = [{"value": None, "color": "green"}, *({"value": limit, "color": "red"} for limit in limits)]
        defaults |= {
            "thresholds": {"mode": "absolute", "steps": steps},
            "custom": {"thresholdsStyle": {"mode": "dashed"}},
        }
    return panel | {"fieldConfig": {"defaults": defaults, "overrides": []}}


def _number(title: str, expression: str) -> Panel:
    """A panel with one share, red when nothing is left."""
    steps = [{"value": None, "color": "red"}, {"value": 0, "color": "orange"}, {"value": 0.25, "color": "green"}]
    defaults = {"unit": "percentunit", "max": 1, "thresholds": {"mode": "absolute", "steps": steps}}
    return _panel(title, "stat", {expression: ""}) | {"fieldConfig": {"defaults": defaults, "overrides": []}}


def _panel(title: str, kind: str, queries: dict[str, str], *, heatmap: bool = False) -> Panel:
    """A panel of a kind of Grafana's, without its place."""
    targets = [
        {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression, "legendFormat": legend, "range": True,
         "format": "heatmap" if heatmap else "time_series"}
        for number, (expression, legend) in enumerate(queries.items())
    ]  # fmt: skip
    return {"type": kind, "title": title, "datasource": SOURCE, "targets": targets}


def _placed(rows: Sequence[tuple[str, list[Panel]]]) -> list[Panel]:
    """All panels below the headings of their rows, with numbers and places."""
    placed: list[Panel] = []
    top = 0
    for title, panels in rows:
        heading = {"type": "row", "title": title, "collapsed": False, "panels": []}
        placed.append(heading | {"id": len(placed) + 1, "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        top += 1
        width = 24 // len(panels)
        for number, panel in enumerate(panels):
            place = {"x": number * width, "y": top, "w": width, "h": HEIGHT}
            placed.append(panel | {"id": len(placed) + 1, "gridPos": place})
        top += HEIGHT
    return placed


def _variables() -> list[dict[str, Any]]:
    """Choices at the top: the data source and the namespace."""
    namespaces = "label_values(slipway_model_info, namespace)"
    return [
        {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
        {"name": "namespace", "label": "Namespace", "type": "query", "datasource": SOURCE, "query": namespaces, "refresh": 2},
    ]  # fmt: skip


def _annotations() -> list[dict[str, Any]]:
    """Marks in every panel: a model that was not there two minutes before, and alerts that fire."""
    models = f"count by (model_sha256) (slipway_model_info{{{HERE}}})"
    marks = [
        ("Releases of a model", "blue", f"{models} unless {models.replace('})', '} offset 2m)')}", "{{model_sha256}}"),
        ("Alerts", "red", f'ALERTS{{{HERE}, alertstate="firing", alertname=~"Slipway.+"}}', "{{alertname}}"),
    ]
    return [
        {"name": name, "enable": True, "iconColor": color, "datasource": SOURCE, "expr": expression, "titleFormat": title}
        for name, color, expression, title in marks
    ]  # fmt: skip
