from __future__ import annotations

import json
from dataclasses import replace

import pytest

from slipway.cluster import argocd
from slipway.cluster.pods import Pod
from slipway.core import git, ledger
from slipway.sandbox.clone import Sandbox
from slipway.sandbox.drills import invariants
from slipway.sandbox.drills.invariants import EnvironmentState, Snapshot
from support.paths import RECORDED
from support.release_repository import line, project, push, put, released

TIP = "7b9eb3fde1dd3b5cb26bdf6580d1fadde6a73da3"
ONE, TWO = line(1), line(2, supersedes=line(1).identity)
APP = replace(argocd.parse(json.loads((RECORDED / "succeeded.json").read_text())), compared=TIP, sync="Synced",
              health="Healthy", phase="Succeeded")  # fmt: skip


def text(*lines: ledger.Line) -> str:
    return "".join(f"{each.model_dump_json()}\n" for each in lines)


HISTORY = (("Release one", text(ONE)), ("Release two", text(ONE, TWO)))
ENV = EnvironmentState(name="staging", ledgers=HISTORY, remembered=text(ONE), pinned=TWO.image, app=APP,
          pods=[Pod("serve-1", str(TWO.image), ready=True)])  # fmt: skip
FACTS = Snapshot(tip=TIP, head=TIP, branch="main", dirty=(), worktrees=(), envs=[ENV])


def said(**changes: object) -> list[str]:
    return invariants.violations(replace(FACTS, envs=[replace(ENV, **changes)]))


@pytest.mark.parametrize("remembered", ["", text(ONE), text(ONE, TWO)])
def test_whole_world_breaks_nothing(remembered):
    assert said(remembered=remembered) == []


@pytest.mark.parametrize(
    "history",
    [
        (("Release one", text(ONE)), ("Release two", text(TWO.model_copy(update={"supersedes": None})))),
        (("Release one", text(ONE)), ("Release two", text(ONE, TWO).replace('"env"', ' "env"', 1))),
        (("Release two", text(ONE, TWO)), ("Release one", text(ONE))),
    ],
    ids=["lost", "changed", "cut"],
)
def test_line_that_was_lost_is_told(history):
    assert [each for each in said(ledgers=history) if "lost or changed" in each] != []


def test_line_that_was_forced_out_of_the_history_is_told():
    assert said(remembered=text(ONE, TWO, line(3, supersedes=TWO.identity))) == [
        "staging: some of the 3 lines of the ledger are lost or changed"
    ]


def test_forgery_that_was_put_back_is_forgiven():
    forged = (f"{invariants.TAMPER}metrics", text(ONE, TWO).replace("2.5", "2.6"))
    assert said(ledgers=(HISTORY[0], HISTORY[1], forged, ("Revert", text(ONE, TWO)))) == []


def test_forgery_that_stays_is_told():
    forged = (f"{invariants.TAMPER}metrics", text(ONE, TWO).replace("3.5", "3.6"))
    assert said(ledgers=(*HISTORY, forged)) == ["staging: the ledger still has the forged lines"]


def test_overlay_that_is_not_the_last_line_is_told():
    found = said(pinned=ONE.image)
    assert f"staging: the overlay pins {ONE.image}, but the last ledger line has {TWO.image}" in found


def test_pod_of_another_image_is_told():
    pods = [*ENV.pods, Pod("serve-2", str(ONE.image), ready=True)]
    assert said(pods=pods) == [f"staging: pods run {ONE.image}, but the overlay pins {TWO.image}"]


@pytest.mark.parametrize("pods", [[], [Pod("serve-1", str(TWO.image), ready=False)]], ids=["none", "not ready"])
def test_environment_without_ready_pods_is_told(pods):
    assert said(pods=pods) == [f"staging: 0 of {len(pods)} pods are ready"]


@pytest.mark.parametrize(
    "changes",
    [{"sync": "OutOfSync"}, {"health": "Degraded"}, {"phase": "Failed"}, {"phase": "Running"}, {"compared": "0" * 40}],
)
def test_application_that_is_not_whole_is_told(changes):
    found = said(app=replace(APP, **changes))
    assert len(found) == 1
    assert "expected: Synced at 7b9eb3fde1dd, Healthy, Succeeded" in found[0]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"head": "0" * 40}, "the clone is on main at 000000000000"),
        ({"branch": "change-2"}, "the clone is on change-2"),
        ({"dirty": ["dvc.lock"]}, "the clone has uncommitted files: dvc.lock"),
        ({"worktrees": ["bump-staging"]}, "temporary files are left over: bump-staging"),
    ],
)
def test_debris_is_told(changes, words):
    assert [words in each for each in invariants.violations(replace(FACTS, **changes))] == [True]


def test_history_of_a_ledger_is_that_of_main(tmp_path):
    sandbox = Sandbox(root=tmp_path, name="bikes", ports={})
    folder = project(sandbox.work)
    released(folder, 1)
    put(folder, line(2, commit=git.commit_hash(root=folder)))
    push(folder)
    found = invariants.ledger_history(sandbox, "staging", git.commit_hash("origin/main", root=folder))
    assert [subject for subject, _ in found] == ["release bikes:1 to staging", "release bikes:2 to staging"]
    assert found[-1][1] == (folder / "releases/staging.jsonl").read_text()


def test_gate_that_refused_the_tip_is_known():
    bad = argocd.parse(json.loads((RECORDED / "gate-failed.json").read_text()))
    assert bad.phase == "Failed"
    facts = replace(FACTS, tip=bad.revision, envs=[replace(ENV, app=bad)])
    assert invariants.failed_gates(facts) == [bad.name]
    assert invariants.failed_gates(replace(facts, tip="0" * 40)) == []
    assert invariants.failed_gates(FACTS) == []
