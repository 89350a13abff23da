from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import kustomization
from slipway.core import config, environment, git, ledger
from slipway.delivery import promote, rollback
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from support import release_repository
from support.fake_github import GitHub

Promote = Callable[..., str]
PROOF = {"load": "pass", "p95_ms": 7.25, "requests": 3600, "of": release_repository.digest(1),
         "at": "2026-03-08T11:00:00+00:00", "by": "cluster", "commit": "f" * 40}  # fmt: skip


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1 is on staging, pushed."""
    root = release_repository.project(tmp_path_factory.mktemp("promote") / "p")
    release_repository.released(root, 1)
    release_repository.push(root)
    return root


@pytest.fixture
def root(released: Path, tmp_path: Path) -> Path:
    """A repository of the test's own, with a remote of its own, judged on this machine."""
    root = release_repository.copied(released, tmp_path / "p")
    judged(root, 1)
    return root


def judged(root: Path, number: int, word: str = "pass") -> None:
    """reports/load.json about a release, of this moment."""
    record = {"chapter": "load", "verdict": word, "inputs": {"image": release_repository.digest(number)}, "rows": 3600,
              "checks": [{"name": "POST /predict p95_ms", "value": 7.25}]}  # fmt: skip
    (root / "reports").mkdir(exist_ok=True)
    (root / "reports/load.json").write_text(json.dumps(record))


def mode(params: config.Params, mode: str) -> config.Params:
    return params.model_copy(update={"release": params.release.model_copy(update={"mode": mode})})


def production(root: Path, revision: str = "HEAD") -> ledger.Line:
    return ledger.read_at("production", revision, root)[-1]


def test_production_line_is_stagings_with_evidence(root, params):
    assert (
        promote.run(params, source="machine", root=root)
        == "bikes:1 to production (load test: pass): committed on this branch"
    )
    new, old = production(root), ledger.read("staging", root)[-1]
    own = {"at", "env", "action", "evidence", "supersedes"}
    assert new.model_dump(exclude=own) == old.model_dump(exclude=own)
    assert (new.env, new.action, new.supersedes) == ("production", "promote", None)
    assert new.evidence
    assert (new.evidence["p95_ms"], new.evidence["requests"]) == (7.25, 3600)
    assert (new.evidence["of"], new.evidence["by"]) == (release_repository.digest(1), "machine")
    pinned = kustomization.pinned_at("production", "HEAD", root)
    assert pinned
    assert pinned.image == new.image


def test_what_production_runs_already_is_not_promoted(root, params, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "page.md"))
    promote.run(params, source="machine", root=root)
    before = git.commit_hash(root=root)
    said = "production already has bikes:1: nothing to promote"
    assert promote.run(params, source="machine", root=root) == said
    assert git.commit_hash(root=root) == before
    assert "nothing to promote" in (tmp_path / "page.md").read_text()


def test_a_push_goes_onto_mains_newest_tip(root, params, tmp_path):
    other = tmp_path / "other"
    git.run("clone", "-q", str(tmp_path / "p.git"), str(other), root=tmp_path)
    for key in ("user.name", "user.email"):
        git.run("config", key, "x@example.org", root=other)
    theirs = release_repository.commit(other, "Words")
    git.run("push", "-q", "origin", "main", root=other)
    said = promote.run(params, source="machine", push=True, root=root)
    assert "pushed to main" in said
    assert git.commit_hash("origin/main^", root=root) == theirs
    assert production(root, "origin/main").bento == "bikes:1"
    assert git.run("log", "-1", "--format=%B", "origin/main", root=root).startswith(
        "Promote bikes:1 to production\n\nEvidence: {"
    )


def test_nothing_on_staging_is_refused(tmp_path, params):
    root = release_repository.project(tmp_path / "p")
    with pytest.raises(CheckFailed, match="staging has no release yet"):
        promote.run(params, root=root)


