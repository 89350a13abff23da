"""The page of an incident in a real browser: light and dark, on a desk and on a phone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest

from slipway.core import git, ledger
from slipway.records import records_branch
from slipway.records.record import Record
from slipway.reporting.incident import incident
from support import browser as browsing
from support import remote_repository
from support.sample_ledger import line

SIZES = {"desk": (1280, 800), "phone": (360, 800)}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_anybody_can_read_the_incident(tmp_path: Path, size: str, scheme: Literal["light", "dark"]) -> None:
    program = browsing.require_chromium()
    _, work = remote_repository.remote(tmp_path)
    ledger.append(line(4), work)
    alert = Record(at=datetime(2026, 3, 4, 1, tzinfo=UTC), kind="alert", chapter="SlowAnswers", env="production")
    records_branch.append([alert], root=work)
    git.run("remote", "set-url", "origin", "https://github.com/own/bikes", root=work)
    incident.run("2026-03-01T00:00Z", "2026-03-09T00:00Z", root=work)
    width, height = SIZES[size]
    with browsing.open_browser(program) as browser:
        page = browser.new_page(viewport={"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        browsing.prepare(page, work / "reports/incident/index.html")
        assert browsing.accessibility_faults(page, contrast=True) == []
        for measure in ("headings", "texts", "headers", "overflow", "contrast", "pictures", "marks"):
            assert browsing.faults(page, measure) == [], measure
        link = page.get_by_role("link", name="docs/alerts/SlowAnswers.md").get_attribute("href")
        assert link == f"https://github.com/own/bikes/blob/{git.commit_hash(root=work)}/docs/alerts/SlowAnswers.md"
