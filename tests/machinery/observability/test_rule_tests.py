"""The generated unit tests, run by Prometheus' own program: the rules pass them, and changed rules do not."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from slipway.loadtest import slo
from slipway.observability import generate, rule_tests, rules
from support import engines
from support.paths import OBJECTIVE


def run(
    folder: Path, changed: tuple[str, str] = ("", ""), only: str = "", **shares: float
) -> subprocess.CompletedProcess[str]:
    """Generate rules and tests for these shares, change a text of the rules, and run `promtool test rules`.

    `only` is a part of the names of the tests that run.
    """
    promtool = engines.require("promtool")
    usual = slo.require_objectives(slo.read(OBJECTIVE))
    parts = {name: getattr(usual, name).model_copy(update={"at_least": share}) for name, share in shares.items()}
    objectives = usual.model_copy(update=parts)
    text = generate.dump(rules.build(objectives, routes=["/predict"], runbooks="docs/alerts"))
    assert changed[0] in text
    (folder / "rules.yaml").write_text(text.replace(*changed) if changed[0] else text, encoding="utf-8")
    tests = rule_tests.build(objectives, routes=["/predict"], rules="rules.yaml")
    tests["tests"] = [test for test in tests["tests"] if only in test["name"]]
    (folder / "tests.yaml").write_text(generate.dump(tests), encoding="utf-8")
    return subprocess.run(
        [promtool, "test", "rules", folder / "tests.yaml"], capture_output=True, text=True, check=False
    )


def test_rules_pass_their_own_tests(tmp_path: Path) -> None:
    ended = run(tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_lowest_objectives_can_still_alert(tmp_path: Path) -> None:
    ended = run(tmp_path, only=" fires", availability=0.931, latency=0.94)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        (" * 3600 >= 60", " * 3600 >= 0", "SlipwayErrorsPage"),
        ("ratio_rate5m > 0.144", "ratio_rate5m > 1.44", "SlipwaySlowPage"),
    ],
)
def test_changed_rules_fail_their_tests(old: str, new: str, failing: str, tmp_path: Path) -> None:
    ended = run(tmp_path, (old, new), failing)
    assert ended.returncode == 1
    assert failing in ended.stdout + ended.stderr
