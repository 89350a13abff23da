"""`monitor` answers four questions about a log, of a regression too, and writes its verdicts before it fails."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import config, environment, files, git
from slipway.core.verdict import Verdict
from slipway.errors import CheckFailed, ConfigError, DataError, Inconclusive
from slipway.monitoring import labels, monitor
from slipway.monitoring.log_files import compaction
from slipway.records import records_branch
from support import prediction_logs
from support.committed_project import begin
from support.paths import BIKES
from support.prediction_logs import END

QUESTIONS = ("service", "inputs", "predictions", "performance")
WEEKS = 9
"""Of a log: with labels due after a day, seven before the newest labelled one."""


def settings(**changes: Any) -> config.Params:
    """The parameters of bikes, with labels that are due after a day."""
    params = config.load(BIKES / "params.yaml")
    return params.model_copy(update={"monitor": params.monitor.model_copy(update={"label_delay_days": 1} | changes)})


def sound(root: Path, *, weeks: int = WEEKS, seed: int = 1) -> pl.DataFrame:
    return prediction_logs.rows(root, PROBLEM, count=weeks * 1200, days=weeks * 7, seed=seed)


def log(root: Path, frame: pl.DataFrame | None = None, *more: str, labelled: bool = True, end: str = "\n") -> Path:
    """Write a log into the project, and its labels; return its folder."""
    frame = sound(root) if frame is None else frame
    folder = prediction_logs.write(root / ".slipway/log", PROBLEM, frame, *more, end=end)
    if labelled:
        answers = prediction_logs.labels(frame, "hires", delay_days=1)
        answers.filter(pl.col("known_at") <= END).write_parquet(root / "labels.parquet")
        labels.add(PROBLEM, root / "labels.parquet", folder, now=END)
    return folder


def judge(root: Path, **changes: Any) -> dict[str, Verdict]:
    request = monitor.Request(log=root / ".slipway/log", until=END, days=7)
    return monitor.judge(settings(**changes), request, root=root)


def words(verdicts: dict[str, Verdict]) -> dict[str, str]:
    return {name: each.word for name, each in verdicts.items()}


def newest(change: pl.Expr) -> pl.Expr:
    """The value of an expression in the newest week, and the column as it is before."""
    return pl.when(pl.col("at") >= END - timedelta(days=7)).then(change).otherwise(pl.col(change.meta.output_name()))


def test_sound_log_passes_everywhere(monitored: Path) -> None:
    log(monitored)
    verdicts = judge(monitored)
    assert words(verdicts) == dict.fromkeys(QUESTIONS, "pass"), [each.notes["sentence"] for each in verdicts.values()]


def test_run_writes_verdicts_and_report(monitored: Path) -> None:
    log(monitored)
    sentence = monitor.run(settings(), log=".slipway/log", until=END, root=monitored)
    assert sentence.endswith("rows of the 7 days before 2022-03-01 00:00 UTC: nothing moved")
    chapters = [json.loads((monitored / f"reports/monitor/{name}.json").read_text())["chapter"] for name in QUESTIONS]
    assert chapters == [f"monitor-{name}" for name in QUESTIONS]
    overall = json.loads((monitored / "reports/monitor.json").read_text())
    assert (overall["verdict"], overall["notes"]["model"]) == ("pass", prediction_logs.MODEL)


@pytest.mark.parametrize(
    ("fault", "question"),
    [
        (pl.col("temp") * 1.8 + 32, "inputs"),
        (pl.lit(17.5).alias("temp"), "inputs"),
        (pl.lit(None, dtype=pl.Float64).alias("temp"), "inputs"),
        (pl.col("station").replace("park", "parc"), "inputs"),
        (pl.lit(20.0).alias("prediction"), "predictions"),
        (pl.lit(1e3).alias("ms"), "service"),
    ],
)
def test_fault_fails_its_question(monitored: Path, fault: pl.Expr, question: str) -> None:
    log(monitored, sound(monitored).with_columns(newest(fault)), labelled=False)
    verdict = judge(monitored)[question]
    assert verdict.word == "fail", verdict.notes["sentence"]


def test_failed_requests_break_the_service(monitored: Path) -> None:
    frame = sound(monitored)
    status = pl.when(pl.int_range(pl.len()) % 50 == 0).then(500).alias("status")
    log(monitored, frame.with_columns(status), labelled=False)
    verdicts = judge(monitored)
    assert (verdicts["service"].word, verdicts["inputs"].word) == ("fail", "pass")


def test_worse_model_fails_performance(monitored: Path) -> None:
    late = pl.col("at") >= END - timedelta(days=15)
    worse = pl.when(late).then(pl.col("label").shuffle(seed=1)).otherwise(pl.col("label")).alias("label")
    log(monitored, sound(monitored).with_columns(worse))
    assert judge(monitored)["performance"].word == "fail"


def test_log_without_labels_is_unsure(monitored: Path) -> None:
    log(monitored, labelled=False)
    assert words(judge(monitored))["performance"] == "unsure"


def test_failure_is_an_exit_code(monitored: Path) -> None:
    log(monitored, sound(monitored).with_columns(newest(pl.lit(20.0).alias("prediction"))))
    with pytest.raises(CheckFailed, match="Predictions moved"):
        monitor.run(settings(), until=END, root=monitored)
    assert json.loads((monitored / "reports/monitor.json").read_text())["verdict"] == "fail"
    assert "Predictions moved" in (monitored / "reports/monitor/report.html").read_text("utf-8")


@pytest.mark.parametrize("frame_rows", [0, 30])
def test_young_log_is_unsure(monitored: Path, frame_rows: int) -> None:
    if frame_rows:
        log(monitored, prediction_logs.rows(monitored, PROBLEM, count=frame_rows, days=1), labelled=False)
    with pytest.raises(Inconclusive):
        monitor.run(settings(), until=END, root=monitored)
    assert json.loads((monitored / "reports/monitor/inputs.json").read_text())["verdict"] == "unsure"


def test_empty_log_is_a_sentence(monitored: Path) -> None:
    sentence = judge(monitored)["inputs"].notes["sentence"]
    assert sentence.startswith("Unsure: the log in /")
    assert sentence.endswith("/.slipway/log has no predictions of the 7 days before 2022-03-01 00:00 UTC.")


def test_reference_of_another_contract(monitored: Path) -> None:
    log(monitored, labelled=False)
    path = monitored / "reports/plots/reference.json"
    path.write_text(path.read_text("utf-8").replace('"temp"', '"wind"'), "utf-8")
    with pytest.raises(DataError, match=r"describes other inputs than the contract of bikes: temp, wind"):
        judge(monitored)


@pytest.mark.parametrize("text", ["", "[{}]", "{}", "[1]", '[{"input": "temp"}]', "\x00"])
def test_damaged_reference_is_an_error(monitored: Path, text: str) -> None:
    (monitored / "reports/plots/reference.json").write_text(text)
    with pytest.raises(DataError):
        judge(monitored)


def test_other_model_is_named(monitored: Path) -> None:
    frame = sound(monitored, weeks=1)
    other = pl.when(pl.int_range(pl.len()) % 10 == 0).then(pl.lit("f" * 12)).otherwise("model").alias("model")
    log(monitored, frame.with_columns(other), labelled=False)
    notes = judge(monitored)["inputs"].notes
    assert (notes["model"], notes["other_models"]) == (prediction_logs.MODEL, {"f" * 12: 120})
    assert notes["window"]["rows"] == 1080


def test_compacted_log_gives_the_same(monitored: Path) -> None:
    folder = log(monitored)
    before = {name: each.record() for name, each in judge(monitored).items()}
    compaction.run(folder, PROBLEM)
    assert not list(folder.rglob("*.jsonl"))
    after = {name: each.record() for name, each in judge(monitored).items()}
    for record in (*before.values(), *after.values()):
        record.pop("seconds")
    assert after == before


def test_bad_lines_are_counted(monitored: Path) -> None:
    frame = sound(monitored, weeks=1)
    (line,) = prediction_logs.lines(frame.head(1), ["temp"])
    row = json.loads(line)
    future = json.dumps(row | {"id": "later", "at": prediction_logs.stamp(END + timedelta(days=900))})
    early = json.dumps(row | {"id": "early", "at": "1970-01-01T00:00:00.000000Z"})
    lost = json.dumps({"v": 1, "at": row["at"], "model": row["model"], "lost": 7})
    log(
        monitored,
        frame,
        line,
        json.dumps(row | {"v": 2}),
        "{",
        future,
        early,
        lost,
        '{"v":1,"id":"h',
        labelled=False,
        end="",
    )
    notes = judge(monitored)["inputs"].notes
    assert notes["left_out"] == {
        "lines of another version": 1, "broken lines": 1, "repeated ids (the first line counts)": 1,
        "lines from after the window's end": 1, "half lines at the end of a file": 1, "lines that break the contract": 3,
    }  # fmt: skip
    assert (notes["lost"], notes["window"]["rows"]) == (7, 1200)


@pytest.mark.parametrize("value", [None, 3.0])
def test_rows_of_one_value(monitored: Path, value: float | None) -> None:
    columns = [pl.lit(value, dtype=pl.Float64).alias(name) for name in ("prediction", "temp", "recent", "yesterday")]
    log(monitored, sound(monitored).with_columns(columns), labelled=value is not None)
    verdicts = judge(monitored)
    assert verdicts["predictions"].word == "fail"
    monitor.write(verdicts, monitor.combine(verdicts), root=monitored)


def test_two_at_once_both_end(monitored: Path) -> None:
    log(monitored)
    command = [sys.executable, "-m", "slipway", "monitor", "--until", END.isoformat()]
    variables = environment.for_programs(monitored)
    both = [subprocess.Popen(command, cwd=monitored, env=variables, stderr=subprocess.PIPE) for _ in range(2)]
    texts = [each.communicate(timeout=120)[1].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], texts
    assert not list(monitored.rglob("*.part*"))


@pytest.fixture
def repository(monitored: Path) -> Path:
    begin(monitored)
    git.run("commit", "-q", "--allow-empty", "-m", "A project", root=monitored)
    return monitored


def test_verdicts_are_recorded_before_failing(repository: Path) -> None:
    log(repository, sound(repository).with_columns(newest(pl.lit(20.0).alias("prediction"))))
    with pytest.raises(CheckFailed):
        monitor.run(settings(), until=END, record=True, root=repository)
    records = records_branch.read(repository)
    assert {each.chapter: each.verdict for each in records} == {
        "monitor-service": "pass", "monitor-inputs": "pass", "monitor-predictions": "fail", "monitor-performance": "pass",
    }  # fmt: skip
    assert {each.env for each in records} == {"production"}


def test_damaged_records_are_refused(repository: Path) -> None:
    log(repository, labelled=False)
    with pytest.raises(Inconclusive):
        monitor.run(settings(), until=END, record=True, root=repository)
    tip = records_branch.newest_commit(repository)
    tree = git.run("hash-object", "-w", "-t", "tree", "/dev/null", root=repository).strip()
    emptied = git.run("commit-tree", tree, "-p", str(tip), "-m", "x", root=repository).strip()
    git.run("branch", "-f", "slipway-records", emptied, root=repository)
    with pytest.raises(DataError):
        monitor.run(settings(), until=END, record=True, root=repository)


def test_absent_objectives_are_an_error(monitored: Path) -> None:
    shutil.rmtree(monitored / "loadtests")
    with pytest.raises(ConfigError):
        judge(monitored)


def test_log_at_a_url_gives_the_same(monitored: Path, tmp_path: Path) -> None:
    folder = log(monitored)
    before = words(judge(monitored))
    store = shutil.move(folder, tmp_path / "store")
    with contextlib.suppress(CheckFailed, Inconclusive):
        monitor.run(settings(), log=f"file://{store}", until=END, days=7, root=monitored)
    paths = {name: monitored / f"reports/monitor/{name}.json" for name in QUESTIONS}
    assert {name: files.read_json(path)["verdict"] for name, path in paths.items()} == before
