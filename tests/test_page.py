from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from reporting import QUALITY, REGRESSION, RELIABILITY, facts, judged
from slipway import page, plots
from slipway.facts import Facts

VOID = {"meta", "br", "link", "img", "hr", "input"}
DRAWN = {"reliability": plots.picture(plots.PLOTS["reliability"], RELIABILITY, name="reliability")}


class Reader(HTMLParser):
    """Fails on tags that do not nest; keeps tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader.open
    return reader


@pytest.mark.parametrize("html", [page.html(facts(), DRAWN), page.data(facts(), DRAWN["reliability"])])
def test_a_page_stands_alone(html: str):
    reader = read(html)
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert not [link for link in reader.links if ":" in link or link.startswith("//")]
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "Content-Security-Policy" in html
    assert len(reader.ids) == len(set(reader.ids))


def test_the_verdict_and_its_numbers_are_on_the_page():
    text = read(page.html(facts(), DRAWN)).text
    for shown in (
        "Better than the champion",
        "0.4200",
        "▼ 0.0100 better",
        "1,048",
        "Calibration",
        "d" * 40,
        "c" * 64,
    ):
        assert shown in text


@pytest.mark.parametrize(
    ("judge", "look"),
    [(judged(), "good"), (judged(low=0.01, high=0.02, ok=False), "bad"), (judged(ok=None), "unsure")],
)
def test_a_verdict_has_its_colour(judge: dict[str, Any], look: str):
    assert f'class="verdict {look}"' in page.html(facts(judge=judge), {})


def test_text_of_the_data_is_only_text():
    nasty = '"><script>alert(1)</script>\u202e'
    given = facts(
        judge=judged(value_of_slice=nasty, params_changed=[nasty], limits_changed=[nasty], window=[nasty, nasty]),
        contract={"problem": nasty, "labels": {"title": nasty}},
        quality=QUALITY | {"columns": [{**QUALITY["columns"][0], "name": nasty, "top": {nasty: 3}}]},
    )
    for html in (page.html(given, {}), page.data(given, "")):
        reader = read(html)
        assert "script" not in reader.tags
        assert "\u202e" not in html
    assert nasty.replace("\u202e", "�") in reader.text


def test_what_does_not_exist_is_left_out():
    bare = Facts(metrics=REGRESSION)
    text = read(page.html(bare, {})).text
    assert "Not judged yet" in text
    assert "Pictures" not in text
    assert "no commit yet" in text
    assert "No fault was found" in read(page.data(bare, "")).text


def test_every_column_is_on_the_data_page():
    text = read(page.data(facts(), "")).text
    for shown in (
        "carrier",
        "airline",
        "number · year",
        "1956",
        "median 2002",
        "missing 17",
        "never missing",
        "UA",
    ):
        assert shown in text


def test_a_reference_far_away_stays_on_the_line():
    html = page.html(facts(judge=judged(metrics={"champion": {"auc": 0.1}})), {})
    assert all(-1 <= float(at) <= 101 for at in re.findall(r"left:(-?[\d.]+)%", html))
