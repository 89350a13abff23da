from __future__ import annotations

from dataclasses import replace

import pytest

from slipway.core import files, git
from slipway.errors import CheckFailed
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills import bad_artifacts, bad_releases
from slipway.sandbox.drills.context import Timeline
from support import fake_cluster
from support.golden_server import ROWS, handler, host  # noqa: F401


@pytest.fixture
def there(tmp_path, monkeypatch):
    return fake_cluster.world(tmp_path, monkeypatch)


def test_bento_of_a_line_is_in_the_clones_store(there):
    line = there.last_line("production")
    assert bad_releases.bento_folder(there, line) == there.work / ".slipway/bentoml/bentos/bikes/1"


def test_what_the_gate_did_not_judge_is_not_proven(there):
    assert not bad_releases.has_pass(there)


def test_service_that_is_in_time_needs_no_mending(there):
    files.write_text(there.work / bad_artifacts.SERVICE, "in time\n")
    before = git.commit_hash(root=there.work)
    assert not bad_releases.mend_service(there)
    assert git.commit_hash(root=there.work) == before


def test_production_with_other_answers_is_refused(there, host):
    line, ports = there.last_line("production"), {"production": int(host.rpartition(":")[2])}
    there = replace(there, sandbox=Sandbox(root=there.sandbox.root, name="bikes", ports=ports))
    path = bad_releases.bento_folder(there, line) / "src/models/golden.json"
    files.write_json(path, ROWS)
    bad_releases.check_production_answers(there, Timeline(there.sandbox, "slow"), line)
    files.write_json(path, [*ROWS, {"row": {"hour": 7}, "prediction": 7.25}])
    with pytest.raises(
        CheckFailed,
        match=r"drill slow: The answers to 5 golden requests differ .* by up to 0\.034 \(relative to answers above 1\); ",
    ):
        bad_releases.check_production_answers(there, Timeline(there.sandbox, "slow"), line)


@pytest.mark.parametrize(
    ("phase", "ready", "said"),
    [
        ("Succeeded", None, "the sync is Succeeded; expected: Failed"),
        ("Failed", "x@sha256:2", "the ready pods run .*expected: only "),
    ],
)
def test_stuck_image_that_ends_otherwise_is_refused(there, phase, ready, said):
    fake_cluster.says(there, phase=phase, image=ready)
    watch = Timeline(there.sandbox, "missing")
    with pytest.raises(CheckFailed, match=f"drill missing: {said}"):
        bad_releases.refuse_stuck_image(there, watch, f"{there.image_name()}@{fake_cluster.digest(9)}", "is not there")
    assert watch.injected == "an image that is not there"
    assert watch.detected_s is None
