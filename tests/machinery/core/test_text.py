from __future__ import annotations

import pytest

from slipway.core.text import printable, shorten


@pytest.mark.parametrize(("value", "text"), [
    ("auc", "auc"),
    (0.5, "0.5"),
    (None, "None"),
    ("Größe 的", "Größe 的"),
    ("a\nb\tc\u2028d", "a b c d"),
    ("a\x1b[31mb", "a�[31mb"),
    ("a\u202eb\u200bc\ue000", "a�b�c�"),
])  # fmt: skip
def test_invisible_characters_are_shown(value, text):
    assert printable(value) == text


def test_long_text_is_cut_at_the_limit():
    assert printable("x" * 18) == "x" * 18
    assert printable("x" * 19) == "x" * 17 + "…"
    assert printable("x" * 10**6, limit=4) == "xxx…"


def test_long_text_is_cut_between_words():
    assert printable("late_share_of_the_last_two_hours", 20) == "late_share_of_the…"
    assert printable("worse than production for some", 20) == "worse than…"
    assert printable("log loss is 0.0357 worse", 17) == "log loss is…"
    assert printable("a b" + "c" * 30, 20) == "a b" + "c" * 16 + "…"


def test_shown_text_is_printable():
    assert printable("".join(map(chr, range(0x20))), limit=40).isprintable()


def test_long_sentences_are_cut_between_words():
    assert shorten("word " * 100).endswith(" word…")
    assert len(shorten("word " * 100)) <= 160
