"""`monitor` on the bikes problem: each question's verdict, the exit codes, the records, and logs that are not whole."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import config, environment
from slipway.errors import CheckFailed, DataError, Inconclusive
from slipway.monitoring import labels, monitor
from slipway.monitoring.log_files import compaction
from slipway.records import git_branch, records_branch
from support import prediction_logs as logs
from support.callables import Run
from support.committed_project import commit
from support.paths import ROOT

DAYS = 63
PER_DAY = 150
LOG = Path(".slipway/log")
Row = dict[str, Any]


@pytest.fixture(scope="module")
def described(project: Path, run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes project with its reports and objectives. Read only."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("described") / "a b é")
    (folder / "loadtests").mkdir()
    shutil.copy(ROOT / "tests/machinery/support/slo.yaml", folder / "loadtests/slo.yaml")
    run(folder, "evaluate")
    return folder


@pytest.fixture
def place(described: Path, tmp_path: Path) -> Path:
    """A folder of the test's own with what `monitor` reads."""
    folder = tmp_path / "a b é"
    for name in ("params.yaml", "loadtests", "reports"):
        copy = shutil.copytree if (described / name).is_dir() else shutil.copy2
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy(described / name, folder / name)
    return folder


@pytest.fixture
def rows(described: Path) -> list[Row]:
    """Nine weeks of a healthy log."""
    return logs.healthy(PROBLEM, pl.read_parquet(described / "data/features.parquet"), days=DAYS, per_day=PER_DAY)


def put(place: Path, rows: list[Row], **options: str) -> None:
    logs.write(place / LOG, PROBLEM, rows, **options)


def put_labels(place: Path, rows: list[Row], shift: float = 0.0) -> None:
    labels.add(PROBLEM, logs.labels_of(rows, place, PROBLEM.target, shift=shift), place / LOG)


def ask(place: Path, **options: Any) -> str:
    return monitor.run(config.load(place / "params.yaml"), until=logs.END, root=place, **options)


def words(place: Path) -> dict[str, str]:
    overall = json.loads((place / "reports/monitor.json").read_text())
    return {check["name"]: check["value"] for check in overall["checks"]}


def sentence(place: Path, question: str) -> str:
    return str(json.loads((place / f"reports/monitor/{question}.json").read_text())["notes"]["sentence"])


def everything_passes(place: Path) -> None:
    assert words(place) == dict.fromkeys(monitor.QUESTIONS, "pass"), (place / "reports/monitor.json").read_text()


def test_healthy_log_passes(place: Path, rows: list[Row]) -> None:
    put(place, rows)
    put_labels(place, rows)
    assert ask(place) == "1,050 rows of the 7 days before 2026-03-04 00:00 UTC: nothing moved"
    everything_passes(place)
    assert (place / "reports/monitor/report.html").exists()


def test_failed_requests_fail_the_service(place: Path, rows: list[Row]) -> None:
    put(place, rows + logs.failures(200))
    put_labels(place, rows)
    with pytest.raises(CheckFailed, match="200 of 1,250 requests"):
        ask(place)
    assert words(place)["service"] == "fail"
    assert words(place)["inputs"] == "pass"


def test_broken_sensor_fails_the_inputs(place: Path, rows: list[Row]) -> None:
    for row in logs.recent(rows, 7):
        row["inputs"]["temp"] = 20.0
    put(place, rows)
    with pytest.raises(CheckFailed, match="temp"):
        ask(place)
    assert words(place)["inputs"] == "fail"
    assert "`temp`" in sentence(place, "inputs")


def test_one_answer_fails_the_predictions(place: Path, rows: list[Row]) -> None:
    for row in logs.recent(rows, 7):
        row["prediction"] = 30.0
    put(place, rows)
    with pytest.raises(CheckFailed, match="same value"):
        ask(place)
    assert words(place)["predictions"] == "fail"


def test_wrong_answers_fail_the_performance(place: Path, rows: list[Row]) -> None:
    newest, before = logs.recent(rows, 14), rows[: -len(logs.recent(rows, 14))]
    put(place, rows)
    put_labels(place, before)
    put_labels(place, newest, shift=60)
    with pytest.raises(CheckFailed, match="Performance"):
        ask(place)
    assert words(place)["performance"] == "fail"


def test_without_labels_performance_is_unsure(place: Path, rows: list[Row]) -> None:
    put(place, rows)
    with pytest.raises(Inconclusive, match="have a label"):
        ask(place)
    assert words(place) == {"service": "pass", "inputs": "pass", "predictions": "pass", "performance": "unsure"}


@pytest.mark.parametrize("folder", [True, False])
def test_first_day_is_unsure(place: Path, folder: bool) -> None:
    if folder:
        put(place, [])
    with pytest.raises(Inconclusive, match="has no predictions of the 7 days before 2026-03-04 00:00 UTC"):
        ask(place)
    assert set(words(place).values()) == {"unsure"}


