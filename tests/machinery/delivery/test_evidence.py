from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from slipway.core import config, environment, git
from slipway.delivery import evidence
from slipway.delivery.evidence import Evidence
from slipway.errors import CheckFailed, ConfigError, DataError, Inconclusive
from slipway.github.client import GitHubClient
from support import release_repository
from support.executables import write_script
from support.fake_github import GitHub

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)
OF = release_repository.digest(1)
GOOD = Evidence(verdict="pass", digest=OF, at=NOW - timedelta(hours=1), source="machine")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1 on staging, a later commit that changes nothing there, then release 2, then another such commit."""
    root = release_repository.project(tmp_path_factory.mktemp("evidence") / "p")
    release_repository.released(root, 1)
    release_repository.commit(root, "Words")
    release_repository.released(root, 2)
    release_repository.commit(root, "More words")
    release_repository.push(root)
    return root


def record(**changes: Any) -> dict[str, Any]:
    checks = [
        {"name": "GET /a p95_ms", "value": 3.5},
        {"name": "POST /b p95_ms", "value": 7.25},
        {"name": "n", "value": 9},
    ]
    return {"chapter": "load", "verdict": "pass", "inputs": {"image": OF}, "checks": checks, "rows": 3600} | changes


def require(found: Evidence, params: config.Params, now: datetime = NOW) -> Evidence:
    return evidence.require_pass(found, OF, now=now, limits=params.release)


# Whatever the source


def test_a_fresh_pass_about_the_digest_is_evidence(params):
    assert require(GOOD, params) is GOOD
    assert GOOD.record() == {"load": "pass", "p95_ms": None, "requests": None, "of": OF,
                             "at": "2026-03-08T11:00:00+00:00", "by": "machine", "commit": None}  # fmt: skip


def test_evidence_about_another_digest_is_refused(params):
    said = r"the load test was of sha256:ffffffffffff, but staging runs sha256:000000000000"
    with pytest.raises(CheckFailed, match=said):
        require(replace(GOOD, digest="sha256:" + "f" * 64), params)


@pytest.mark.parametrize(("word", "error"), [("fail", CheckFailed), ("unsure", Inconclusive)])
def test_only_a_pass_is_evidence(params, word, error):
    with pytest.raises(error, match=f"verdict of staging's load test is {word}; expected: pass"):
        require(replace(GOOD, verdict=word), params)


@pytest.mark.parametrize(("age", "said"), [
    (timedelta(days=7, seconds=1), "the evidence is 7 days old; allowed: at most 7 days"),
    (timedelta(days=30), "30 days old"),
    (-timedelta(minutes=6), "is dated 6 minutes in the future; allowed: at most 5 minutes"),
    (-timedelta(days=400), "minutes in the future"),
])  # fmt: skip
def test_too_old_or_from_the_future_is_refused(params, age, said):
    with pytest.raises(CheckFailed, match=said):
        require(replace(GOOD, at=NOW - age), params)


@pytest.mark.parametrize("age", [timedelta(days=7), timedelta(0), -timedelta(minutes=5)])
def test_within_age_and_skew_is_fresh(params, age):
    require(replace(GOOD, at=NOW - age), params)


def test_a_line_without_image_is_known_by_its_bento():
    assert evidence.digest(release_repository.line(1)) == OF
    assert evidence.digest(release_repository.line(1, image=None)) == f"{1:064x}"


@pytest.mark.parametrize("source", ["moon", "status"])
def test_unknown_source_is_refused(params, tmp_path, source):
    with pytest.raises(ConfigError, match="is unknown; expected: machine or cluster or status"):
        evidence.find(source, params, release_repository.line(1), root=tmp_path)


# This machine


def test_machine_reads_the_load_verdict(params, tmp_path):
    path = tmp_path / "reports/load.json"
    path.parent.mkdir()
    path.write_text(json.dumps(record()))
    os.utime(path, (NOW.timestamp(), NOW.timestamp()))
    found = evidence.find("machine", params, release_repository.line(1), root=tmp_path)
    assert found == Evidence(verdict="pass", digest=OF, at=NOW, source="machine", p95_ms=7.25, requests=3600)
    path.write_text(json.dumps(record(inputs={"bento_sha256": "b1", "image": None})))
    assert evidence.from_local_report(tmp_path).digest == "b1"


def test_machine_without_a_load_verdict_says_how_to_get_one(tmp_path):
    with pytest.raises(DataError, match=r"reports/load\.json does not exist") as caught:
        evidence.from_local_report(tmp_path)
    assert caught.value.hint == "slipway load"


@pytest.mark.parametrize(("broken", "said"), [
    (record(verdict="great"), "is not the result of a load test: verdict"),
    (record(chapter="canary"), "is not the result of a load test: chapter"),
    ({"verdict": "pass"}, "is not the result of a load test: chapter"),
    ([], "is not the result of a load test: the record"),
    (record(rows="many"), "is not the result of a load test: rows"),
])  # fmt: skip
def test_what_is_no_load_verdict_is_unsure(tmp_path, broken, said):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/load.json").write_text(json.dumps(broken))
    with pytest.raises(Inconclusive, match=said):
        evidence.from_local_report(tmp_path)


def test_verdict_about_nothing_is_about_nothing(params, tmp_path):
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/load.json").write_text(json.dumps(record(inputs={})))
    with pytest.raises(CheckFailed, match="the load test was of nothing"):
        require(evidence.from_local_report(tmp_path), params)


# The cluster: a program `kubectl` that answers as the real one did

Cluster = Callable[..., Evidence]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, params: config.Params, repository: Path) -> Cluster:
    """Ask a cluster whose application and gate's log are given; changes of its operation by name."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def answer(log: str, revision: str, *, hooks: bool = True, hook: str = "Succeeded", **operation: Any) -> Evidence:
        gate = [{"kind": "Job", "name": "load-gate", "hookType": "PostSync", "hookPhase": hook}] if hooks else []
        state = {"phase": "Succeeded", "message": "well", "startedAt": "2026-03-08T10:00:00Z",
                 "finishedAt": "2026-03-08T11:00:00Z",
                 "syncResult": {"revision": revision, "resources": [{"kind": "Service", "name": "serve"}, *gate]}}  # fmt: skip
        app = {"metadata": {"name": "bikes-staging"}, "spec": {"destination": {"namespace": "bikes-staging"}},
               "status": {"operationState": {key: v for key, v in (state | operation).items() if v is not None}}}  # fmt: skip
        (programs / "app").write_text(json.dumps(app))
        (programs / "log").write_text(log)
        write_script(programs / "kubectl", 'case "$*" in *logs*) cat "$here/log";; *) cat "$here/app";; esac')
        return evidence.find("cluster", params, release_repository.line(1), root=repository)

    return answer


