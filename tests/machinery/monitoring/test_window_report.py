"""The report says the four answers first, and shows texts of others as texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slipway.core.verdict import Check, Verdict
from slipway.monitoring import monitor, window_report
from support.hostile_texts import HOSTILE

WINDOW = {"from": "2022-02-01", "to": "2022-02-08", "rows": 1200}


def verdicts(text: str = "`temp` is in another unit", **notes: Any) -> dict[str, Verdict]:
    about = {"window": WINDOW, "model": "abc", "other_models": {}, "left_out": {}, "lost": 0, "sentence": text} | notes
    oks = {"service": True, "inputs": False, "predictions": None, "performance": True}
    return {
        name: Verdict(chapter=f"monitor-{name}", rows=1200, notes=about,
                      checks=[Check(name=f"check of {name}", value=0.5, limit="≤ 1", ok=ok, text=text)])
        for name, ok in oks.items()
    }  # fmt: skip


def write(folder: Path, **notes: Any) -> tuple[str, str]:
    made = verdicts(**notes)
    window_report.write(made, monitor.combine(made), folder, root=folder)
    return (folder / "report.md").read_text("utf-8"), (folder / "report.html").read_text("utf-8")


def test_report_starts_with_answers(tmp_path: Path) -> None:
    markdown, page = write(tmp_path)
    assert "- ❌ **inputs**: &#96;temp&#96; is in another unit" in markdown
    assert markdown.index("❌ **inputs**") < markdown.index("## Service: is it within its objectives?")
    assert "<h1>What production answered</h1>" in page


def test_remarks_name_what_was_left_out(tmp_path: Path) -> None:
    markdown, page = write(tmp_path, other_models={"f" * 12: 1_234}, left_out={"broken lines": 5}, lost=7)
    for sentence in ("1,234 rows are of another model, ffffffffffff: they were not judged", "5 broken lines: left out",
                     "7 lines could not be logged by the service"):  # fmt: skip
        assert sentence in markdown
        assert sentence in page


def test_table_shows_numbers_shortly(tmp_path: Path) -> None:
    table = [{"input": "temp", "moved": 0.123456789, "fault": None}] * 300
    _, page = write(tmp_path, table=table)
    assert page.count("0.123457") == 4 * window_report.MAX_ROWS


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_others_stay_texts(tmp_path: Path, text: str) -> None:
    _, page = write(tmp_path, text=text, table=[{"input": text, "fault": text}], other_models={text: 1}, model=text)
    assert "<script>alert" not in page
    assert "<img src" not in page
