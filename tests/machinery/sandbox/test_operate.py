"""`loop --operate`: which rows are asked, which input breaks, and what stands in the log afterwards."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from slipway.errors import CheckFailed, ConfigError
from slipway.sandbox import operate
from slipway.sandbox.operate import Week

START = date(2026, 3, 2)
SPREAD = {"input": "temp", "edges": [1.0, 2.0, 3.0, 4.0, 5.0], "shares": [0.1, 0.2, 0.2, 0.2, 0.2, 0.1], "missing": 0.0}


def week(number: int = 1) -> Week:
    """A week with two rows a day, and one day with three."""
    days = [START + timedelta(days=n) for n in range(7) for _ in range(3 if n == 0 else 2)]
    return Week(number, START, pl.DataFrame({"day": days, "temp": [float(n) for n in range(len(days))]}))


def test_an_input_repeats_its_last_value() -> None:
    broken = operate.repeat_one_value(week(), "temp").rows
    sound = broken.filter(pl.col("day") < START + timedelta(days=7 - operate.BROKEN_DAYS))
    assert sound["temp"].to_list() == [float(n) for n in range(len(sound))]
    assert set(broken[len(sound) :]["temp"].to_list()) == {sound["temp"][-1]}


def test_rows_of_a_day_are_spread_over_it() -> None:
    times = operate.row_times(week().rows)
    assert times[:4] == [datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (0, 8, 16)] + [
        datetime(2026, 3, 3, tzinfo=UTC)
    ]
    assert times == sorted(times)


@pytest.mark.parametrize("other", [
    {"edges": [1.0], "shares": [0.5, 0.5]}, {"shares": [0.9, 0.02, 0.02, 0.02, 0.02, 0.02]}, {"missing": 0.5},
    {"edges": [], "values": ["a"]},
])  # fmt: skip
def test_an_input_that_hardly_varies_is_not_chosen(other: dict[str, Any]) -> None:
    dull = SPREAD | {"input": "dull"} | other
    assert operate.choose_input([dull, SPREAD]) == "temp"
    with pytest.raises(ConfigError, match="no input is a number with spread values"):
        operate.choose_input([dull])


def test_the_log_has_the_times_of_the_rows(tmp_path: Path) -> None:
    asked = week(2)
    lines = {asked.row_id(n): {"v": 1, "id": asked.row_id(n), "at": "now", "prediction": n} for n in range(15)}
    operate.write_dated({"v": 1, "at": "now", "problem": "bikes"}, lines, asked, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "predictions/week-2.jsonl").read_text("utf-8").splitlines()]
    assert (rows[0]["problem"], rows[0]["at"], rows[1]["at"]) == ("bikes", *["2026-03-02T00:00:00.000000Z"] * 2)
    assert [row["prediction"] for row in rows[1:]] == list(range(15))


def test_a_row_that_was_not_logged_is_an_error() -> None:
    line = json.dumps({"v": 1, "id": week().row_id(0)})
    content = f'{{"v": 1}}\n{line}\n{{"v": 1, "id": "week-1'.encode()
    with pytest.raises(CheckFailed, match="answered 15 rows and logged 1"):
        operate.read_lines(lambda: [content, b""], week(), seconds=0.3)
