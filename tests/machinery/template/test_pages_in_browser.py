"""The pages in a real browser: every page of every kind of pull request, light and dark, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest

from support import browser as browsing
from support.sample_pull_requests import KINDS
from support.sample_reports import write_sample

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = [*((kind, "report.html") for kind in KINDS), ("pass", "data.html")]
"""The data page is the same for every kind."""
MEASURES = ("headings", "texts", "headers", "overflow", "contrast", "pictures", "marks")
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 375, "height": 800}
GOOD = "<!doctype html><html lang=en><title>a</title><style>{style}</style><main><h1>One</h1><h2>Two</h2>{body}</main>"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browsing.open_browser(browsing.require_chromium()) as browser:
        yield browser


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    browsing.require_chromium()
    folder = tmp_path_factory.mktemp("samples")
    for kind in KINDS:
        write_sample(kind, folder / kind)
    return folder


@pytest.fixture(scope="module", params=PAGES, ids=" ".join)
def page(request: pytest.FixtureRequest, chromium: Browser, samples: Path) -> Iterator[Page]:
    kind, name = request.param
    page = chromium.new_page()
    browsing.prepare(page, samples / kind / name)
    yield page
    page.close()


@pytest.fixture(scope="module")
def made(chromium: Browser) -> Iterator[Page]:
    """A page whose content is set by `show`."""
    page = chromium.new_page(viewport=PHONE)
    yield page
    page.close()


def show(page: Page, folder: Path, body: str = "", style: str = "") -> None:
    (folder / "made.html").write_text(GOOD.format(body=body, style=style), encoding="utf-8")
    browsing.prepare(page, folder / "made.html")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_anybody_can_read_the_page(page: Page, size: dict[str, int], scheme: Literal["light", "dark"]):
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(size)
    assert browsing.accessibility_faults(page, contrast=size is DESK) == []  # a phone has the same colours
    for measure in ("overflow", "contrast", "pictures", "marks"):
        assert browsing.faults(page, measure) == [], measure


@pytest.mark.parametrize("measure", ["headings", "texts", "headers"])
def test_a_screen_reader_finds_its_way(page: Page, measure: str):
    assert browsing.faults(page, measure) == []


def test_the_slice_chart_fits_a_phone(page: Page):
    page.set_viewport_size(PHONE)
    chart = "document.querySelector('.forest')?.parentElement"
    assert page.evaluate(f"({chart}?.scrollWidth ?? 0) <= ({chart}?.clientWidth ?? 0)")


def test_print_is_light_and_complete(page: Page):
    page.emulate_media(color_scheme="dark", media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')") == "#1d2733"
    assert browsing.faults(page, "contrast") == []
    page.emulate_media(media="screen")


def test_the_data_page_is_the_same_for_every_kind(samples: Path):
    assert len({(samples / kind / "data.html").read_bytes() for kind in KINDS}) == 1


def test_a_good_page_has_no_fault(made: Page, tmp_path: Path):
    show(made, tmp_path, "<p>text</p>")
    assert browsing.accessibility_faults(made) == []
    assert not any(browsing.faults(made, measure) for measure in MEASURES)


@pytest.mark.parametrize(
    ("body", "measure", "fault"),
    [
        ("<h4>Four</h4>", "headings", "skips a level"),
        ("<h1>Again</h1>", "headings", "one h1"),
        ("<svg></svg>", "texts", "no text"),
        ('<div class="line"></div>', "texts", "no text"),
        ("<table><tr><th>a</th></tr></table>", "headers", "no scope"),
        ('<div style="width:500px">wide</div>', "overflow", "the page is 5"),
        ('<div style="width:90px;overflow:hidden"><p style="width:200px">a</p></div>', "overflow", "cuts off"),
        ('<div style="overflow:auto"><p style="width:900px">a</p></div>', "overflow", "keyboard"),
        ('<p style="color:#aaa">pale</p>', "contrast", "to 1"),
        ('<svg aria-label="a"><text fill="#bbb">pale</text></svg>', "pictures", "to 1"),
        ('<svg aria-label="a"><path d="M0 0h9" stroke="#ddd"/></svg>', "marks", "hard to see"),
        ('<div class="bar"><b style="background:#eee;border:1px solid #eee;position:absolute">a</b></div>', "marks", "hard"),
    ],
)  # fmt: skip
def test_each_measure_finds_its_fault(made: Page, tmp_path: Path, body: str, measure: str, fault: str):
    show(made, tmp_path, body)
    (first, *_) = browsing.faults(made, measure)
    assert fault in first


@pytest.mark.parametrize(
    ("body", "rule"),
    [('<p style="color:#aaa">pale</p>', "color-contrast"), ('<img src="a.png">', "image-alt"),
     ("<button></button>", "button-name")],
)  # fmt: skip
def test_axe_finds_what_breaks_its_rules(made: Page, tmp_path: Path, body: str, rule: str):
    show(made, tmp_path, body)
    assert any(fault.startswith(f"{rule}:") for fault in browsing.accessibility_faults(made))


def test_a_machine_of_ci_must_have_a_browser(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"no Chromium here .* with CI=true the pages must be tested"):
        browsing.require_chromium()
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="no Chromium here"):
        browsing.require_chromium()