@pytest.mark.parametrize(("broken", "code"), [("nothing", 0), ("temp", 4), ("labels", 5)])
def test_exit_code_is_the_verdict(place: Path, rows: list[Row], broken: str, code: int) -> None:
    if broken == "temp":
        for row in logs.recent(rows, 7):
            row["inputs"]["temp"] = None
    put(place, rows)
    if broken != "labels":
        put_labels(place, rows)
    command = [sys.executable, "-m", "slipway", "monitor", "--until", "2026-03-04T00:00Z"]
    done = subprocess.run(command, cwd=place, env=environment.for_programs(place), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_reference_of_another_contract_is_refused(place: Path, rows: list[Row]) -> None:
    put(place, rows)
    path = place / "reports/plots/reference.json"
    path.write_text(path.read_text().replace('"temp"', '"humidity"'))
    with pytest.raises(DataError, match="other inputs than the contract of bikes: humidity, temp"):
        ask(place)


def test_log_of_another_problem_is_refused(place: Path, rows: list[Row]) -> None:
    path = logs.write(place / LOG, PROBLEM, rows)
    path.write_text(path.read_text().replace('"problem":"bikes"', '"problem":"flights"', 1))
    with pytest.raises(DataError, match="the log is of the problem flights"):
        ask(place)


def test_other_model_is_named_only(place: Path, rows: list[Row]) -> None:
    put(place, rows)
    put_labels(place, rows)
    put(place, [row | {"id": f"o{row['id']}", "model": "ffffffffffff"} for row in logs.recent(rows, 1)], name="2")
    ask(place)
    everything_passes(place)
    assert "150 rows are of another model, ffffffffffff" in (place / "reports/monitor/report.md").read_text()


def test_two_monitors_at_once(place: Path, rows: list[Row]) -> None:
    put(place, rows)
    put_labels(place, rows)
    with ThreadPoolExecutor(2) as pool:
        assert len({each.result() for each in [pool.submit(ask, place) for _ in range(2)]}) == 1
    everything_passes(place)


def test_records_are_appended_before_it_fails(place: Path, rows: list[Row]) -> None:
    commit(place)
    put(place, rows + logs.failures(200))
    with pytest.raises(CheckFailed):
        ask(place, record=True)
    written = {each.chapter: each.verdict for each in records_branch.read(place)}
    assert written == {
        "monitor-service": "fail", "monitor-inputs": "pass", "monitor-predictions": "pass", "monitor-performance": "unsure",
    }  # fmt: skip


def test_damaged_records_are_refused_first(place: Path, rows: list[Row]) -> None:
    commit(place)
    put(place, rows)
    tip = git_branch.write("no record\n", None, title="x", root=place)
    assert git_branch.move(git_branch.LOCAL, tip, None, root=place)
    with pytest.raises(DataError, match="slipway-records"):
        ask(place, record=True)
    assert not (place / "reports/monitor.json").exists()


def test_compacted_log_gives_the_same_verdicts(place: Path, rows: list[Row]) -> None:
    for row in logs.recent(rows, 7)[::2]:
        row["inputs"]["station"] = "new"
    put(place, rows + logs.failures(1))
    put_labels(place, rows)
    answers = []
    for _ in range(2):
        with pytest.raises(CheckFailed):
            ask(place)
        answers.append([_judged(place, name) for name in monitor.QUESTIONS])
        compaction.run(place / LOG, PROBLEM)
    assert list((place / LOG / "predictions").glob("*.parquet"))
    assert answers[0] == answers[1]


def _judged(place: Path, question: str) -> Any:
    record = json.loads((place / f"reports/monitor/{question}.json").read_text())
    return record["checks"], {name: value for name, value in record["notes"].items() if name != "left_out"}


def test_broken_lines_change_no_verdict(place: Path, rows: list[Row]) -> None:
    last = rows[-1]
    foreign = [last | {"v": 2}, last, last | {"id": "n", "at": "2026-13-01"}, last | {"id": "late", "at": "2031-01-01T00:00:00.0Z"}]
    put(place, rows + foreign, tail=json.dumps(last)[:50])
    put_labels(place, rows)
    ask(place)
    everything_passes(place)
    report = (place / "reports/monitor/report.md").read_text()
    for line in ("1 lines of another version: left out", "1 repeated ids", "1 lines without id or time",
                 "1 lines from after the window", "1 half lines"):  # fmt: skip
        assert line in report


def test_rows_of_one_value_are_a_fault(place: Path, rows: list[Row]) -> None:
    one = rows[0]["inputs"]
    put(place, [row | {"inputs": one, "prediction": 7.0} for row in rows])
    with pytest.raises(CheckFailed):
        ask(place)
    assert words(place)["predictions"] == "fail"
