"""The drills that build and release nothing, on a cluster, in minutes; `slipway drill all` runs every one."""

from __future__ import annotations

import pytest

from slipway.sandbox.drills import drill
from slipway.sandbox.drills.context import DrillContext

pytestmark = pytest.mark.cluster


@pytest.mark.parametrize("name", ["edit", "tampered", "drift", "label-outage"])
def test_drill_ends_as_it_should(drill_context: DrillContext, name: str) -> None:
    found = drill.run_drill(drill_context, name)
    assert found.wrong == ""
    assert found.detected_s is not None
    assert found.recovered_s is not None
    assert found.detected_s <= found.recovered_s
