"""Labels that fit are stored once, the others are named and kept apart."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.core import environment
from slipway.errors import ConfigError, DataError
from slipway.monitoring import labels
from support import prediction_logs

START = datetime(2022, 2, 1, tzinfo=UTC)
NOW = START + timedelta(days=30)
INPUTS = {"station": "park", "weekday": 2.0, "hour": 8.0, "temp": 3.0, "recent": 3.0, "yesterday": 4.0}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of ten rows, r0 to r9, a minute apart."""
    frame = pl.DataFrame({
        "id": [f"r{number}" for number in range(10)],
        "at": pl.Series([START + timedelta(minutes=number) for number in range(10)]).cast(pl.Datetime("us", "UTC")),
        "model": ["abc"] * 10, "ms": [1.0] * 10, "status": pl.Series([None] * 10, dtype=pl.Int64), "prediction": [4.0] * 10,
    }).with_columns(pl.lit(value).alias(name) for name, value in INPUTS.items())  # fmt: skip
    return prediction_logs.write(tmp_path / "log é", PROBLEM, frame)


def file(folder: Path, name: str = "labels.parquet", **columns: Any) -> Path:
    path = folder / name
    frame = pl.DataFrame(columns, strict=False)
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return path


def add(log: Path, path: Path) -> str:
    return labels.add(PROBLEM, path, log, now=NOW)


def stored(log: Path) -> dict[str, float]:
    return dict(labels.read(log, until=None).select("id", "label").iter_rows())


@pytest.mark.parametrize("name", ["labels.parquet", "labels.csv", "labels.csv.gz"])
def test_labels_are_stored(log: Path, tmp_path: Path, name: str) -> None:
    path = file(tmp_path, name.removesuffix(".gz"), id=["r0", "r1"], hires=[3, 4])
    if name.endswith(".gz"):
        subprocess.run(["gzip", "-n", str(path)], check=True)
    assert add(log, tmp_path / name) == "2 labels added"
    assert stored(log) == {"r0": 3.0, "r1": 4.0}


def test_same_file_twice_changes_nothing(log: Path, tmp_path: Path) -> None:
    path = file(tmp_path, id=["r0", "r1", "nobody"], hires=[3.0, 4.0, 5.0])
    add(log, path)
    before = {each: each.read_bytes() for each in log.rglob("*.parquet")}
    again = add(log, path)
    assert again == "0 labels added; 2 were there already; kept apart: 1 have an id that the log does not have (nobody)"
    assert {each: each.read_bytes() for each in log.rglob("*.parquet")} == before


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"id": ["r0", "x"], "hires": [1.0, 2.0]}, "1 have an id that the log does not have (x)"),
        ({"id": ["r1", "r0"], "hires": [1.0, 9.0]}, "1 contradict a label that is there (r0)"),
        (
            {"id": ["r1", "r2", "r2"], "hires": [1.0, 2.0, 3.0]},
            "2 have an id that stands twice in the file, with two values",
        ),
        (
            {"id": ["r1", "r2"], "hires": [1.0, 2.0], "known_at": [NOW, NOW + timedelta(days=1)]},
            "1 are from after now, or from before their row (r2)",
        ),
        (
            {"id": ["r1", "r2"], "hires": [1.0, 2.0], "known_at": [NOW, START - timedelta(days=1)]},
            "1 are from after now, or from before their row (r2)",
        ),
    ],
)
def test_unfit_labels_are_apart(log: Path, tmp_path: Path, columns: dict[str, Any], sentence: str) -> None:
    add(log, file(tmp_path, "first.csv", id=["r0"], hires=[1.0]))
    assert f"kept apart: {sentence}" in add(log, file(tmp_path, **columns))
    assert len(list((log / "labels/apart").glob("*.parquet"))) == 1
    assert set(stored(log)) <= {"r0", "r1"}


