"""The schema of slo.yaml: what is wrong with it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.errors import ConfigError
from slipway.loadtest import slo
from support.paths import OBJECTIVE


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"slo\.yaml does not exist") as caught:
        slo.read(tmp_path / "slo.yaml")
    assert caught.value.hint == "change to the project's folder and run the command again"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("rate: 300", "rate: -1"), "schedules.machine.rate is -1; allowed: more than 0"),
        (("users: 16", "users: 16, more: 1"), "unknown key schedules.machine.more (value 1)"),
        (
            ("cpu_at_most: 0.8", "cpu_at_most: 2"),
            "generator.cpu_at_most is 2; allowed: at most 1",
        ),
        (("endpoints:", "more: 1\nendpoints:"), "unknown key more (value 1)"),
        (("  cluster: {", "  moon: {"), "schedules has the key 'moon'; expected: "),
        (
            ("cluster: {rate: 120, seconds: 30, users: 16}", ""),
            "schedules: cluster is missing; expected: machine and cluster",
        ),
        (("POST /predict", "predict"), "endpoints has the key 'predict'; expected: GET or POST and a path"),
        (("rate: 300", "rate: ["), "is not valid YAML"),
        (("rate: 300", "rate: 2013-02-30"), "2013-02-30 is not a date"),
        (("rate: 300", "rate: 1.0e+300"), "schedules.machine.rate is 1e+300; allowed: at most 1e+06"),
        (
            ("{at_least: 0.999}", "{at_least: 0.9}"),
            "objectives.availability.at_least: 0.9 can never alert: at 14.4× the budget of 10 % would need 144 % of "
            "requests to fail; allowed: at least 0.931",
        ),
        (("{at_least: 0.999}", "{at_least: 1.0}"), "objectives.availability.at_least is 1.0; allowed: less than 1"),
        (("at_least: 0.99,", ""), "key objectives.latency.at_least is missing"),
        (("window_days: 30", "window_days: 365"), "objectives.window_days is 365; allowed: at most 90"),
        (("users: 16", "users: 100000000"), "schedules.machine.users is 100000000; allowed: at most 100000"),
    ],
)
def test_a_wrong_objective_is_a_wrong_setting(tmp_path: Path, change: tuple[str, str], says: str) -> None:
    (tmp_path / "slo.yaml").write_text(OBJECTIVE.read_text("utf-8").replace(*change), "utf-8")
    with pytest.raises(ConfigError) as caught:
        slo.read(tmp_path / "slo.yaml")
    assert says in str(caught.value)


def test_the_lowest_objective_can_alert(tmp_path: Path) -> None:
    text = OBJECTIVE.read_text("utf-8").replace("{at_least: 0.999}", "{at_least: 0.931}")
    (tmp_path / "slo.yaml").write_text(text, "utf-8")
    objectives = slo.require_objectives(slo.read(tmp_path / "slo.yaml"))
    assert slo.FASTEST_BURN * (1 - objectives.availability.at_least) < 1


def test_a_file_without_objectives_is_read(tmp_path: Path) -> None:
    text = OBJECTIVE.read_text("utf-8")
    start, end = text.index("objectives:"), text.index("canary:")
    (tmp_path / "slo.yaml").write_text(text[:start] + text[end:], "utf-8")
    read = slo.read(tmp_path / "slo.yaml")
    with pytest.raises(ConfigError, match="has no section objectives") as caught:
        slo.require_objectives(read)
    (tmp_path / "more.yaml").write_text(text[:start] + slo.EXAMPLE + "\n" + text[end:], "utf-8")
    assert slo.EXAMPLE in str(caught.value.hint)
    assert slo.require_objectives(slo.read(tmp_path / "more.yaml")).window_days == 30
