"""The report of `monitor` in a real browser: moved and on the first day, light and dark, on a desk and on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from slipway.monitoring import monitor, window_report
from slipway.monitoring.window import Answer
from support import browser as browsing
from support.monitor_verdicts import ABOUT, verdicts

SIZES = {"desk": (1280, 800), "phone": (360, 800)}


def write(folder: Path, kind: str) -> None:
    each, overall = verdicts("quiet")
    if kind == "first day":
        about = {**ABOUT, "model": None, "other_models": {}, "left_out": {}, "lost": 0}
        nothing = Answer(sentence="Unsure: no rows.", checks=[], rows=0, notes={})
        each = {name: monitor.make_verdict(name, nothing, about, 1) for name in each}
        overall = monitor.combine(each)
    window_report.write(each, overall, folder, root=folder)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["moved", "first day"])
def test_anybody_can_read_the_report(tmp_path: Path, kind: str, size: str, scheme: Literal["light", "dark"]) -> None:
    program = browsing.require_chromium()
    write(tmp_path, kind)
    width, height = SIZES[size]
    with browsing.open_browser(program) as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        browsing.prepare(page, tmp_path / "report.html")
        assert browsing.accessibility_faults(page, contrast=True) == []
        for measure in ("headings", "texts", "headers", "overflow", "contrast", "pictures", "marks"):
            assert browsing.faults(page, measure) == [], measure