def commits(repository: Path) -> list[str]:
    """Of main, the oldest first: project, change 1, release 1, words, change 2, release 2, more words."""
    return git.run("log", "--reverse", "--format=%H", root=repository).splitlines()


LOG = f"load pass in 30 s\n{json.dumps(record())}\n"


@pytest.mark.parametrize("number", [2, 3])
def test_cluster_quotes_the_gates_log(ask, repository, number):
    revision = commits(repository)[number]
    found = ask(LOG, revision)
    assert found == Evidence(verdict="pass", digest=OF, at=NOW - timedelta(hours=1), source="cluster",
                             commit=revision, p95_ms=7.25, requests=3600)  # fmt: skip


@pytest.mark.parametrize(("number", "held"), [(0, "sha256:000000000000"), (5, "sha256:000000000000")])
def test_operation_of_a_revision_without_the_digest_is_refused(ask, repository, number, held):
    with pytest.raises(
        CheckFailed,
        match=rf"Argo CD last synced bikes-staging to commit \w{{12}}, whose staging overlay pins {held}; expected: ",
    ):
        ask(LOG, commits(repository)[number])


def test_operation_that_runs_yet_is_unsure(ask, repository):
    with pytest.raises(Inconclusive, match=r"not finished a sync of bikes-staging yet: .*Running"):
        ask(LOG, commits(repository)[2], phase="Running", finishedAt=None)
    with pytest.raises(Inconclusive, match="has not finished a sync"):
        ask(LOG, "")


def test_operation_that_heals_is_no_evidence(ask, repository):
    with pytest.raises(Inconclusive, match="did not run the load gate") as caught:
        ask(LOG, commits(repository)[2], hooks=False)
    assert "argocd app sync bikes-staging" in caught.value.hint


@pytest.mark.parametrize("changes", [{"phase": "Failed"}, {"hook": "Failed"}, {"hook": "Running"}])
def test_pass_of_a_failed_operation_is_refused(ask, repository, changes):
    with pytest.raises(CheckFailed, match=r"the last sync of bikes-staging is .*; expected: Succeeded"):
        ask(LOG, commits(repository)[2], **changes)


def test_failed_gate_is_told_as_its_verdict(ask, repository, params):
    told = json.dumps(record(verdict="unsure"))
    with pytest.raises(Inconclusive, match="load test is unsure"):
        require(ask(told, commits(repository)[2], phase="Failed", hook="Failed"), params)


@pytest.mark.parametrize("log", ["", "\n", "Traceback\nKeyError: 'x'\n", json.dumps(record())[:-9], "{}", "null"])
def test_log_without_a_verdict_is_unsure(ask, repository, log):
    with pytest.raises(Inconclusive, match=r"is not the result of a load test"):
        ask(log, commits(repository)[2])


