"""Prometheus rules from the objectives: recording rules, burn-rate alerts, and alerts about the service itself.

Burn rates and windows are those of the SRE workbook, chapter 5. A burn rate of 1 spends the budget exactly in the window of
the objectives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slipway.errors import ConfigError
from slipway.loadtest.slo import FASTEST_BURN, PATH, Objectives
from slipway.serving.prometheus import BOUNDS

Severity = Literal["page", "ticket"]
WAIT: dict[Severity, str] = {"page": "2m", "ticket": "15m"}
"""The time that an alert's expression must hold before it fires."""
WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BURNS: dict[Severity, tuple[tuple[float, str, str], ...]] = {
    "page": ((FASTEST_BURN, "1h", "5m"), (6, "6h", "30m")),
    "ticket": ((3, "1d", "2h"), (1, "3d", "6h")),
}
"""Burn rate, long window and short window. Both windows must burn: the short one ends the alert soon after the repair."""
UNKNOWN_SHARE, UNKNOWN_GROWTH = 0.01, 3
"""Unknown values of a column: a jump is this share of the rows, and so many times the day before."""


@dataclass(frozen=True)
class Alert:
    """An alert that is about no objective."""

    name: str
    severity: Severity
    expression: str
    summary: str


SERVICE_ALERTS = (
    Alert(
        "SlipwayAbsent", "page",
        "count by (namespace) (present_over_time(slipway_model_info[1d])) unless count by (namespace) (slipway_model_info)"
        " or absent(present_over_time(slipway_model_info[1d]))",
        "no instance of the service answers Prometheus",
    ),
    Alert(
        "SlipwayNotFinite", "page", "sum by (namespace) (increase(slipway_predictions_not_finite_total[10m])) > 0",
        "the model predicts NaN or infinity",
    ),
    Alert(
        "SlipwayLogLosesLines", "ticket", "sum by (namespace) (increase(slipway_prediction_log_lost_total[15m])) > 0",
        "lines of the prediction log are lost",
    ),
    Alert(
        "SlipwayUnknownCategories", "ticket",
        f"slipway:unknown:ratio_rate1h > {UNKNOWN_SHARE} and slipway:unknown:ratio_rate1h > "
        f"{UNKNOWN_GROWTH} * (slipway:unknown:ratio_rate1d offset 1h or slipway:unknown:ratio_rate1h * 0)",
        "a column has many more values that the model was not trained on than the day before",
    ),
)  # fmt: skip


def require_bucket(objectives: Objectives) -> str:
    """The label `le` of the histogram's bucket at `within_ms`; ConfigError with the nearest bounds if there is none."""
    within = objectives.latency.within_ms
    for bound in BOUNDS:
        if abs(bound * 1000 - within) < 1e-9 * within:
            return str(bound)
    nearest = sorted(sorted(BOUNDS, key=lambda bound: abs(bound * 1000 - within))[:2])
    raise ConfigError(
        f"objectives.latency.within_ms in {PATH} is {within:g}, which is no bucket of slipway_request_seconds",
        allowed=" or ".join(f"{bound * 1000:g}" for bound in nearest), value=within,
        hint=f"choose one of the nearest buckets; all: {', '.join(f'{bound * 1000:g}' for bound in BOUNDS)}",
    )  # fmt: skip


def threshold(burn: float, at_least: float) -> float:
    """The share of bad requests at which a budget burns `burn` times as fast as planned."""
    return round(burn * (1 - at_least), 9)


def build(objectives: Objectives, *, routes: Sequence[str], runbooks: str) -> dict[str, Any]:
    """The rules file of Prometheus as a value.

    `routes` are the paths that the objectives are about, `runbooks` is the address of the folder with the alerts' pages.
    """
    records = [rule for window in WINDOWS for rule in _records(window, require_bucket(objectives), routes)]
    alerts = [
        _burn_alert(objectives, severity, kind, at_least)
        for kind, at_least in (("errors", objectives.availability.at_least), ("slow", objectives.latency.at_least))
        for severity in BURNS
    ]
    alerts += [_alert(each.name, each.severity, each.expression, each.summary) for each in SERVICE_ALERTS]
    for alert in alerts:
        alert["annotations"]["runbook_url"] = f"{runbooks.rstrip('/')}/{alert['alert']}.md"
    return {
        "groups": [
            {"name": "slipway-records", "rules": records + _unknown_records()},
            {"name": "slipway-alerts", "rules": alerts},
        ]
    }


def operator_object(built: Mapping[str, Any]) -> dict[str, Any]:
    """The rules file `built` as the object PrometheusRule of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": {"name": "slipway"},
        "spec": {"groups": built["groups"]},
    }  # fmt: skip


def _records(window: str, bucket: str, routes: Sequence[str]) -> list[dict[str, Any]]:
    """The recording rules of one window: requests a second, and the shares of failed and of slow ones."""
    route = f'route=~"{"|".join(routes)}"'
    requests = f"slipway:requests:rate{window}"

    def rate(metric: str, more: str = "") -> str:
        return f"sum by (namespace) (rate({metric}{{{route}{more}}}[{window}]))"

    failed = rate("slipway_requests_total", ', status=~"5.."')
    fast = rate("slipway_request_seconds_bucket", f', le="{bucket}"')
    return [
        {"record": requests, "expr": rate("slipway_requests_total")},
        {"record": f"slipway:errors:ratio_rate{window}", "expr": f"({failed} or {requests} * 0) / {requests}"},
        {"record": f"slipway:slow:ratio_rate{window}", "expr": f"1 - {fast} / {rate('slipway_request_seconds_count')}"},
    ]


def _unknown_records() -> list[dict[str, Any]]:
    """The share of a column's values that were never trained on, over an hour and over a day."""
    return [
        {
            "record": f"slipway:unknown:ratio_rate{window}",
            "expr": f"sum by (namespace, column) (rate(slipway_unknown_categories_total[{window}])) / on (namespace) "
            f"group_left () sum by (namespace) (rate(slipway_prediction_count[{window}]))",
        }
        for window in ("1h", "1d")
    ]


def _burn_alert(objectives: Objectives, severity: Severity, kind: str, at_least: float) -> dict[str, Any]:
    """The alert about a budget that burns too fast in a long and a short window, with a floor of traffic."""
    floor = objectives.min_requests_per_hour
    pairs = [
        f"(slipway:{kind}:ratio_rate{long} > {threshold(burn, at_least):g} and slipway:{kind}:ratio_rate{short} > "
        f"{threshold(burn, at_least):g} and slipway:requests:rate{long} * 3600 >= {floor})"
        for burn, long, short in BURNS[severity]
    ]
    bad = "fail" if kind == "errors" else f"take more than {objectives.latency.within_ms:g} ms"
    summary = f"requests {bad} so often that the budget of {objectives.window_days} days burns " + (
        "within days" if severity == "page" else "before its window ends"
    )
    alert = _alert(f"Slipway{kind.title()}{severity.title()}", severity, " or ".join(pairs), summary)
    return alert | {"labels": alert["labels"] | {"objective": "availability" if kind == "errors" else "latency"}}


def _alert(name: str, severity: Severity, expression: str, summary: str) -> dict[str, Any]:
    return {
        "alert": name, "expr": expression, "for": WAIT[severity], "labels": {"severity": severity},
        "annotations": {"summary": summary},
    }  # fmt: skip