def test_no_fitting_label_is_an_error(log: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"none of the labels in .* fits: kept apart: 1 have an id that the log does not"
    ):
        add(log, file(tmp_path, id=["x"], hires=[1.0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["r0"], "bikes": [1.0]}, "lacks the column hires; it has id, bikes"),
        ({"hires": [1.0]}, "lacks the column id; it has hires"),
        ({"id": ["r0"], "hires": [-1.0]}, "hires is -1 in 1 of 1 rows"),
        ({"id": ["r0"], "hires": [float("nan")]}, "hires is nan in 1 of 1 rows"),
        ({"id": ["r0"], "hires": ["many"]}, "conversion from"),
        ({"id": [None], "hires": [1.0]}, "1 rows have a label and no id"),
        ({"id": ["r0"], "hires": [1.0], "known_at": ["soon"]}, "known_at is 'soon'"),
        ({"id": ["r0"], "hires": [1.0], "known_at": ["2022-02-03T12:00"]}, "known_at is '2022-02-03T12:00'"),
        ({"id": ["r0"], "hires": [1.0], "known_at": [datetime(2022, 2, 3)]}, "known_at has type Datetime"),
    ],
)
def test_wrong_file_is_refused(log: Path, tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        add(log, file(tmp_path, **columns))
    assert not stored(log)


@pytest.mark.parametrize("content", [b"", b"PAR1 no", b"\xff\xfe\x00", b"id,hires\nr0,1,2,3\n"])
@pytest.mark.parametrize("name", ["labels.parquet", "labels.csv"])
def test_damaged_file_is_refused(log: Path, tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError):
        add(log, tmp_path / name)


def test_absent_file_is_named(log: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.csv does not exist"):
        add(log, tmp_path / "nothing.csv")


def test_empty_table_adds_nothing(log: Path, tmp_path: Path) -> None:
    assert add(log, file(tmp_path, "labels.csv", id=[], hires=[])) == "0 labels added"


def test_damaged_stored_file_is_named(log: Path, tmp_path: Path) -> None:
    (log / "labels").mkdir()
    (log / "labels/bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"bad\.parquet cannot be read as labels"):
        add(log, file(tmp_path, id=["r0"], hires=[1.0]))


def test_labels_are_read_as_known(log: Path, tmp_path: Path) -> None:
    times = ["2022-02-03T00:00Z", "2022-02-05T01:00+01:00"]
    add(log, file(tmp_path, "labels.csv", id=["r0", "r1"], hires=[1, 2], known_at=times))
    assert len(labels.read(log, until=datetime(2022, 2, 4, tzinfo=UTC))) == 1
    assert len(labels.read(log, until=datetime(2022, 2, 5, tzinfo=UTC))) == 2


def test_two_adds_keep_all(monitored: Path, tmp_path: Path) -> None:
    frame = prediction_logs.rows(monitored, PROBLEM, count=200, days=1)
    log = prediction_logs.write(monitored / ".slipway/log", PROBLEM, frame)
    answers = prediction_logs.labels(frame, "hires", delay_days=1)
    parts = [answers[:120], answers[80:]]
    variables, running = environment.for_programs(monitored), []
    for number, part in enumerate(parts):
        part.write_parquet(tmp_path / f"{number}.parquet")
        command = [sys.executable, "-m", "slipway", "labels", "add", str(tmp_path / f"{number}.parquet")]
        running.append(subprocess.Popen(command, cwd=monitored, env=variables, stderr=subprocess.PIPE))
    texts = [each.communicate(timeout=120)[1].decode() for each in running]
    assert [each.returncode for each in running] == [0, 0], texts
    assert labels.read(log, until=None)["id"].sort().to_list() == frame["id"].sort().to_list()


def test_labels_are_kept_at_a_url(log: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for place in (f"file://{log}", f"file://{log}"):
        sentence = labels.add_to(PROBLEM, file(tmp_path, id=["r0", "no"], hires=[3, 4]), place, root=root)
        assert "kept apart: 1 have an id that the log does not have (no)" in sentence
    assert stored(log) == {"r0": 3.0}
    assert pl.read_parquet(log / "labels/apart")["id"].to_list() == ["no"]


def test_labels_of_an_absent_store_are_an_error(tmp_path: Path) -> None:
    path = file(tmp_path, id=["r0"], hires=[3])
    with pytest.raises(ConfigError, match="failed with FileNotFoundError"):
        labels.add_to(PROBLEM, path, f"file://{tmp_path}/gone", root=tmp_path)
