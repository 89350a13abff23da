"""Labels that come later: added once, kept apart when they do not fit, and refused when the file is no table of labels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from bikes.problem import PROBLEM

from slipway.errors import ConfigError, DataError
from slipway.monitoring import labels
from support import prediction_logs as logs

NOW = logs.END + timedelta(days=1)
KNOWN = logs.moment(logs.END)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with the rows r0 to r9 of one day."""
    rows = logs.answers(PROBLEM, logs.made_up(PROBLEM, 10), [4.0] * 10, days=1)
    logs.write(tmp_path / "log", PROBLEM, rows)
    return tmp_path / "log"


def table(log: Path, text: str, name: str = "labels.csv") -> Path:
    path = log.parent / name
    path.write_text(text, encoding="utf-8")
    return path


def add(log: Path, text: str) -> str:
    return labels.add(PROBLEM, table(log, text), log, now=NOW)


def stored(log: Path) -> dict[str, float]:
    return dict(labels.read(log, until=None).select("id", "label").iter_rows())


def apart(log: Path) -> pl.DataFrame:
    return pl.concat(map(pl.read_parquet, sorted((log / "labels/apart").glob("*.parquet"))))


def test_labels_are_added_once(log: Path) -> None:
    text = "id,hires\nr1,4\nr2,5\n"
    assert add(log, text) == "2 labels added"
    assert add(log, text) == "0 labels added; 2 were there already"
    assert add(log, "id,hires\nr2,5\nr3,6\n") == "1 labels added; 1 were there already"
    assert stored(log) == {"r1": 4.0, "r2": 5.0, "r3": 6.0}


def test_parquet_gives_the_same_labels(log: Path) -> None:
    path = log.parent / "labels.parquet"
    pl.DataFrame({"id": ["r1", "r2"], "hires": [4, 5], "known_at": [logs.END] * 2}).write_parquet(path)
    assert labels.add(PROBLEM, path, log, now=NOW) == "2 labels added"
    assert add(log, f"id,hires,known_at\nr1,4,{KNOWN}\nr2,5,{KNOWN}\n") == "0 labels added; 2 were there already"


@pytest.mark.parametrize(
    ("line", "reason"),
    [("x9,3,", "unknown"), ("r2,3,2026-03-09T00:00Z", "future"), ("r2,3,2026-01-01T00:00Z", "future"),
     ("r1,7,", "contradicting"), ("r2,3,\nr2,4,", "repeated")],
)  # fmt: skip
def test_label_that_does_not_fit(log: Path, line: str, reason: str) -> None:
    add(log, "id,hires\nr1,4\n")
    times = line.replace(",\n", f",{KNOWN}\n")
    times += KNOWN if times.endswith(",") else ""
    words = add(log, f"id,hires,known_at\nr5,4,{KNOWN}\n{times}\n")
    assert words.startswith("1 labels added; kept apart:")
    assert labels.REASONS[reason] in words
    assert apart(log)["reason"].unique().to_list() == [reason]
    assert stored(log) == {"r1": 4.0, "r5": 4.0}


def test_labels_that_all_misfit_are_an_error(log: Path) -> None:
    with pytest.raises(DataError, match="none of the labels in .* fits: kept apart: 4 have an id .* \\(a, b, c, …\\)"):
        add(log, "id,hires\na,1\nb,2\nc,3\nd,4\n")
    assert len(apart(log)) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [("id,other\nr1,4\n", "lacks the column hires; it has id, other"), ("x\n1\n", "lacks the column id, hires"),
     ("", "cannot be read"), ("id,hires\nr1,many\n", "hires as a number"), ("id,hires\n,4\n", "1 rows have a label and no id"),
     ("id,hires\nr1,-4\n", "hires is -4 in 1 of 1 rows"), ("id,hires\nr1,9000\n", "hires is 9000"),
     ("id,hires\nr1,nan\n", "hires is nan"), ("id,hires\nr1,inf\n", "hires is inf"),
     ("id,hires,known_at\nr1,4,yesterday\n", "known_at is 'yesterday'"),
     ("id,hires,known_at\nr1,4,2026-03-03T12:00\n", "known_at is '2026-03-03T12:00'")],
)  # fmt: skip
def test_file_of_no_labels_is_refused(log: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        add(log, text)
    assert error.value.hint
    assert stored(log) == {}


def test_rows_without_label_are_left_out(log: Path) -> None:
    assert add(log, "id,hires\nr1,4\nr2,\n") == "1 labels added"
    assert add(log, "id,hires\nr1,\n") == "0 labels added"


def test_absent_file_is_named(log: Path) -> None:
    with pytest.raises(ConfigError, match="gone.csv does not exist"):
        labels.add(PROBLEM, log.parent / "gone.csv", log)


def test_time_without_zone_is_refused(log: Path) -> None:
    path = log.parent / "labels.parquet"
    pl.DataFrame({"id": ["r1"], "hires": [4.0], "known_at": [logs.END.replace(tzinfo=None)]}).write_parquet(path)
    with pytest.raises(DataError, match="known_at has type Datetime"):
        labels.add(PROBLEM, path, log)


@pytest.mark.parametrize("name", ["labels.parquet", "labels.csv"])
def test_file_that_is_no_table(log: Path, name: str) -> None:
    path = log.parent / name
    path.write_bytes(b"\xff\xfe\x00PAR1" * 9)
    with pytest.raises(DataError):
        labels.add(PROBLEM, path, log)


def test_damaged_stored_file_is_named(log: Path) -> None:
    add(log, "id,hires\nr1,4\n")
    (path,) = (log / "labels").glob("*.parquet")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="cannot be read as labels") as error:
        add(log, "id,hires\nr2,4\n")
    assert str(path) in str(error.value.hint)


def test_two_adds_at_once(log: Path) -> None:
    paths = [table(log, f"id,hires\nr1,4\nr{n},5\n", f"{n}.csv") for n in range(2, 8)]
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda path: labels.add(PROBLEM, path, log, now=NOW), paths))
    assert sorted(results)[-1] == "2 labels added"
    frame = labels.read(log, until=None)
    assert len(frame) == frame["id"].n_unique() == 7


def test_labels_known_later_are_left_out(log: Path) -> None:
    add(log, f"id,hires,known_at\nr1,4,{KNOWN}\nr2,4,2026-03-04T12:00Z\n")
    assert labels.read(log, until=logs.END)["id"].to_list() == ["r1"]
