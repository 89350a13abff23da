from __future__ import annotations

from dataclasses import replace

import pytest

import played
from slipway import files, git, mishap, spoil, world
from slipway.errors import Refused
from slipway.scene import Scene
from slipway.watch import Watch
from test_golden import ROWS, handler, host  # noqa: F401


@pytest.fixture
def there(tmp_path, monkeypatch):
    return played.world(tmp_path, monkeypatch)


def test_bento_of_a_line_is_in_the_clones_store(there):
    line = world.last(there, "production")
    assert mishap.bento(there, line) == there.work / ".slipway/bentoml/bentos/bikes/1"


def test_what_the_gate_did_not_judge_is_not_proven(there):
    assert not mishap.proven(there)


def test_service_that_is_in_time_needs_no_mending(there):
    files.write_text(there.work / spoil.FRONT, "in time\n")
    before = git.commit(root=there.work)
    assert not mishap.mend(there)
    assert git.commit(root=there.work) == before


def test_production_with_other_answers_is_refused(there, host):  # noqa: F811
    line, ports = world.last(there, "production"), {"production": int(host.rpartition(":")[2])}
    there = replace(there, scene=Scene(root=there.scene.root, name="bikes", ports=ports))
    path = mishap.bento(there, line) / "src/models/golden.json"
    files.write_json(path, ROWS)
    mishap.answers(there, Watch(there.scene, "slow"), line)
    files.write_json(path, [*ROWS, {"row": {"hour": 7}, "prediction": 7.25}])
    with pytest.raises(Refused, match=r"drill slow: production differs from its model by 0\.25, limit: "):
        mishap.answers(there, Watch(there.scene, "slow"), line)


@pytest.mark.parametrize(
    ("phase", "ready", "said"),
    [
        ("Succeeded", None, "the sync Succeeded, limit: Failed"),
        ("Failed", "x@sha256:2", "ready pods run .*limit: the old image"),
    ],
)
def test_stuck_image_that_ends_otherwise_is_refused(there, phase, ready, said):
    played.says(there, phase=phase, image=ready)
    watch = Watch(there.scene, "missing")
    with pytest.raises(Refused, match=f"drill missing: {said}"):
        mishap.stuck(there, watch, f"{world.home(there)}@{played.digest(9)}", "is not there")
    assert watch.injected == "an image that is not there"
    assert watch.detected_s is None
