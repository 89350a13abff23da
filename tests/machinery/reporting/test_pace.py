from __future__ import annotations

from typing import Any

import pytest

from slipway.reporting import pace, report
from slipway.reporting.report_data import Facts
from support.sample_reports import facts, judged, paced


def told(**how: Any) -> Facts:
    return facts(gates={"judge": judged(), "latency": paced(**how)})


def test_a_pass_is_one_line_to_open_with_its_table_inside():
    text = pace.section(told())
    assert text.startswith(
        "<details><summary>Latency: not slower than the base: p50 of one row × 1.01 &#40;0.9900 … 1.03&#41;, tolerated × 1.1<"
    )
    assert "| p50 of one row | 0.2000 | 0.2020 | 1.01 | 0.9900 … 1.03 | 1.1 |" in text


def test_a_refusal_stands_with_its_table_in_sight():
    text = pace.section(told(more=0.2, ok=False))
    assert text.startswith(
        "**Latency**: refused: p50 of one row, more than the base&#39;s +0.2000 &#91;+0.1800, +0.2200&#93;"
    )
    assert "| p50 of one row | 0.2000 | 0.2400 | 1.2 | 1.18 … 1.22 | 1.1 |" in text
    assert "details" not in text


def test_what_could_not_be_told_is_said_so():
    assert pace.words(told(more=0.1, ok=None)).startswith("cannot tell: p50 of one row, more than the base's")


def test_nothing_to_compare_is_said_and_has_no_table():
    text = pace.section(told(table=False, value="the same service as the base's", ok=True))
    assert text == "**Latency**: the same service as the base&#39;s"
    assert pace.rows(told(table=False)) == []


def test_without_the_check_there_is_no_part():
    assert pace.section(facts()) == pace.words(facts()) == ""
    assert "Latency" not in report.markdown(facts())


def test_it_stands_in_the_comment_above_the_cluster():
    text = report.markdown(told())
    assert text.index("Latency: not slower") < text.index("**Delivery**")


@pytest.mark.parametrize("hostile", ["<img src=x>", "a|b", "@all", "[x](http://x)"])
def test_names_of_strangers_cannot_break_out(hostile: str):
    given = told()
    row = [hostile, *given.latency["table"][0][1:]]
    given.gates["latency"]["notes"]["table"][0][:] = row
    assert hostile not in pace.section(given)


def test_what_is_no_number_is_no_ratio():
    assert pace.ratio("1") == "–"
    assert pace.ratio(0.25) == "1.25"
