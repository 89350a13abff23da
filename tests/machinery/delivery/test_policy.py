from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from slipway.cluster import kustomization
from slipway.core import config, environment, git, ledger
from slipway.delivery import policy, rollback
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.records import git_branch
from support import release_repository
from support.committed_project import edit
from support.fake_github import GitHub

Judge = Callable[..., str]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Release 1 is on staging and in production, release 2 on staging, pushed."""
    return release_repository.two_releases(tmp_path_factory.mktemp("policy") / "p")


@pytest.fixture
def root(released: Path, tmp_path: Path) -> Path:
    """A clone of the test's own, on a branch."""
    root = shutil.copytree(released, tmp_path / "p")
    git.run("checkout", "-q", "-b", "change", root=root)
    return root


@pytest.fixture
def hub(root: Path) -> Any:
    """GitHub, where staging's gate passed release 2."""
    with GitHub("octo/bikes") as server:
        server.status(git.commit_hash("main", root=root))
        yield server


def actions(root: Path, hub: GitHub) -> environment.Actions:
    return environment.Actions(event=root, repository=hub.repository, api=hub.url, server=hub.url, token=hub.token)


@pytest.fixture
def judge(root: Path, params: config.Params, hub: GitHub) -> Judge:
    """`policy` of HEAD against main, as in the workflow."""
    access = actions(root, hub)

    def call(base: str | None = None, source: str = "status", *, attempts: int = params.comment.attempts) -> str:
        limits = params.comment.model_copy(update={"attempts": attempts})
        impatient = params.model_copy(update={"comment": limits})
        return policy.run(impatient, base=base, source=source, actions=access, root=root)

    return call


def proof(hub: GitHub, number: int = 2) -> dict[str, Any]:
    row = hub.statuses[-1]
    return {"load": "pass", "p95_ms": None, "requests": None, "of": release_repository.digest(number), "by": "status",
            "at": row["created_at"].replace("Z", "+00:00"), "commit": row["sha"]}  # fmt: skip


def promote(root: Path, hub: GitHub, **changes: Any) -> str:
    new = ledger.read("staging", root)[-1]
    given = {"env": "production", "action": "promote", "at": release_repository.NOW, "evidence": proof(hub)} | changes
    return release_repository.put(root, new.model_copy(update=given))


def record(root: Path) -> dict[str, Any]:
    return json.loads((root / policy.VERDICT).read_text())


def test_a_change_of_neither_needs_no_token(root, params):
    (root / "k8s/overlays/production/more.yaml").write_text("a: 1\n")
    edit(root / "k8s/overlays/production/kustomization.yaml", "images:", "# a remark\nimages:")
    release_repository.commit(root, "Words")
    assert policy.run(params, root=root) == "the change touches no ledger and no digest"
    told = record(root)
    assert (told["verdict"], told["inputs"]["commit"]) == ("pass", git.commit_hash(root=root))


def test_an_honest_promotion_passes(root, hub, judge):
    promote(root, hub)
    assert judge() == "1 new line in the ledger of production, all rules hold"
    assert record(root)["rows"] == 1
    assert len([one for one in hub.log if one.path.endswith("/statuses")]) >= 1


def test_an_honest_release_and_rollback_pass_without_a_token(root, params):
    release_repository.released(root, 3)
    back = rollback.make_line(ledger.read("staging", root), at=release_repository.NOW, reason="slow", aborted=None)
    release_repository.put(root, back)
    assert policy.run(params, root=root) == "2 new lines in the ledger of staging, all rules hold"


@pytest.mark.parametrize("state", ["failure", None])
def test_what_staging_did_not_pass_is_refused(root, hub, judge, state):
    promote(root, hub)
    row = hub.statuses.pop()
    if state:
        hub.status(row["sha"], state)
    with pytest.raises(
        CheckFailed,
        match=r"evidence: the verdict of staging's load test is fail; expected: pass|no status slipway/staging",
    ):
        judge()
    assert record(root)["verdict"] == "fail"


def test_github_out_of_reach_is_unsure(root, hub, judge):
    promote(root, hub)
    hub.fail("/statuses", status=503, times=99)
    with pytest.raises(Inconclusive):
        judge(attempts=2)


def test_digest_moved_without_a_line_is_refused(root, judge):
    kustomization.write_digest(kustomization.path("production", root), "serve", release_repository.digest(2))
    release_repository.commit(root, "Quietly")
    pinned, expected = (f"{release_repository.NAME}@{release_repository.digest(number)}" for number in (2, 1))
    said = rf"production: overlay: the overlay pins {pinned}; expected: {expected}"
    with pytest.raises(CheckFailed, match=said):
        judge()


def test_line_without_its_digest_is_refused(root, hub, judge):
    promote(root, hub)
    kustomization.write_digest(kustomization.path("production", root), "serve", release_repository.digest(1))
    release_repository.commit(root, "Only the line")
    with pytest.raises(CheckFailed, match="production: overlay: "):
        judge()


def test_overlay_emptied_of_its_digest_is_refused(root, judge):
    kustomization.write_digest(kustomization.path("production", root), "serve", "sha256:" + "0" * 64)
    release_repository.commit(root, "Nothing any more")
    with pytest.raises(CheckFailed, match="production: overlay: "):
        judge()


@pytest.mark.parametrize(("was", "becomes"), [
    (release_repository.NAME, "evil.example/bikes"), ("digest:", "digest: # broken\n      - "), ("name: serve", "name: other"),
])  # fmt: skip
def test_an_overlay_that_is_another_image_or_none_is_refused(root, judge, was, becomes):
    edit(root / "k8s/overlays/production/kustomization.yaml", was, becomes)
    release_repository.commit(root, "Bent")
    with pytest.raises(CheckFailed, match="production: overlay: "):
        judge()


