"""lookup: a question gets the numbers that the pipeline made, to the last input."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from flights import features, lookup
from flights.contract import Inputs
from flights.lookup import Question
from slipway.errors import DataError

ASKED = {"carrier": "UA", "origin": "EWR", "dest": "ORD", "sched_dep": "2013-10-31T17:00"}


@pytest.fixture(scope="module")
def path(sample: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("a b é") / "lookup.sqlite"
    lookup.write(sample, path)
    return path


@pytest.fixture(scope="module")
def flights(sample: pl.DataFrame) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """400 flights of the days that the lookup knows, each with the pipeline's row.

    `twin` are those whose airline has another flight to the same place in the same minute.
    """
    twin = pl.struct("carrier", "origin", "dest", "sched_dep").is_duplicated()
    table = sample.with_columns(twin=twin)
    made = features.features(table)
    first = table.select(pl.col("day").max()).item() - timedelta(days=lookup.DAYS - 1)
    known = table.join(made.select("row_id"), on="row_id", how="semi").filter(pl.col("day") >= first).sort("sched_dep")
    some = pl.concat([known.head(40), known.tail(60), known.sample(300, seed=4)]).unique("row_id")
    rows = {row["row_id"]: row for row in made.join(some.select("row_id"), on="row_id", how="semi").to_dicts()}
    return [(flight, rows[flight["row_id"]]) for flight in some.to_dicts()]


def question(flight: dict[str, Any], *more: str) -> Question:
    return Question.model_validate({name: flight[name] for name in ("carrier", "origin", "dest", "sched_dep", *more)})


def skew(answered: dict[str, Any], made: dict[str, Any]) -> float:
    """The largest difference of any input; infinite where one is missing or a text differs."""
    pairs = [(answered[name], made[name]) for name in Inputs.model_fields]
    numbers = [(a, b) for a, b in pairs if isinstance(a, float) and isinstance(b, float)]
    same = all(a == b for a, b in pairs if not (isinstance(a, float) and isinstance(b, float)))
    return max(abs(a - b) for a, b in numbers) if same else float("inf")


@pytest.mark.parametrize("more", [(), ("flight", "tailnum")], ids=["asked by route", "asked by flight and plane"])
def test_answers_are_the_pipeline_s_rows(
    path: Path, flights: list[tuple[dict[str, Any], dict[str, Any]]], more: tuple[str, ...]
) -> None:
    asked = [(flight, made) for flight, made in flights if more or not flight["twin"]]
    worst = max((skew(lookup.answer(path, question(f, *more)), made), f["row_id"]) for f, made in asked)
    assert len(asked) > 350
    assert worst[0] < 1e-4, worst


def test_an_answer_keeps_the_contract(path: Path) -> None:
    answered = lookup.answer(path, Question.model_validate(ASKED))
    assert Inputs.model_validate(answered).model_dump() == answered
    assert list(answered) == list(Inputs.model_fields)


@pytest.mark.parametrize("moment", ["2013-10-31T17:00-04:00", "2013-10-31T21:00Z", "2013-10-31T16:00-05:00"])
def test_a_moment_without_offset_is_new_york_s(path: Path, moment: str) -> None:
    local, offset = (Question.model_validate({**ASKED, "sched_dep": m}) for m in ("2013-10-31T17:00", moment))
    assert lookup.answer(path, local) == lookup.answer(path, offset)


def test_a_flight_outside_the_timetable_takes_its_route_s_minutes(path: Path) -> None:
    answered = lookup.answer(path, Question.model_validate({**ASKED, "sched_dep": "2013-10-31T17:03"}))
    assert 120 < answered["block_minutes"] < 200
    assert (answered["distance"], answered["rate_flight"], answered["plane_year"]) == (719, None, None)


def test_a_plane_and_a_flight_number_may_be_told(path: Path) -> None:
    answered = lookup.answer(path, Question.model_validate({**ASKED, "tailnum": "N14228", "flight": "UA1545"}))
    assert answered["plane_year"] == 1999
    assert 0 < answered["rate_flight"] < 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"origin": "BOS"}, "origin is 'BOS'; expected one of EWR, JFK, LGA"),
        ({"carrier": "ZZ"}, "carrier is 'ZZ'; expected one of 9E, AA, AS"),
        ({"dest": "EWR"}, "(airports that UA serves from EWR)"),
        (
            {"sched_dep": "2013-11-01T00:00"},
            "is on 2013-11-01 in New York; expected a day from 2013-09-06",
        ),
        (
            {"sched_dep": "2013-09-05T23:59"},
            "is on 2013-09-05 in New York; expected a day from 2013-09-06",
        ),
        ({"sched_dep": "9999-12-31T23:59-12:00"}, "which cannot be converted to New York time"),
    ],
)
def test_what_is_not_known_is_named(path: Path, changes: dict[str, str], message: str) -> None:
    with pytest.raises(DataError) as caught:
        lookup.answer(path, Question.model_validate(ASKED | changes))
    assert message in str(caught.value)


@pytest.mark.parametrize("moment", ["2013-09-06T00:00", "2013-10-31T23:59"])
def test_both_ends_of_the_known_days_are_answered(path: Path, moment: str) -> None:
    assert lookup.answer(path, Question.model_validate({**ASKED, "sched_dep": moment}))["distance"] == 719


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough to be read as one" * 20])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "lookup.sqlite").write_bytes(content)
    with pytest.raises(DataError, match=r"lookup\.sqlite cannot be read"):
        lookup.answer(tmp_path / "lookup.sqlite", Question.model_validate(ASKED))


def test_the_same_table_gives_the_same_bytes(sample: pl.DataFrame, path: Path, tmp_path: Path) -> None:
    lookup.write(sample.sample(fraction=1, shuffle=True, seed=1), tmp_path / "again.sqlite")
    assert (tmp_path / "again.sqlite").read_bytes() == path.read_bytes()
    assert path.stat().st_size < 5_000_000


def test_a_lookup_takes_less_than_two_milliseconds(path: Path) -> None:
    asked, seconds = Question.model_validate(ASKED), []
    for _ in range(50):
        started = time.perf_counter()
        lookup.answer(path, asked)
        seconds.append(time.perf_counter() - started)
    assert sorted(seconds)[25] < 0.002


def test_asking_needs_no_data_libraries(path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from flights.lookup import Question, answer
answer(Path({str(path)!r}), Question.model_validate({ASKED!r}))
print([name for name in ("polars", "pandas", "numpy", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
