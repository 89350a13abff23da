"""The status page in a real browser: busy and on the first day, light and dark, on a desk and on a phone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import pytest

from slipway.records.record import Record
from slipway.reporting.status_page import status, status_data
from support import browser as browsing
from support.sample_ledger import line

AT = datetime(2026, 3, 4, tzinfo=UTC)
NOTES = {
    "budget": [{"objective": "availability", "allowed": 0.001, "bad_ratio": 0.0002, "spent": 0.2}],
    "estimate": {"log_loss": 0.5},
}
SIZES = {"desk": (1280, 800), "phone": (360, 800)}


def busy() -> status_data.Status:
    lines = [line(1, "staging").model_copy(update={"at": AT + timedelta(hours=n)}) for n in range(120)]
    words: list[Literal["pass", "fail", "unsure"]] = ["pass", "fail", "unsure"]
    records = [
        Record(at=AT + timedelta(days=n), kind="verdict", chapter=f"monitor-{name}", verdict=words[k], notes=NOTES)
        for n in range(30) for k, name in enumerate(("service", "inputs", "performance"))
    ]  # fmt: skip
    return status_data.gather({"staging": lines, "production": [line(9)]}, records)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["busy", "first day"])
def test_anybody_can_read_the_status(tmp_path: Path, kind: str, size: str, scheme: Literal["light", "dark"]) -> None:
    program = browsing.require_chromium()
    shown = busy() if kind == "busy" else status_data.gather({"staging": [], "production": []}, [])
    text = status.page(shown, title="bikes", head="a" * 40, records_commit=None, web="https://github.com/own/bikes")
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    width, height = SIZES[size]
    with browsing.open_browser(program) as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        browsing.prepare(page, tmp_path / "index.html")
        assert browsing.accessibility_faults(page, contrast=True) == []
        for measure in ("headings", "texts", "headers", "overflow", "contrast", "pictures", "marks"):
            assert browsing.faults(page, measure) == [], measure
