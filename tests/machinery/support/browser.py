"""A real browser for tests of the HTML pages, and what it measures on a page that is open in it.

Chromium comes from the machine (Debian's chromium, GitHub's Chrome): Playwright only drives it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.base import AXE_FILE_PATH
from playwright.sync_api import Browser, Page, sync_playwright

PROGRAMS = ("chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "chrome")
ABSENT = f"no Chromium here (looked for {', '.join(PROGRAMS)}); on Debian: apt install chromium"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
PICTURES = {"exclude": [["svg *"]]}
"""Parts of pictures, thousands of them, which axe does not measure."""
MEASURES = (Path(__file__).parent / "page_measures.js").read_text(encoding="utf-8")


def find_chromium() -> str | None:
    """The path of the machine's Chromium; None without one."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def require_chromium() -> str:
    """The path of the machine's Chromium; without one the test is skipped, and fails with CI=true."""
    if path := find_chromium():
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{ABSENT}; with CI=true the pages must be tested")
    pytest.skip(ABSENT)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """The Chromium at `path`, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def prepare(page: Page, path: Path) -> None:
    """Open a file in `page` with every folded part open, and load axe and the measures into it."""
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
    page.evaluate(Path(AXE_FILE_PATH).read_text(encoding="utf-8"))
    page.evaluate(MEASURES)


def accessibility_faults(page: Page, *, contrast: bool = True) -> list[str]:
    """What axe finds against WCAG A and AA, one line a rule, with the first element that breaks it.

    Its rule on contrast takes most of the time; the measure `contrast` of page_measures.js is quick.
    """
    rules = RULES | {"rules": {"color-contrast": {"enabled": contrast}}}
    results: dict[str, Any] = page.evaluate("([parts, rules]) => axe.run(parts, rules)", [PICTURES, rules])
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:120]}: {rule['nodes'][0]['failureSummary'][:200]}"
            for rule in results["violations"]]  # fmt: skip


def faults(page: Page, measure: str) -> list[str]:
    """The findings of one of the functions in page_measures.js."""
    found: list[str] = page.evaluate(f"measures.{measure}()")
    return found