def test_removed_overlay_is_refused(root, judge):
    (root / "k8s/overlays/production/kustomization.yaml").unlink()
    release_repository.commit(root, "Gone")
    with pytest.raises(CheckFailed, match="production: overlay: the overlay pins no image"):
        judge()


@pytest.mark.parametrize("bend", [
    lambda rows: rows[:-1],
    lambda rows: rows[::-1],
    lambda rows: [rows[0].replace("bikes:1", "bikes:9"), *rows[1:]],
    lambda rows: [*rows[:-1], rows[-1][:-30]],
    lambda rows: ["<<<<<<< HEAD", *rows],
], ids=["shortened", "reordered", "edited", "truncated", "conflict"])  # fmt: skip
def test_a_ledger_that_does_not_only_grow_is_refused(root, judge, bend):
    path = root / "releases/staging.jsonl"
    path.write_text("\n".join(bend(path.read_text().splitlines())) + "\n")
    release_repository.commit(root, "Bent")
    with pytest.raises(CheckFailed, match="staging: ledger: "):
        judge()


def test_staging_and_production_in_one_change_are_refused(root, hub, judge):
    release_repository.released(root, 3)
    hub.status(git.commit_hash(root=root))
    promote(root, hub, evidence=proof(hub, 3))
    with pytest.raises(CheckFailed, match="no line of staging on main has "):
        judge()


def test_limits_are_those_of_the_base(root, hub, params):
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("creator: slipway-argocd", "creator: mallory"))
    hub.statuses[0]["creator"]["login"] = "mallory"
    promote(root, hub)
    bent = params.model_copy(update={"release": params.release.model_copy(update={"creator": "mallory"})})
    with pytest.raises(CheckFailed, match="no status slipway/staging by slipway-argocd"):
        policy.run(bent, actions=actions(root, hub), root=root)


def test_a_waiver_is_said_on_the_runs_page(root, hub, judge, tmp_path, monkeypatch):
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    promote(root, hub, evidence={"waiver": "The gate <b>moves"})
    assert "WAIVED without evidence: production, promote of bikes:2: The gate <b>moves" in judge()
    assert "[!CAUTION]" in page.read_text()
    assert "A code owner of the ledger must approve this pull request." in page.read_text()
    assert "1 new line in the ledger of production, all rules hold" in page.read_text()
    assert "<b>" not in page.read_text()


def test_a_branch_behind_main_is_only_asked_for_its_own_change(root, judge):
    git.run("checkout", "-q", "-B", "old", "HEAD~2", root=root)
    release_repository.commit(root, "Words")
    assert "touches no ledger and no digest" in judge()


@pytest.mark.parametrize("base", ["0" * 40, "HEAD"])
def test_first_push_has_nothing_to_compare_with(judge, base):
    assert "touches no ledger and no digest" in judge(base)


def test_unknown_base_is_an_error(judge):
    with pytest.raises(ConfigError, match="revision 'gone' does not exist"):
        judge("gone")


def test_a_first_line_without_an_image_leaves_the_overlay_as_it_was(tmp_path, params):
    root = release_repository.project(tmp_path / "p")
    release_repository.released(root, 1, image=None)
    assert policy.run(params, root=root) == "1 new line in the ledger of staging, all rules hold"
    kustomization.write_digest(kustomization.path("staging", root), "serve", release_repository.digest(4))
    release_repository.commit(root, "And more")
    with pytest.raises(CheckFailed, match=r"staging: overlay: the overlay pins sha256:0.*4; expected: sha256:0"):
        policy.run(params, root=root)


def restarted(root: Path) -> str:
    """Set `judge.restart_at` to production's commit, in a change of its own; returns that commit."""
    production = ledger.read("production", root)[-1].commit
    text = (root / "params.yaml").read_text("utf-8")
    (root / "params.yaml").write_text(text.replace("  floors:\n", f"  restart_at: {production}\n  floors:\n"), "utf-8")
    return production


def test_a_restarted_comparison_is_said_on_the_runs_page(root, params, tmp_path, monkeypatch):
    page = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    release_repository.released(root, 3, restart_at=restarted(root))
    assert "RESTARTED without a comparison with production: staging, release of bikes:3" in policy.run(
        params, root=root
    )
    assert "judged by the baseline and the floors, because judge.restart_at names commit" in unescape(page.read_text())
    assert "A code owner" not in page.read_text()


@pytest.mark.parametrize("in_force", [True, False])
def test_a_line_that_hides_or_invents_a_restart_is_refused(root, params, in_force):
    told = restarted(root) if in_force else "a" * 40
    release_repository.released(root, 3, restart_at=None if in_force else told)
    with pytest.raises(CheckFailed, match=r"RESTARTED without a comparison.*the line has restart_at"):
        policy.run(params, root=root)


def test_changed_records_are_refused(judge: Judge, root: Path) -> None:
    row = '{"v":1,"at":"2026-03-04T12:00:00Z","kind":"verdict","chapter":"judge","verdict":"fail"}\n'
    first = git_branch.write(row, None, title="x", root=root)
    last = git_branch.write(row.replace("fail", "pass"), first, title="x", root=root)
    git_branch.move(git_branch.LOCAL, last, None, root=root)
    with pytest.raises(CheckFailed, match="changed or removed lines"):
        judge()
