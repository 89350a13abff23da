"""Rules from the objectives: the limits, the floor of traffic, the bucket."""

from __future__ import annotations

import pytest

from slipway.errors import ConfigError
from slipway.loadtest import slo
from slipway.observability import rules
from support.paths import OBJECTIVE


def objectives(**latency: float) -> slo.Objectives:
    """The objectives of the tests' slo.yaml, with other numbers for latency."""
    usual = slo.require_objectives(slo.read(OBJECTIVE))
    return usual.model_copy(update={"latency": usual.latency.model_copy(update=latency)})


def alerts(runbooks: str = "docs/alerts") -> dict[str, dict[str, object]]:
    built = rules.build(objectives(), routes=["/predict"], runbooks=runbooks)
    return {rule["alert"]: rule for rule in built["groups"][1]["rules"]}


def test_limits_are_burn_rates_of_the_budget() -> None:
    assert rules.threshold(14.4, 0.999) == 0.0144
    assert "slipway:errors:ratio_rate1h > 0.0144 and slipway:errors:ratio_rate5m > 0.0144" in str(
        alerts()["SlipwayErrorsPage"]["expr"]
    )


def test_every_burn_alert_has_a_floor() -> None:
    for name in ("SlipwayErrorsPage", "SlipwayErrorsTicket", "SlipwaySlowPage", "SlipwaySlowTicket"):
        assert str(alerts()[name]["expr"]).count("* 3600 >= 60") == 2, name


def test_every_alert_links_its_page() -> None:
    for name, rule in alerts("https://git.example.org/a/docs/alerts/").items():
        assert rule["annotations"]["runbook_url"] == f"https://git.example.org/a/docs/alerts/{name}.md"  # type: ignore[index]


def test_limit_between_buckets_is_refused() -> None:
    with pytest.raises(ConfigError) as refused:
        rules.require_bucket(objectives(within_ms=60))
    assert "objectives.latency.within_ms in loadtests/slo.yaml is 60, which is no bucket" in str(refused.value)
    assert refused.value.allowed == "50 or 75"


def test_limit_in_seconds_has_its_bucket() -> None:
    assert [rules.require_bucket(objectives(within_ms=ms)) for ms in (2.5, 50, 1000)] == ["0.0025", "0.05", "1.0"]