@pytest.mark.parametrize(("word", "error"), [("fail", CheckFailed), ("unsure", Inconclusive)])
def test_only_a_pass_is_promoted(root, params, word, error):
    judged(root, 1, word)
    with pytest.raises(error, match=f"load test is {word}; expected: pass"):
        promote.run(params, source="machine", root=root)
    assert ledger.read("production", root) == []


def test_a_verdict_about_another_digest_promotes_nothing(root, params):
    judged(root, 2)
    with pytest.raises(CheckFailed, match="the load test was of sha256:"):
        promote.run(params, source="machine", root=root)


def test_an_old_verdict_promotes_nothing(root, params):
    long_ago = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    os.utime(root / "reports/load.json", (long_ago, long_ago))
    with pytest.raises(CheckFailed, match="days old; allowed: at most 7 days"):
        promote.run(params, source="machine", root=root)


def test_older_commit_than_productions_is_refused(root, params):
    promote.run(params, source="machine", root=root)
    new = ledger.read("staging", root)[-1]
    release_repository.put(
        root,
        new.model_copy(
            update={
                "commit": git.commit_hash("HEAD~3", root=root),
                "image": f"{release_repository.NAME}@{release_repository.digest(2)}",
            }
        ),
    )
    judged(root, 2)
    with pytest.raises(CheckFailed, match=r"promote: commit .* is not a descendant of"):
        promote.run(params, source="machine", root=root)


def test_what_was_rolled_back_needs_a_newer_commit(root, params):
    promote.run(params, source="machine", root=root)
    release_repository.released(root, 2)
    judged(root, 2)
    promote.run(params, source="machine", root=root)
    rollback.run(params, env="production", reason="slow", root=root)
    with pytest.raises(
        CheckFailed, match=r"promote: bikes:2 .* was rolled back in production; expected: a source commit newer"
    ):
        promote.run(params, source="machine", root=root)
    release_repository.released(root, 3)
    judged(root, 3)
    assert "bikes:3 to production" in promote.run(params, source="machine", root=root)


def test_staging_that_moved_meanwhile_is_refused(root):
    """Between the evidence and the commit somebody releases: the line is asked for again on the new tip."""
    released = ledger.read("staging", root)[-1]
    make = promote.line_factory(released, at=release_repository.NOW, quoted=PROOF, root=root)
    release_repository.released(root, 2)
    with pytest.raises(CheckFailed, match="staging changed from bikes:1 to bikes:2 meanwhile"):
        make(git.commit_hash(root=root), [])


def test_somebody_elses_promotion_meanwhile_is_nothing_to_do(root):
    released = ledger.read("staging", root)[-1]
    make = promote.line_factory(released, at=release_repository.NOW, quoted=PROOF, root=root)
    assert make("HEAD", [released.model_copy(update={"env": "production"})]) is None
    made = make("HEAD", [])
    assert made
    assert made.evidence == PROOF


@pytest.mark.parametrize("changed", ["params.yaml"])
def test_uncommitted_change_stops_a_promotion(root, params, changed):
    with (root / changed).open("a") as file:
        file.write("# more\n")
    with pytest.raises(ConfigError, match="1 file has uncommitted changes"):
        promote.run(params, source="machine", root=root)


def test_an_unknown_author_stops_a_promotion(root, params):
    git.run("config", "user.name", "", root=root)
    with pytest.raises(ConfigError, match="Git has no user name and email for commits"):
        promote.run(params, source="machine", root=root)


# The commit status


def test_without_a_source_an_image_is_asked_for_at_github(root, params):
    with GitHub("octo/bikes") as hub:
        actions = environment.Actions(event=root, repository=hub.repository, api=hub.url, server="", token=hub.token)
        with pytest.raises(CheckFailed, match="no status slipway/staging by slipway-argocd"):
            promote.run(params, actions=actions, root=root)
        hub.status(git.commit_hash(root=root))
        promote.run(params, actions=actions, root=root)
    assert (production(root).evidence or {})["by"] == "status"
    assert promote.default_evidence_source(release_repository.line(1, image=None)) == "machine"


