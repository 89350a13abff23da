"""docs/fix and the messages of src agree: no heading without its message, no hint without its page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from slipway import cli
from support import fix_pages

PAGES = fix_pages.read_all()
TEMPLATES = fix_pages.templates()
SHARED = {"status": "records", "incident": "records", "observe": "slo", "serve": "package", "labels": "monitor"}
"""Commands that another command's page explains."""
NEVER_RED = {"doctor", "log"}
"""Commands that end in no other exit code than 0, 1 and 2."""
NAMED = re.compile(r"docs/fix/([\w…-]*)(?:\.md)?(?:#([\w-]+))?")


def unquoted(page: fix_pages.Page, templates: list[str]) -> list[str]:
    return [each for each in page.messages if not any(fix_pages.quotes(each, template) for template in templates)]


def broken_references(templates: list[str], pages: list[fix_pages.Page]) -> list[str]:
    """References to a page or heading that does not exist; a varying name must fit at least one page."""
    anchors = {page.name: set(map(fix_pages.anchor, page.headings)) for page in pages} | {"README": set()}
    wrong = []
    for match in (match for template in templates for match in NAMED.finditer(template)):
        fitting = [name for name in anchors if re.fullmatch(match[1].replace("…", r"[\w-]+"), name)]
        if match[1] and not any(match[2] in (None, *anchors[name]) for name in fitting):
            wrong.append(match[0])
    return wrong


# The pages


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_heading_quotes_a_message(page: fix_pages.Page) -> None:
    assert unquoted(page, TEMPLATES) == [], f"docs/fix/{page.name}.md has headings that no message of src contains"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_has_a_title_and_headings_once_each(page: fix_pages.Page) -> None:
    assert page.title.startswith("Fix ")
    assert page.messages
    assert len(set(map(fix_pages.anchor, page.headings))) == len(page.headings)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page: fix_pages.Page) -> None:
    text = (fix_pages.FOLDER / f"{page.name}.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text)
    assert [link for link in links if not (fix_pages.FOLDER / link).exists()] == []


def test_index_has_every_message() -> None:
    written = fix_pages.INDEX.read_text(encoding="utf-8").partition(fix_pages.MARK)[2]
    assert written == fix_pages.index(PAGES), "the list in docs/fix/README.md is out of date; run: make lock"


# What src says about them


def test_every_hint_names_a_page_that_exists() -> None:
    assert broken_references(TEMPLATES, PAGES) == []


def test_every_command_that_can_be_red_has_a_page() -> None:
    commands = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
    names = {page.name for page in PAGES}
    assert {name for name in commands - NEVER_RED if SHARED.get(name, name) not in names} == set()
    assert commands >= NEVER_RED | set(SHARED)


# How they are compared


@pytest.mark.parametrize(
    ("heading", "template", "expected"),
    [
        ("Log loss is … worse than …", "Log loss is … worse than production", True),
        ("log loss is … worse than production", "… is … worse than production", False),
        ("is … worse than production", "Log loss is … worse than production", True),
        ("worse than production", "Log loss is … better than production", False),
        ("than worse is production", "Log loss is … worse than production", False),
        ("than production", "Log loss is … worse than production", False),
        ("… floor", "… floor", True),
        ("not set: …", "variables are not set: …", False),
        ("`dvc.lock` of the commit", "dvc.lock of the commit", True),
    ],
)
def test_heading_quotes_words_of_one_template_in_order(heading: str, template: str, expected: bool) -> None:
    assert fix_pages.quotes(heading, template) is expected


def test_heading_without_a_message_is_found(tmp_path: Path) -> None:
    (tmp_path / "judge.md").write_text("# Fix a red `judge`\n\n## the moon is in the way\n\n## Good to know\n")
    page = fix_pages.read("judge", tmp_path)
    assert unquoted(page, ["the sun is in the way"]) == ["the moon is in the way"]
    assert unquoted(page, [f"the moon is {fix_pages.VARIES} way", "the moon is in the way"]) == []


def test_hint_to_a_missing_page_or_heading_is_found() -> None:
    page = fix_pages.Page("judge", "Fix a red `judge`", ("the `moon` is …",))
    hints = ["see docs/fix/judge.md#the-moon-is-", "docs/fix/judge.md", "docs/fix/….md", "docs/fix/"]
    assert broken_references(hints, [page]) == []
    wrong = ["docs/fix/judges.md", "docs/fix/judge.md#the-sun"]
    assert broken_references([f"see {each}" for each in wrong], [page]) == wrong


def test_strings_of_a_module_are_its_messages() -> None:
    source = (
        '"""No message."""\nraise E(f"a {b} c" " d", hint=f"{n} {\'is\' if n == 1 else \'are\'} red", x="{} left")\n'
    )
    assert sorted(fix_pages.strings(source)) == ["a … c d", "… are red", "… is red", "… left"]
