from __future__ import annotations

import sys
import threading
from itertools import count
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slipway.core import files, git, ledger
from slipway.errors import CheckFailed, ConfigError
from slipway.sandbox import deploy
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills import context
from support import fake_cluster
from support.paths import OBJECTIVE, ROOT


@pytest.fixture
def there(tmp_path, monkeypatch):
    return fake_cluster.world(tmp_path, monkeypatch)


def test_world_is_found_by_the_loops_mark(there):
    stage = there.sandbox
    assert context.kept_sandbox(stage.root, "bikes") is None
    files.write_text(stage.home / deploy.MARK, "bikes")
    assert context.kept_sandbox(stage.root, "bikes") == Sandbox(
        root=stage.root, name="bikes", ports={}, target="cluster"
    )
    assert context.kept_sandbox(stage.root, "flights") is None


def test_whole_world_settles_and_is_remembered(there):
    assert there.settle(seconds=0) >= 0
    assert there.remembered == {env: (there.work / ledger.path(env)).read_text() for env in ledger.ENVIRONMENTS}


def test_world_that_does_not_settle_is_refused_and_dumped(there):
    fake_cluster.says(there, phase="Failed")
    whole = threading.Timer(3, fake_cluster.says, [there], {"phase": "Succeeded"})
    whole.start()  # and is whole too late
    with pytest.raises(CheckFailed, match=r"not settled after 0 s: staging: .*operation Failed.*; production: "):
        there.settle(seconds=0)
    whole.cancel()
    whole.join()
    assert (there.sandbox.home / "bikes-staging.txt").exists()


def test_line_that_was_remembered_and_is_gone_is_refused(there):
    there.settle(seconds=0)
    git.run("push", "-q", "--force", "origin", "HEAD~1:refs/heads/main", root=there.work)
    git.run("reset", "-q", "--hard", "HEAD~1", root=there.work)
    with pytest.raises(CheckFailed, match="production: some of the 1 lines of the ledger are lost or changed"):
        there.settle(seconds=0)


def test_commit_of_a_person_is_pushed(there):
    made = there.commit({Path("note"): "x\n"}, "Nothing tracked")
    assert git.run("log", "-1", "--format=%s", "main", root=there.sandbox.remote) == "Nothing tracked"
    assert git.commit_hash("origin/main", root=there.work) == made


def test_image_put_in_by_hand_has_its_line_and_its_source(there):
    image = f"{there.image_name()}@{fake_cluster.digest(7)}"
    before = there.last_line("production")
    tip = there.force_image("production", image, "By hand")
    new = there.last_line("production")
    assert (new.image, new.supersedes, new.action) == (image, before.identity, "promote")
    assert new.commit == git.commit_hash(f"{tip}~1", root=there.work) != before.commit
    assert git.commit_hash("main", root=there.sandbox.remote) == tip


def test_operation_that_failed_has_not_arrived(there):
    assert there.wait_for_arrival("staging").phase == "Succeeded"
    fake_cluster.says(there, phase="Failed")
    assert there.wait_for_operation("staging", git.commit_hash(root=there.work)).phase == "Failed"
    with pytest.raises(CheckFailed, match="the sync of flights-staging is Failed: "):
        there.wait_for_arrival("staging")


def test_verb_with_another_exit_code_is_refused(there, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/usr/bin:/bin")
    (there.work / "params.yaml").unlink()
    with pytest.raises(CheckFailed, match="the exit code of `slipway policy` is 2, not 4"):
        there.run_verb("policy", code=4)
    assert "params.yaml" in there.run_verb("policy", code=2)
    assert there.sandbox.steps[-1].chapter == "policy"


def test_verb_runs_in_the_clone_that_is_meant(there, tmp_path):
    (tmp_path / "other").mkdir()
    place = context.OtherClone(there.sandbox, tmp_path / "other")
    assert (place.work, place.name, place.remote) == (tmp_path / "other", "bikes", there.sandbox.remote)


def test_waiting_ends_when_it_holds_or_is_refused():
    answers = iter([False, True])
    assert context.wait_until(lambda: next(answers), seconds=5, what="it") < 5
    late = iter([False, True])
    with pytest.raises(CheckFailed, match="within 0 s there was no abort"):
        context.wait_until(lambda: next(late), seconds=0, what="abort")


@pytest.mark.parametrize("path", context.SHORTENED, ids=str)
def test_every_file_of_the_project_can_be_made_shorter_once(path):
    text = (ROOT / path).read_text("utf-8")
    after = context.shortened_files(path, text)
    assert after != text
    assert context.shortened_files(path, after) == after


def test_load_test_is_shorter_and_has_enough_requests():
    slo = YAML(typ="safe").load(context.shorter_load_test(OBJECTIVE.read_text("utf-8")))
    schedule = slo["schedules"]["cluster"]
    assert schedule["seconds"] == context.LOAD_SECONDS
    for endpoint in slo["endpoints"].values():
        assert schedule["rate"] * schedule["seconds"] * endpoint["share"] >= endpoint["min_requests"]


def test_machines_schedule_stays():
    before, after = (OBJECTIVE.read_text("utf-8"),) * 2
    assert "machine: {rate: 300, seconds: 5" in context.shorter_load_test(after)
    assert before.count("\n") == context.shorter_load_test(after).count("\n")


def test_staging_fails_sooner_and_nothing_else_differs():
    text = (ROOT / context.STAGING_DEPLOYMENT).read_text("utf-8")
    before, after = YAML(typ="safe").load(text), YAML(typ="safe").load(context.shorter_deadline(text))
    assert after["spec"].pop("progressDeadlineSeconds") == context.DEADLINE_SECONDS
    assert after == before


def test_objective_without_a_cluster_is_refused():
    with pytest.raises(ConfigError, match="no line `  cluster"):
        context.shorter_load_test("schedules:\n  machine: {rate: 1, seconds: 5}\n")


def test_patch_without_a_spec_is_refused():
    with pytest.raises(ConfigError, match="no line `spec:`"):
        context.shorter_deadline("kind: Deployment\n")


@pytest.fixture
def watch(tmp_path):
    ticks = count(100.0, 5.0)
    return context.Timeline(Sandbox(root=tmp_path, name="bikes", ports={}), "slow", clock=lambda: next(ticks))


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
