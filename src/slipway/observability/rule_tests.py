"""Unit tests of the rules, run by `promtool test rules`: each alert fires, stays silent, and needs enough traffic.

They are generated with the rules, because the limits in them come from the same objectives.
"""

from __future__ import annotations

from typing import Any

from slipway.loadtest.slo import FASTEST_BURN, Objectives
from slipway.observability.rules import require_bucket, threshold

Series = list[dict[str, str]]


def build(objectives: Objectives, *, routes: list[str], rules: str) -> dict[str, Any]:
    """The file of unit tests as a value; `rules` is the rules file's name in the same folder."""
    tests = [test for kind in ("errors", "slow") for test in _burn_tests(objectives, routes[0], kind)]
    return {"rule_files": [rules], "evaluation_interval": "5m", "tests": tests + _service_tests()}


def _burn_tests(objectives: Objectives, route: str, kind: str) -> list[dict[str, Any]]:
    """The tests of both alerts about one objective."""
    at_least = (objectives.availability if kind == "errors" else objectives.latency).at_least
    enough, few = float(objectives.min_requests_per_hour), objectives.min_requests_per_hour / 120  # requests a minute
    page, ticket = f"Slipway{kind.title()}Page", f"Slipway{kind.title()}Ticket"

    def series(share: float, minutes: int, requests: float = enough) -> Series:
        return _requests(kind, require_bucket(objectives), route, requests, share, minutes)

    limit = threshold(FASTEST_BURN, at_least)
    burst = min(1.1 * limit, (1 + limit) / 2)  # a little above the limit, and possible
    return [
        _test(f"{page} fires after a burst", _burst(series(0, 480), series(burst, 70)), page, 550, fires=True),
        _test(f"{page} fires", series(threshold(8, at_least), 480), page, 480, fires=True),
        _test(f"{page} stays silent below its limits", series(threshold(4, at_least), 480), page, 480, fires=False),
        _test(f"{page} stays silent with few requests", series(1, 480, few), page, 480, fires=False),
        _test(f"{page} ends after the repair", _repaired(kind, route, enough, objectives), page, 120, fires=False),
        _test(f"{ticket} fires", series(threshold(4, at_least), 1560), ticket, 1560, fires=True),
        _test(f"{ticket} stays silent below its limits", series(threshold(0.5, at_least), 1560), ticket, 1560, fires=False),
        _test(f"{ticket} stays silent with few requests", series(1, 1560, few), ticket, 1560, fires=False),
    ]  # fmt: skip


def _requests(kind: str, bucket: str, route: str, requests: float, share: float, minutes: int) -> Series:
    """Counters that grow by so many requests a minute, of which `share` are bad."""
    labels = f'namespace="production", route="{route}"'
    bad, good = f"0+{requests * share:g}x{minutes}", f"0+{requests * (1 - share):g}x{minutes}"
    all_of_them = f"0+{requests:g}x{minutes}"
    failed, fast = (bad, all_of_them) if kind == "errors" else (f"0+0x{minutes}", good)
    return [
        {"series": f'slipway_requests_total{{{labels}, status="500"}}', "values": failed},
        {"series": f'slipway_requests_total{{{labels}, status="200"}}', "values": good if kind == "errors" else all_of_them},
        {"series": f'slipway_request_seconds_bucket{{{labels}, le="{bucket}"}}', "values": fast},
        {"series": f"slipway_request_seconds_count{{{labels}}}", "values": all_of_them},
    ]  # fmt: skip


def _burst(before: Series, now: Series) -> Series:
    """The same counters, which grow as in `before` and then as in `now`."""
    joined = []
    for first, then in zip(before, now, strict=True):
        step, _, minutes = first["values"].removeprefix("0+").partition("x")
        last = float(step) * int(minutes)
        joined.append(first | {"values": f"{first['values']} {last:g}{then['values'].removeprefix('0')}"})
    return joined


def _repaired(kind: str, route: str, requests: float, objectives: Objectives) -> Series:
    """All requests are bad for 75 minutes, then none for 45."""
    series = _requests(kind, require_bucket(objectives), route, requests, 1, 75)
    for each in series:
        growing = each["values"].startswith(f"0+{requests:g}")
        last = requests * 75 if growing else 0.0
        bad = 'status="500"' in each["series"]
        each["values"] += f" {last:g}+{0 if bad else requests:g}x45"
    return series


def _service_tests() -> list[dict[str, Any]]:
    """The tests of the alerts that are about no objective."""
    info, where = 'slipway_model_info{namespace="production", problem="flights"}', '{namespace="production"}'
    finite, lost = f"slipway_predictions_not_finite_total{where}", f"slipway_prediction_log_lost_total{where}"
    return [
        _test("SlipwayAbsent fires", [_values(info, "1x10 stale _x30")], "SlipwayAbsent", 30, fires=True),
        _test("SlipwayAbsent fires when nothing was ever there", [], "SlipwayAbsent", 10, fires=True, each=""),
        _test("SlipwayAbsent stays silent", [_values(info, "1x40")], "SlipwayAbsent", 30, fires=False),
        _test("SlipwayNotFinite fires", [_values(finite, "0x5 1x20")], "SlipwayNotFinite", 15, fires=True),
        _test("SlipwayNotFinite stays silent", [_values(finite, "3x30")], "SlipwayNotFinite", 30, fires=False),
        _test("SlipwayLogLosesLines fires", [_values(lost, "0+5x40")], "SlipwayLogLosesLines", 40, fires=True),
        _test("SlipwayLogLosesLines stays silent", [_values(lost, "7x40")], "SlipwayLogLosesLines", 40, fires=False),
        _test("SlipwayUnknownCategories fires", _unknown(1, 20), "SlipwayUnknownCategories", 1560, fires=True),
        _test("usual values stay silent", _unknown(20, 20), "SlipwayUnknownCategories", 1560, fires=False),
        _test("rare values stay silent", _unknown(0, 0.5), "SlipwayUnknownCategories", 1560, fires=False),
    ]  # fmt: skip


def _unknown(before: float, now: float) -> Series:
    """100 rows a minute, so many of them with an unknown value in the day before and in the last hour."""
    column = 'slipway_unknown_categories_total{namespace="production", column="carrier"}'
    return [
        _values(column, f"0+{before:g}x1500 {before * 1500 + now:g}+{now:g}x59"),
        _values('slipway_prediction_count{namespace="production"}', "0+100x1560"),
    ]


def _values(series: str, values: str) -> dict[str, str]:
    return {"series": series, "values": values}


def _test(
    name: str, series: Series, alert: str, minutes: int, *, fires: bool, each: str = "production"
) -> dict[str, Any]:
    """One test: whether `alert` fires after so many minutes."""
    labels = f'{{namespace="{each}"}}' if each else "{}"
    expected = [{"labels": labels, "value": 1}] if fires else []
    return {
        "name": name,
        "interval": "1m",
        "input_series": series,
        "promql_expr_test": [
            {
                "expr": f'count by (namespace) (ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": f"{minutes}m",
                "exp_samples": expected,
            }
        ],
    }