# GitHub


@pytest.fixture
def hub() -> Any:
    with GitHub("octo/bikes") as server:
        yield server


def asked(hub: GitHub, params: config.Params, root: Path, number: int = 1, **only: Any) -> Evidence:
    with GitHubClient(hub.url, hub.repository, hub.token, attempts=2, timeout_seconds=5) as api:
        return evidence.from_commit_status(params, release_repository.line(number), api, root, **only)


@pytest.mark.parametrize("number", [2, 3])
def test_status_on_any_commit_that_holds_the_digest_counts(hub, params, repository, number):
    commit = commits(repository)[number]
    row = hub.status(commit, at=NOW)
    assert asked(hub, params, repository) == Evidence(verdict="pass", digest=OF, at=NOW, source="status", commit=commit)
    assert row["state"] == "success"


@pytest.mark.parametrize("changes", [
    {"creator": "mallory"}, {"creator": "Slipway-Argocd"}, {"context": "slipway/production"}, {"context": "ci"},
])  # fmt: skip
def test_status_of_another_creator_or_context_counts_as_nothing(hub, params, repository, changes):
    hub.status(commits(repository)[2], **changes)
    with pytest.raises(CheckFailed, match=r"no status slipway/staging by slipway-argocd on a commit whose staging"):
        asked(hub, params, repository)


@pytest.mark.parametrize("number", [0, 1, 4, 5, 6])
def test_status_of_a_commit_without_the_digest_counts_as_nothing(hub, params, repository, number):
    hub.status(commits(repository)[number] if number != 4 else commits(repository)[5])
    with pytest.raises(CheckFailed, match="no status slipway/staging"):
        asked(hub, params, repository)


def test_newest_status_of_a_commit_counts(hub, params, repository):
    commit = commits(repository)[2]
    hub.status(commit, "success", at=NOW)
    hub.status(commit, "failure", at=NOW + timedelta(minutes=1))
    assert asked(hub, params, repository).verdict == "fail"
    hub.status(commit, "success", at=NOW + timedelta(minutes=2))
    assert asked(hub, params, repository).verdict == "pass"


def test_of_the_same_second_the_later_status_counts(hub, params, repository):
    for state in ("success", "failure"):
        hub.status(commits(repository)[2], state, at=NOW)
    assert asked(hub, params, repository).verdict == "fail"


def test_newest_judged_commit_counts(hub, params, repository):
    hub.status(commits(repository)[2], "success", at=NOW)
    hub.status(commits(repository)[3], "failure", at=NOW)
    assert asked(hub, params, repository).verdict == "fail"


@pytest.mark.parametrize("state", ["pending", "error"])
def test_status_that_is_no_answer_is_unsure(hub, params, repository, state):
    hub.status(commits(repository)[2], state)
    assert asked(hub, params, repository).verdict == "unsure"


def test_one_commit_can_be_asked_about_when_it_holds_the_digest(hub, params, repository):
    one, other = commits(repository)[2:4]
    for commit in (one, other, commits(repository)[5]):
        hub.status(commit)
    assert asked(hub, params, repository, only=one).commit == one
    with pytest.raises(CheckFailed, match="no status"):
        asked(hub, params, repository, only=commits(repository)[5])


def test_commit_that_never_was_on_main_counts_as_nothing(hub, params, repository, tmp_path):
    root = shutil.copytree(repository, tmp_path / "p")
    git.run("checkout", "-q", "-b", "side", commits(root)[2], root=root)
    hub.status(release_repository.commit(root, "On a branch"))
    with pytest.raises(CheckFailed, match="no status"):
        asked(hub, params, root)


def test_status_without_a_moment_is_unsure(hub, params, repository):
    hub.status(commits(repository)[2])["created_at"] = "yesterday"
    with pytest.raises(Inconclusive, match="the commit status has the time 'yesterday'; expected: a date"):
        asked(hub, params, repository)


def test_commit_with_a_broken_overlay_holds_nothing(hub, params, repository, tmp_path):
    root = shutil.copytree(repository, tmp_path / "p")
    (root / "k8s/overlays/staging/kustomization.yaml").write_text("images: [")
    hub.status(release_repository.commit(root, "Broken"))
    git.run("update-ref", "refs/remotes/origin/main", "HEAD", root=root)
    with pytest.raises(CheckFailed, match="no status"):
        asked(hub, params, root)


def test_api_is_opened_for_the_status_alone(hub, params, tmp_path):
    given = environment.Actions(event=tmp_path, repository=hub.repository, api=hub.url, server=hub.url, token=hub.token)
    with (
        evidence.github_client("machine", params, None) as none,
        evidence.github_client("status", params, given) as api,
    ):
        assert none is None
        assert isinstance(api, GitHubClient)
