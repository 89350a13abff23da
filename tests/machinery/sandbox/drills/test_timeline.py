from __future__ import annotations

from itertools import count

import pytest

from slipway.errors import CheckFailed
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills.timeline import Timeline


@pytest.fixture
def watch(tmp_path):
    ticks = count(100.0, 5.0)
    return Timeline(Sandbox(root=tmp_path, name="bikes", ports={}), "slow", clock=lambda: next(ticks))


def test_seconds_count_from_the_injection(watch):
    assert watch.since() == 0.0
    watch.inject("a fault")
    watch.detect("seen")
    watch.recover("mended")
    assert (watch.detected_s, watch.recovered_s) == (5.0, 10.0)


def test_every_step_is_said(watch):
    watch.inject("a fault")
    watch.detect("seen")
    watch.recover("mended")
    assert [(step.chapter, step.summary) for step in watch.sandbox.steps] == [
        ("inject", "a fault"), ("detect", "seen"), ("recover", "mended"),
    ]  # fmt: skip


def test_what_differs_is_refused_with_the_drills_name(watch):
    watch.expect(True, "nothing")
    with pytest.raises(CheckFailed, match="drill slow: it is blue; expected: red"):
        watch.expect(False, "it is blue", expected="red")