# Waivers


def test_a_waiver_is_kept_in_the_line(root, params):
    said = promote.run(params, waive="The gate\n is being moved", root=root)
    assert said == "bikes:1 to production (WAIVED without evidence): committed on this branch"
    assert production(root).evidence == {"waiver": "The gate is being moved"}


def test_a_waiver_without_a_reason_is_refused(root, params):
    with pytest.raises(ConfigError, match="the waiver has no reason; expected: a sentence"):
        promote.run(params, waive=" ", root=root)


def test_a_waiver_that_nobody_would_approve_is_refused(root, params):
    with pytest.raises(CheckFailed, match=r"release\.mode is direct, which pushes without one; expected: pull-request"):
        promote.run(params, waive="so", push=True, root=root)
    assert "WAIVED" in promote.run(mode(params, "pull-request"), waive="so", push=True, root=root)


# The pull request's text


def text(**changes: Any) -> str:
    new = promote.make_line(release_repository.line(1, commit="d" * 40), changes.pop("before", None), at=release_repository.NOW,
                       proof=changes.pop("proof", PROOF))  # fmt: skip
    return promote.pull_request_body(new, changes.pop("old", None), **changes)


def test_body_tells_verdicts_sources_and_metrics():
    said = text(old=release_repository.line(7, commit="e" * 40), card="# A card\n")
    assert "Moves production to `bikes:1` of commit `dddddddddddd` (#1). Production runs `bikes:7`" in said
    assert (
        "| load | ✅ pass | the gate's log, staging at `ffffffffffff`, 2026-03-08 11:00 UTC, p95 7.25 ms, 3,600 requests |"
        in said
    )
    assert "| judge | ✅ pass | the release |" in said
    assert "| mae | 8.5 | 2.5 |" in said
    assert "# A card" in said
    assert "were not compared" in said


def test_body_without_numbers_or_a_champion_says_so():
    said = text(proof=PROOF | {"p95_ms": None, "requests": None, "by": "status"}, manifests="| a | b |")
    assert "Production runs nothing yet." in said
    assert "the commit status, staging at `ffffffffffff`, 2026-03-08 11:00 UTC |" in said
    assert "| mae | – | 2.5 |" in said
    assert "| a | b |" in said
    assert "Run `slipway report` at commit `dddddddddddd` for the model card." in said


def test_card_of_another_model_is_left_out(tmp_path):
    new = release_repository.line(1)
    assert promote.model_card(new, tmp_path) is None
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/model_card.md").write_text(f"# A card\n\n- SHA-256 of the model: `{new.model_sha256}`\n")
    assert (promote.model_card(new, tmp_path) or "").startswith("# A card")
    assert promote.model_card(release_repository.line(2), tmp_path) is None


def test_body_shouts_a_waiver():
    said = text(proof={"waiver": "because <b>"})
    assert "[!CAUTION]\n> **Waiver.**" in said
    assert "<b>" not in said
    assert "| load |" not in said


def test_body_warns_of_a_release_that_was_not_compared():
    new = release_repository.line(1, restart_at="a" * 40)
    assert "> **Restarted.** `judge` compared this release with the baseline" in promote.pull_request_body(new, None)
    assert "Restarted" not in text()


def test_pull_request_shows_what_changes_in_the_cluster(root, params):
    said = promote.run(mode(params, "pull-request"), source="machine", push=True, root=root)
    assert "pushed bump/production-000000000000" in said
    body = git.run("log", "-1", "--format=%b", "FETCH_HEAD", root=fetched(root))
    assert "| load | ✅ pass | reports/load.json" in body
    assert git.run("status", "--short", "--untracked-files=no", root=root) == ""
    assert len(git.run("worktree", "list", root=root).splitlines()) == 1


def fetched(root: Path) -> Path:
    git.run("fetch", "-q", "origin", "bump/production-000000000000", root=root)
    return root
