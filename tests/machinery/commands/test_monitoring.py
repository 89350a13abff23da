"""The commands `monitor` and `labels add`."""

from __future__ import annotations

from pathlib import Path

import pytest
from bikes.problem import PROBLEM

from support import prediction_logs
from support.callables import Cli
from support.prediction_logs import END

UNTIL = ("--until", END.isoformat())


def test_empty_log_ends_unsure(cli: Cli, monitored: Path) -> None:
    ended = cli(monitored, "monitor")
    assert ended.returncode == 5
    assert "the log in .slipway/log has no predictions of the 7 days before" in ended.stderr


def test_labels_let_performance_be_judged(cli: Cli, monitored: Path) -> None:
    frame = prediction_logs.rows(monitored, PROBLEM, count=9 * 1200, days=63)
    prediction_logs.write(monitored / "log", PROBLEM, frame)
    prediction_logs.labels(frame, "hires", delay_days=7).write_csv(monitored / "labels.csv")
    assert cli(monitored, "monitor", "--log", "log", *UNTIL).returncode == 5
    added = cli(monitored, "labels", "add", "labels.csv", "--log", "log")
    assert (added.returncode, added.stderr) == (0, "labels 10,800 labels added\n")
    ended = cli(monitored, "monitor", "--log", "log", *UNTIL)
    assert (ended.returncode, "nothing moved" in ended.stderr) == (0, True), ended.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until", "soon"), "--until"),
        (("--until", "2022-03-01"), "--until"),
        (("--until", "0001-01-02T00:00Z"), "--until"),
        (("--until", "9999-12-31T23:59Z"), "--until"),
        (("--until", "1500-01-01T00:00Z", "--days", "36500"), "--until"),
        (("--days", "0"), "--days"),
        (("--log", "params.yaml"), "params.yaml is a file"),
        (("--push",), "--record"),
    ],
)
def test_wrong_options_are_named(cli: Cli, monitored: Path, words: tuple[str, ...], message: str) -> None:
    ended = cli(monitored, "monitor", *words)
    assert ended.returncode in {2, 5}, ended.stderr
    assert message in ended.stderr
