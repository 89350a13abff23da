"""Lines of the records branch: their format, and what is wrong with a damaged one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.core.verdict import Check, Verdict
from slipway.errors import DataError
from slipway.records import record

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


def one(**changes: object) -> record.Record:
    return record.Record.model_validate({"at": AT, "kind": "verdict", "chapter": "judge", "verdict": "pass"} | changes)


def test_line_is_read_back_unchanged() -> None:
    line = one(notes={"text": "é \u2028 \ud800"}).line()
    (read,) = record.parse(line, where="x")
    assert read.line() == line
    assert '"at":"2026-03-04T12:00:00.000000Z"' in line


def test_unknown_fields_are_kept_verbatim() -> None:
    (read,) = record.parse(one().line().replace('"v":1', '"v":2,"later":[1]'), where="x")
    assert '"later":[1]' in read.line()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"v":1', "cut off"),
        ("{}\n", "line 1: key at is missing"),
        ("no JSON\n", "line 1: the line is not valid JSON"),
        ('{"v":1,"at":"2026-03-04T12:00:00","kind":"verdict","chapter":"x"}\n', "line 1: at is"),
    ],
)
def test_damaged_line_is_named(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        record.parse(text, where="x")


def test_verdict_file_becomes_a_record(tmp_path: Path) -> None:
    check = Check(name="auc", value=0.7, limit="≥ 0.65", ok=True)
    Verdict(chapter="judge", checks=[check], inputs={"challenger": "a" * 64}).write(tmp_path / "judge.json")
    made = record.from_verdict_file(tmp_path / "judge.json", env="staging", commit="c")
    assert (made.chapter, made.verdict, made.env, made.commit) == ("judge", "pass", "staging", "c")
    assert made.model_sha256 == "a" * 64
    assert made.checks[0]["name"] == "auc"


def test_checks_of_a_record_are_bounded(tmp_path: Path) -> None:
    check = Check(name="auc", value=0.7, limit="≥ 0.65", ok=True)
    Verdict(chapter="judge", checks=[check] * 500).write(tmp_path / "judge.json")
    made = record.from_verdict_file(tmp_path / "judge.json")
    assert (len(made.checks), made.notes["checks_left_out"]) == (record.MAX_CHECKS, 300)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"chapter":"judge","verdict":"maybe"}', '{"chapter":1,"verdict":"pass"}']
)
def test_file_without_a_verdict_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "judge.json").write_text(text)
    with pytest.raises(DataError, match=r"judge\.json"):
        record.from_verdict_file(tmp_path / "judge.json")
