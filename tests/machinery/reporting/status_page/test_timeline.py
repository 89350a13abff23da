"""The drawn ledger: one lane an environment, marks in order of time, hostile text as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from slipway.core import ledger
from slipway.reporting.status_page import status, status_data, timeline
from support.sample_ledger import line

AT = datetime(2026, 3, 4, tzinfo=UTC)


def history() -> dict[str, list[ledger.Line]]:
    """Two releases of production, of which the second one's canary was aborted and rolled back."""
    first, second = line(1, "production"), line(2, "production")
    back = first.model_copy(update={"action": "rollback", "evidence": {"aborted": second.identity}})
    lines = [each.model_copy(update={"at": AT + timedelta(days=n)}) for n, each in enumerate((first, second, back))]
    return {"staging": [], "production": lines}


def test_marks_stand_in_order_of_time() -> None:
    staging, production = timeline.make_lanes(status_data.gather(history(), []))
    places = [mark.x for mark in production.marks]
    assert (places, staging.marks) == ([timeline.MARGIN, timeline.WIDTH / 2, timeline.WIDTH - timeline.MARGIN], [])
    assert [mark.kind for mark in production.marks] == [line(1, "production").action, "aborted", "rollback"]


def test_a_lane_says_its_counts() -> None:
    lanes = timeline.make_lanes(status_data.gather(history(), []))
    assert "1 canary aborted, 1 rolled back" in lanes[1].summary
    assert lanes[0].summary == "staging: nothing was released"


def test_one_line_needs_no_axis() -> None:
    lanes = timeline.make_lanes(status_data.gather({"staging": [line(1, "staging")], "production": []}, []))
    assert [mark.x for mark in lanes[0].marks] == [timeline.MARGIN]
    assert timeline.make_lanes(status_data.gather({"staging": [], "production": []}, [])) == []


def test_titles_of_marks_are_escaped() -> None:
    hostile = line(1).model_copy(update={"bento": "<script>alert(1)</script>"})
    shown = status_data.gather({"staging": [hostile], "production": []}, [])
    text = status.page(shown, title="bikes", head="a" * 40, records_commit=None)
    assert "<script" not in text
    assert "</title></g>" in text
