from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, git, ledger
from slipway.delivery import gitops_commit, policy_rules, rollback
from slipway.errors import CheckFailed, ConfigError
from support import release_repository

NOW = datetime(2026, 3, 8, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Production ran release 1 and runs release 2, pushed."""
    root = release_repository.project(tmp_path_factory.mktemp("rollback") / "p")
    for number in (1, 2):
        source = release_repository.commit(root, f"Change {number}")
        given = {"commit": source, "action": "promote", "evidence": {"load": "pass"}}
        release_repository.put(root, release_repository.line(number, "production", **given))
    release_repository.push(root)
    return root


@pytest.fixture
def root(ran: Path, tmp_path: Path) -> Path:
    root = release_repository.copied(ran, tmp_path / "p")
    return root


def run(root: Path, params: config.Params, **options: object) -> str:
    usual = {"env": "production", "reason": "too slow", "root": root}
    return rollback.run(params, **(usual | options))  # type: ignore[arg-type]


def lines(root: Path, revision: str = "HEAD") -> list[ledger.Line]:
    return ledger.read_at("production", revision, root)


def test_rollback_restores_the_line_before(root, params):
    assert run(root, params) == "production to bikes:1: committed on this branch"
    first, second, back = lines(root)
    own = {"at", "action", "evidence", "supersedes"}
    assert back.model_dump(exclude=own) == first.model_dump(exclude=own)
    assert (back.action, back.evidence, back.supersedes) == ("rollback", {"reason": "too slow"}, second.identity)
    pinned = kustomization.pinned_at("production", "HEAD", root)
    assert pinned is not None
    assert pinned.image == first.image
    changed = git.run("show", "--name-only", "--format=%s", "HEAD", root=root).splitlines()
    assert changed == ["Roll production back to bikes:1", "", "k8s/overlays/production/kustomization.yaml",
                       "releases/production.jsonl"]  # fmt: skip


def test_rollback_is_pushed_onto_main(root, params):
    assert "pushed to main" in run(root, params, push=True)
    assert lines(root, "origin/main")[-1].action == "rollback"
    assert lines(root)[-1].action == "promote", "the working tree stays"


def test_there_is_no_way_back_past_the_first(root, params):
    run(root, params)
    before = git.commit_hash(root=root)
    with pytest.raises(
        CheckFailed, match=r"no release before bikes:1 to restore; expected: an earlier ledger line that was not"
    ):
        run(root, params)
    assert git.commit_hash(root=root) == before


def test_an_image_does_not_go_back_to_a_line_without_one():
    lines = [release_repository.line(1, image=None), release_repository.line(2)]
    with pytest.raises(CheckFailed, match="no release before bikes:2"):
        policy_rules.line_to_restore(lines)
    assert (
        policy_rules.line_to_restore(
            [release_repository.line(1, image=None), release_repository.line(2, image=None)]
        ).bento
        == "bikes:1"
    )


def test_an_environment_that_never_ran_anything_is_refused(root, params):
    with pytest.raises(CheckFailed, match="rollback: the environment has no release yet"):
        run(root, params, env="staging")


def test_unknown_environment_is_refused(root, params):
    with pytest.raises(ConfigError, match="the environment is 'moon'; expected: staging or production"):
        run(root, params, env="moon")


@pytest.mark.parametrize("reason", ["", " \n"])
def test_a_rollback_without_a_reason_is_refused(root, params, reason):
    with pytest.raises(ConfigError, match="the reason is empty; expected: a sentence"):
        run(root, params, reason=reason)


def test_what_was_withdrawn_is_not_what_one_goes_back_to(root, params):
    run(root, params)
    source = release_repository.commit(root, "Change 3")
    release_repository.put(root, release_repository.line(3, "production", commit=source, action="promote"))
    assert run(root, params) == "production to bikes:1: committed on this branch"


def test_what_was_brought_again_is_no_longer_withdrawn():
    first, second = release_repository.line(1, commit="a"), release_repository.line(2, commit="b")
    back = first.model_copy(update={"action": "rollback", "supersedes": second.identity})
    again = second.model_copy(update={"commit": "c"})
    assert ledger.withdrawn_lines([first, second, back]) == [second]
    assert ledger.withdrawn_lines([first, second, back, again]) == []
    assert ledger.withdrawn_lines([]) == ledger.withdrawn_lines([first, second]) == []


def test_withdrawn_source_is_refused_and_a_newer_one_is_not():
    first, second = release_repository.line(1, commit="a"), release_repository.line(2, commit="b")
    back = first.model_copy(update={"action": "rollback", "supersedes": second.identity})
    said = "promote: bikes:5 of commit b was rolled back in staging; expected: a source commit newer than b"
    with pytest.raises(CheckFailed, match=said):
        policy_rules.refuse_withdrawn(release_repository.line(5, commit="b"), [first, second, back], chapter="promote")
    policy_rules.refuse_withdrawn(second.model_copy(update={"commit": "c"}), [first, second, back], chapter="promote")


def test_somebody_elses_change_meanwhile_is_refused(root, params):
    make = rollback.line_factory(lines(root), at=NOW, reason="x", aborted=None)
    run(root, params)
    with pytest.raises(CheckFailed, match="rollback: the ledger of production changed during this rollback"):
        make("HEAD", lines(root))


# An aborted canary


def test_an_aborted_canary_never_was_stable(root, params):
    run(
        root,
        params,
        reason="the canary was aborted",
        aborted='Metric "canary"\n assessed Failed',
        only_digest=release_repository.digest(2),
    )
    back = lines(root)[-1]
    assert back.evidence == {"reason": "the canary was aborted", "aborted": 'Metric "canary" assessed Failed'}
    moment = datetime.now(UTC) - timedelta(days=1)
    assert ledger.line_at("production", moment, root) is None
    assert ledger.unstable_positions(lines(root)) == {1}
    now = ledger.line_at("production", datetime.now(UTC), root)
    assert now is not None
    assert now.action == "rollback"


def test_at_answers_what_was_stable_while_the_canary_ran(tmp_path, monkeypatch):
    root = release_repository.project(tmp_path / "p")
    for day, number in enumerate((1, 2), start=1):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2026-03-0{day}T12:00:00Z")
        release_repository.put(
            root, release_repository.line(number, "production", commit=git.commit_hash(root=root), action="promote")
        )
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-03-03T12:00:00Z")
    back = rollback.make_line(lines(root), at=NOW, reason="x", aborted="metric")
    release_repository.put(root, back)
    held = ledger.line_at("production", datetime(2026, 3, 2, 18, tzinfo=UTC), root)
    assert held is not None
    assert (held.bento, held.action) == ("bikes:1", "promote")
    path = root / "releases/production.jsonl"
    path.write_text(path.read_text().replace('"aborted":"metric"', '"aborted":""'))
    release_repository.commit(root, "As if it had been stable")
    held = ledger.line_at("production", datetime(2026, 3, 2, 18, tzinfo=UTC), root)
    assert held is not None
    assert held.bento == "bikes:2"


def test_a_notification_that_comes_twice_rolls_back_once(root, params):
    told = {"aborted": "metric", "only_digest": f"registry.example/bikes@{release_repository.digest(2)}"}
    run(root, params, **told)
    before = git.commit_hash(root=root)
    assert "production no longer runs registry" in run(root, params, **told)
    assert git.commit_hash(root=root) == before


def test_words_come_from_an_option_or_standard_input(monkeypatch, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("token")
    assert rollback.aborted_message(str(secret)) == str(secret), "never a file that somebody names"
    assert rollback.aborted_message(None) is rollback.aborted_message(" \n") is None
    assert len(rollback.aborted_message("x" * 5000) or "") == gitops_commit.MAX_REASON
    monkeypatch.setattr("sys.stdin", io.StringIO("said\nso\n"))
    assert rollback.aborted_message("-") == "said so"


# The pull request's text


def test_body_names_both_and_the_reason(root):
    said = rollback.pull_request_body(lines(root), reason="slow @ada", aborted="Metric <b>x")
    assert "Rolls production back. Reason: slow" in said
    assert "@ada" not in said
    assert "| withdrawn | `bikes:2` | `sha256:000000000000` |" in said
    assert "| restored | `bikes:1` |" in said
    assert "never became stable" in said
    assert "<b>" not in said
    assert "canary" not in rollback.pull_request_body(lines(root), reason="slow", aborted=None)


def test_pull_request_carries_the_text(root, params):
    release = params.release.model_copy(update={"mode": "pull-request"})
    said = run(root, params.model_copy(update={"release": release}), push=True, aborted="the metric")
    assert "pushed bump/production-" in said
    git.run("fetch", "-q", "origin", "bump/production-000000000000", root=root)
    assert "> the metric" in git.run("log", "-1", "--format=%b", "FETCH_HEAD", root=root)
