"""Text of others stays text, wherever Markdown is rendered."""

from __future__ import annotations

import pytest
from markdown_it import MarkdownIt

from slipway.reporting import markdown


def rendered(text: str) -> str:
    """Markdown as GitHub renders it: tables, and HTML that is let through."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("@all", "@\u200ball"),
        ("#12", "#\u200b12"),
        ("https://x", "https:\u200b//x"),
        ("www.x", "www\u200b.x"),
        ("GH-26", "GH\u200b-26"),
        ("a\u202eb", "a�b"),
    ],
)
def test_mentions_references_and_links_are_cut(text: str, shown: str):
    assert shown in rendered(markdown.escape(text))


def test_a_long_text_is_cut_with_a_mark():
    assert markdown.escape("x" * 500) == "x" * 159 + "…"


@pytest.mark.parametrize(("share", "shown"), [(0, ""), (0.5, "█████"), (1, "█" * 10), (2, "█" * 10), (0.06, "▋")])
def test_a_bar_has_eighths(share: float, shown: str):
    assert markdown.bar(share) == shown
