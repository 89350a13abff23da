from __future__ import annotations

import pytest

from slipway.reporting import jinja_environment
from slipway.reporting.jinja_environment import code, plain, span
from support.sample_reports import facts


def test_pages_and_cards_have_one_environment():
    assert jinja_environment._environment() is jinja_environment._environment()


def test_a_value_is_escaped_for_the_kind_of_its_template():
    nasty = facts(quality={"faults": [dict.fromkeys(("source", "column", "what", "rows", "worst", "action"), "<b>|")]})
    assert "&lt;b&gt;|" in jinja_environment.render("faults.html.j2", facts=nasty)
    env = jinja_environment._environment()
    template = env.from_string("{{ value }} {{ absent.deep }}")
    template.name = "x.md.j2"
    assert template.render(value="<b>|") == "&#60;b&#62;&#124; "
    template.name = "x.html.j2"
    assert template.render(value="<b>|") == "&lt;b&gt;| "


@pytest.mark.parametrize(
    ("value", "text"), [("a.b/c-1:d", "`a.b/c-1:d`"), ("a b", "a b"), ("`x`", "&#96;x&#96;"), ("é", "é")]
)
def test_only_a_name_is_code(value: str, text: str):
    assert code(value) == text


def test_bounds_have_no_thousands_separator():
    assert span(1950, 2020.5) == "1950 to 2020.5"
    assert span(None, None) == "any"
    assert span(None, 3) == "any to 3"


def test_plain_text_is_one_short_line():
    assert plain("a\nb", 3) == "a b"
    assert len(plain("x" * 999)) == 200
