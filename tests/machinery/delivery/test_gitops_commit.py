from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, environment, git, ledger
from slipway.delivery import gitops_commit
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from support.executables import write_script
from support.remote_repository import IMAGE, ZERO, advance, clone, digest, maker, of, remote


@pytest.fixture(autouse=True)
def _no_forge(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return remote(tmp_path / "a b é")[0]


@pytest.fixture
def work(bare: Path) -> Path:
    return bare.parent / "work"


def write(
    work: Path, params: config.Params, make: gitops_commit.MakeLine, *, push: bool = True, env: str = "staging"
) -> gitops_commit.CommitResult:
    return gitops_commit.commit_line(
        env, make, title="Release it", body="Because.", push=push, params=params, root=work
    )


def released(bare: Path, env: str = "staging") -> list[str]:
    """The digests of the ledger on the remote's main; its overlay must say the last one."""
    images = [line.image or "" for line in ledger.read_at(env, "main", bare)]
    pinned = kustomization.pinned_at(env, "main", bare)
    assert pinned
    assert pinned.image == (images[-1] if images else f"{IMAGE}@{ZERO}")
    return [image.rpartition("@")[2] for image in images]


def changed(root: Path, revision: str) -> list[str]:
    return git.run("show", "--name-only", "--format=", revision, root=root).splitlines()


def sign_without_key(work: Path) -> None:
    git.run("config", "commit.gpgsign", "true", root=work)
    git.run("config", "gpg.program", "false", root=work)


def lock_branch(work: Path) -> None:
    (work / ".git/refs/heads/main.lock").touch()


def block_ledger(work: Path) -> None:
    (work / "releases/staging.jsonl").mkdir(parents=True)
    (work / "releases/staging.jsonl/mine").touch()


@pytest.mark.parametrize(("breaks", "mend"), [
    (sign_without_key, lambda work: git.run("config", "commit.gpgsign", "false", root=work)),
    (lock_branch, lambda work: (work / ".git/refs/heads/main.lock").unlink()),
    (block_ledger, lambda work: shutil.rmtree(work / "releases/staging.jsonl")),
], ids=["signature", "branch locked", "file in the way"])  # fmt: skip
def test_commit_that_fails_leaves_nothing(work: Path, params: config.Params, breaks, mend):
    before = git.commit_hash(root=work)
    breaks(work)
    with pytest.raises(ConfigError, match=r"^`git (commit|update-ref|read-tree)` failed: "):
        write(work, params, maker(1), push=False)
    assert (git.commit_hash(root=work), git.uncommitted_files(work)) == (before, [])
    assert not (work / "releases/staging.jsonl").is_file()
    assert git.worktrees(work) == [work.resolve()]
    mend(work)
    assert write(work, params, maker(1), push=False).commit == git.commit_hash(root=work)
    assert len(ledger.read("staging", work)) == 1


def test_line_that_is_not_committed_is_no_release(work: Path, params: config.Params):
    write(work, params, maker(1), push=False)
    path = ledger.path("staging", work)
    path.write_text(path.read_text("utf-8") * 2, "utf-8")
    assert len(gitops_commit.ledger_at("staging", None, work)) == 1
    with pytest.raises(ConfigError, match="1 file has uncommitted changes: releases/"):
        gitops_commit.starting_tip(params, push=False, root=work)


def test_detached_head_is_refused_before_anything_is_written(work: Path, params: config.Params):
    git.run("checkout", "-q", "--detach", root=work)
    with pytest.raises(ConfigError, match="HEAD is detached at"):
        write(work, params, maker(1), push=False)
    assert git.uncommitted_files(work) == []


@pytest.mark.parametrize(
    ("name", "hint"), [("upstream", "git remote rename upstream origin"), ("", "git remote add origin URL")]
)
def test_remote_of_another_name_is_not_waited_for(work: Path, params: config.Params, name: str, hint: str):
    git.run("remote", *(("rename", "origin", name) if name else ("remove", "origin")), root=work)
    with pytest.raises(ConfigError, match=rf"has no remote origin \(remotes: {name or 'none'}\)") as caught:
        write(work, params, maker(1))
    assert caught.value.hint == hint


def test_users_own_ignored_files_are_committed(work: Path, params: config.Params, tmp_path: Path):
    (tmp_path / "ignored").write_text("*.jsonl\nk8s/\n")
    git.run("config", "core.excludesFile", str(tmp_path / "ignored"), root=work)
    assert write(work, params, maker(1), push=False).commit
    assert len(ledger.read_at("staging", "HEAD", work)) == 1


def test_default_branch_of_another_name_is_pushed_to(bare: Path, params: config.Params):
    git.run("branch", "-m", "main", "trunk", root=bare)
    git.run("symbolic-ref", "HEAD", "refs/heads/trunk", root=bare)
    work = clone(bare, bare.parent / "trunk")
    result = write(work, params, maker(1))
    assert (result.branch, result.message) == ("trunk", f"pushed to trunk as {str(result.commit)[:12]}")
    assert len(ledger.read_at("staging", "trunk", bare)) == 1


def test_commit_made_by_a_hook_is_of_this_repository(work: Path, params: config.Params, monkeypatch):
    monkeypatch.setenv("GIT_INDEX_FILE", str(work / ".git/index.of.a.hook"))
    monkeypatch.setenv("GIT_DIR", str(work / ".git"))
    write(work, params, maker(1), push=False)
    assert changed(work, "HEAD") == ["k8s/overlays/staging/kustomization.yaml", "releases/staging.jsonl"]
    assert not (work / ".git/index.of.a.hook").exists()


def test_line_and_digest_are_one_commit(work: Path, params: config.Params):
    done = write(work, params, maker(1), push=False)
    assert done == gitops_commit.CommitResult(
        commit=git.commit_hash(root=work), branch="main", message="committed on this branch"
    )
    assert changed(work, "HEAD") == ["k8s/overlays/staging/kustomization.yaml", "releases/staging.jsonl"]
    assert git.run("log", "-1", "--format=%B", root=work) == "Release it\n\nBecause."
    rows = git.run("show", "-U0", "--format=", "HEAD", "--", "k8s", root=work).splitlines()
    assert [row for row in rows if row[0] in "+-" and row[:3] not in ("+++", "---")] == [
        f"-    digest: {ZERO}",
        f"+    digest: {digest(1)}",
    ]


def test_without_an_image_only_the_ledger_changes(work: Path, params: config.Params):
    write(work, params, maker(1, image=None), push=False)
    assert changed(work, "HEAD") == ["releases/staging.jsonl"]


@pytest.mark.parametrize("mode", ["direct", "pull-request"])
@pytest.mark.parametrize("push", [True, False])
def test_nothing_to_do_changes_nothing(bare: Path, work: Path, params: config.Params, mode: str, push: bool):
    before = git.run("for-each-ref", root=bare), git.commit_hash(root=work)
    assert write(work, of(params, mode), lambda *_: None, push=push) == gitops_commit.CommitResult()
    assert (git.run("for-each-ref", root=bare), git.commit_hash(root=work)) == before


@pytest.mark.parametrize("mode", ["direct", "pull-request"])
def test_what_make_refuses_is_not_written(bare: Path, work: Path, params: config.Params, mode: str):
    def make(*_: object) -> None:
        raise CheckFailed("no")

    before = git.run("for-each-ref", root=bare)
    with pytest.raises(CheckFailed, match="no"):
        write(work, of(params, mode), make)
    assert git.run("for-each-ref", root=bare) == before


def test_direct_lands_on_the_remotes_tip_and_not_here(bare: Path, work: Path, params: config.Params):
    before = git.commit_hash(root=work)
    tip = advance(clone(bare, bare.parent / "other"))
    (work / "k8s/overlays/staging/kustomization.yaml").write_text("someone is editing")
    done = write(work, params, maker(1))
    assert (done.commit, done.branch) == (git.commit_hash("main", root=bare), "main")
    assert git.commit_hash("main^", root=bare) == tip
    assert done.message == f"pushed to main as {str(done.commit)[:12]}"
    assert released(bare) == [digest(1)]
    assert git.commit_hash(root=work) == before
    assert git.uncommitted_files(work) == ["k8s/overlays/staging/kustomization.yaml"]
    assert git.run("worktree", "list", root=work).count("\n") == 0


def test_line_is_made_anew_on_the_tip_that_came_meanwhile(bare: Path, work: Path, params: config.Params):
    other, seen = clone(bare, bare.parent / "other"), list[str]()
    ours = maker(2, seen=seen)

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        if not seen:  # somebody is faster, between our look and our push
            write(other, params, maker(1))
        return ours(tip, lines)

    write(work, params, make)
    assert released(bare) == [digest(1), digest(2)]
    lines = ledger.read_at("staging", "main", bare)
    assert lines[1].supersedes == lines[0].identity
    assert seen == [git.commit_hash("main~2", root=bare), git.commit_hash("main~1", root=bare)]


def test_make_may_find_nothing_to_do_on_the_new_tip(bare: Path, work: Path, params: config.Params):
    other = clone(bare, bare.parent / "other")

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        if lines:
            return None
        write(other, params, maker(1))
        return maker(2)(tip, lines)

    assert write(work, params, make) == gitops_commit.CommitResult()
    assert released(bare) == [digest(1)]


def test_racing_bumps_all_arrive_in_one_chain(bare: Path, params: config.Params):
    clones = [clone(bare, bare.parent / f"clone-{number}") for number in range(3)]
    start, messages = threading.Barrier(3), list[str]()

    def race(number: int) -> None:
        start.wait()
        messages.append(write(clones[number], of(params, attempts=20), maker(1 + number)).message)

    racers = [threading.Thread(target=race, args=(number,)) for number in range(3)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert sorted(released(bare)) == [digest(number) for number in range(1, 4)]
    assert len(messages) == 3
    lines = ledger.read_at("staging", "main", bare)
    assert [line.supersedes for line in lines] == [None, *(line.identity for line in lines[:-1])]


HOOKS = {
    "rejects once": ("pre-receive", 'test -e tried || { touch tried; echo "not now" >&2; exit 1; }'),
    "took it, and died": ("reference-transaction", 'test "$1" != committed || test -e tried || { touch tried; kill -9 $PPID; }'),
    "rejects": ("pre-receive", 'echo "GH006: Protected branch update failed" >&2; exit 1'),
}  # fmt: skip


def hook(bare: Path, kind: str) -> None:
    name, script = HOOKS[kind]
    file = bare / "hooks" / name
    file.parent.mkdir(exist_ok=True)
    write_script(file, script)


@pytest.mark.parametrize(
    ("kind", "attempts"), [("rejects once", 2), ("took it, and died", 2), ("took it, and died", 1)]
)
def test_a_push_that_fails_once_leaves_one_line(
    bare: Path, work: Path, params: config.Params, kind: str, attempts: int
):
    hook(bare, kind)
    done = write(work, of(params, attempts=attempts), maker(1))
    assert (bare / "tried").exists()
    assert done.commit == git.commit_hash("main", root=bare)
    assert released(bare) == [digest(1)]


def test_a_protected_branch_is_told_with_the_other_mode(bare: Path, work: Path, params: config.Params):
    hook(bare, "rejects")
    with pytest.raises(
        CheckFailed, match=r"origin did not accept the commit on main in 3 attempts: .*GH006: Protected branch"
    ) as error:
        write(work, of(params), maker(1))
    assert "release.mode to pull-request" in error.value.hint
    assert released(bare) == []
    with pytest.raises(CheckFailed, match=r"origin did not accept the branch bump/staging-000000000000: .*GH006"):
        write(work, of(params, "pull-request"), maker(1))


@pytest.mark.parametrize("mode", ["direct", "pull-request"])
def test_a_remote_that_is_away_is_unsure_and_later_all_is_well(
    bare: Path, work: Path, params: config.Params, mode: str
):
    away = bare.rename(bare.parent / "away.git")
    with pytest.raises(Inconclusive, match="origin did not respond in 2 attempts: fatal: ") as error:
        write(work, of(params, mode, attempts=2), maker(1))
    assert error.value.code == 5
    assert not ledger.path("staging", work).exists()
    away.rename(bare)
    write(work, of(params), maker(1))
    assert released(bare) == [digest(1)]


def test_without_a_token_the_branch_is_pushed_and_the_rest_is_told(bare: Path, work: Path, params: config.Params):
    before, make = git.commit_hash("main", root=bare), maker(1, image=f"{IMAGE}@sha256:{'0abc' * 16}")
    done = write(work, of(params, "pull-request"), make)
    assert done.branch == "bump/staging-0abc0abc0abc"
    assert done.pull_request is None
    assert done.message == f"pushed {done.branch}; open its pull request yourself: {done.branch} into main"
    assert git.commit_hash("main", root=bare) == before
    assert git.commit_hash(done.branch, root=bare) == done.commit
    assert git.commit_hash(f"{done.branch}^", root=bare) == before
    advance(clone(bare, bare.parent / "other"))
    again = write(work, of(params, "pull-request"), make)
    assert git.commit_hash(done.branch, root=bare) == again.commit
    assert git.commit_hash(f"{done.branch}^", root=bare) == git.commit_hash("main", root=bare)


def test_damaged_ledger_of_the_tip_stops_a_bump(bare: Path, work: Path, params: config.Params):
    write(work, params, maker(1))
    other = clone(bare, bare.parent / "other")
    file = ledger.path("staging", other)
    file.write_text(file.read_text()[:-30])
    tip = advance(other)
    with pytest.raises(ledger.DataError, match="cut off"):
        write(work, params, maker(2))
    assert git.commit_hash("main", root=bare) == tip


def test_overlay_that_is_gone_stops_a_bump(bare: Path, work: Path, params: config.Params):
    git.run("rm", "-q", "-r", "k8s", root=work)
    tip = advance(work)
    with pytest.raises(ConfigError, match=r"kustomization\.yaml does not exist"):
        write(work, params, maker(1))
    assert git.commit_hash("main", root=bare) == tip
    assert not environment.cache_home(work).exists() or not list(environment.cache_home(work).glob("bump-*"))


def test_a_workflows_bump_is_the_bots(bare: Path, work: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch):
    for name in ("EVENT_PATH", "REPOSITORY", "API_URL", "SERVER_URL", "TOKEN"):
        monkeypatch.setenv(f"GITHUB_{name}", "x")
    for key in ("user.name", "user.email"):
        git.run("config", "--unset", key, root=work)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    done = write(work, params, maker(1))
    assert git.run("log", "-1", "--format=%an <%ae>", str(done.commit), root=bare) == (
        "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"
    )


def test_without_an_author_nothing_is_written(work: Path, params: config.Params):
    git.run("config", "user.name", "", root=work)
    with pytest.raises(ConfigError, match="Git has no user name and email for commits"):
        write(work, params, maker(1))


# A pin that belongs to no environment


GATE = Path("k8s/components/gate/kustomization.yaml")


@pytest.fixture
def gate(work: Path) -> Path:
    """A clone whose main has a component with the gate's image."""
    (work / GATE).parent.mkdir(parents=True)
    (work / GATE).write_text(f"images: [{{name: gate, newName: {IMAGE}-gate, digest: {ZERO}}}]\n")
    advance(work, "A gate")
    return work


def pin(work: Path, params: config.Params, number: int, *, push: bool = True) -> gitops_commit.CommitResult:
    return gitops_commit.pin_image(GATE, "gate", digest(number), title="Pin it", push=push, params=params, root=work)


@pytest.mark.parametrize("push", [True, False])
def test_a_pin_moves_in_a_commit_of_its_own(bare: Path, gate: Path, params: config.Params, push: bool):
    done = pin(gate, params, 1, push=push)
    place, made = (bare, "main") if push else (gate, "HEAD")
    assert done.commit == git.commit_hash(made, root=place)
    assert changed(place, made) == [GATE.as_posix()]
    assert kustomization.read(str(git.file_at(made, GATE.as_posix(), root=place)), "gate").digest == digest(1)
    assert pin(gate, params, 1, push=push) == gitops_commit.CommitResult()


def test_a_pin_waits_on_a_branch_where_main_is_protected(bare: Path, gate: Path, params: config.Params):
    done = pin(gate, of(params, "pull-request"), 1)
    assert done.branch == "bump/gate-000000000000"
    assert git.commit_hash(done.branch, root=bare) == done.commit


def test_a_pin_that_main_lost_is_told(gate: Path, params: config.Params):
    git.run("rm", "-q", GATE.as_posix(), root=gate)
    advance(gate, "No gate")
    with pytest.raises(ConfigError, match=r"k8s/components/gate/kustomization\.yaml has no list `images`"):
        pin(gate, params, 1)


@pytest.mark.parametrize(("url", "page"), [
    ("https://github.com/octo/flights.git", "https://github.com/octo/flights"),
    ("https://ada:s3cret@example.org/octo/flights", "https://example.org/octo/flights"),
    ("git@github.com:octo/flights.git", "https://github.com/octo/flights"),
    ("ssh://git@example.org/octo/flights.git", "https://example.org/octo/flights"),
    ("/srv/git/flights.git", ""),
    ("http://127.0.0.1:18088/flights.git", ""),
])  # fmt: skip
def test_page_of_a_remote_is_its_forges(work, url, page):
    git.run("remote", "set-url", "origin", url, root=work)
    assert gitops_commit.web_url(work) == page


def test_without_a_remote_there_is_no_page(work):
    git.run("remote", "remove", "origin", root=work)
    assert gitops_commit.web_url(work) == ""
