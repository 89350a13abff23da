from __future__ import annotations

import pytest

from slipway.errors import CheckFailed
from slipway.sandbox.drills import drift_and_race

A, B = "a" * 40, "b" * 40


def test_race_ends_with_both_lines_in_order():
    assert drift_and_race.race_outcome([0, 0], [A, B], A, B).startswith("both were released in order")


def test_race_ends_with_the_older_one_refused():
    assert drift_and_race.race_outcome([4, 0], [B], A, B) == "the newer one was released, the older one refused"


@pytest.mark.parametrize(
    ("codes", "commits"),
    [
        ([0, 0], [B, A]),
        ([0, 0], [B]),
        ([0, 4], [A]),
        ([4, 0], [A]),
        ([4, 4], []),
        ([1, 0], [B]),
        ([0, 5], [A]),
        ([0, 0], []),
    ],
)
def test_race_that_ends_otherwise_is_refused(codes, commits):
    with pytest.raises(CheckFailed, match=r"the exit codes are .*; expected: lines of aaaaaaaaaaaa and bbbbbbbbbbbb"):
        drift_and_race.race_outcome(codes, commits, A, B)
