from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, git, ledger
from slipway.delivery import gitops_commit
from slipway.errors import CheckFailed, SlipwayError
from slipway.github.client import GitHubError, GitHubUnavailable
from support.fake_github import BOT, GitHub
from support.remote_repository import IMAGE, ZERO, advance, clone, maker, of, remote

APP = "slipway-release[bot]"
BRANCH = "bump/staging-111111111111"
FIRST = f"{IMAGE}@sha256:{'1' * 64}"
SECOND = f"{IMAGE}@sha256:{'2' * 64}"


@dataclass
class Site:
    """A clone, its remote, and the GitHub that has the remote."""

    work: Path
    bare: Path
    github: GitHub
    params: config.Params

    def write(self, image: str = FIRST, **changes: object) -> gitops_commit.CommitResult:
        make = maker(1, image=image, **changes)
        return gitops_commit.commit_line(
            "staging", make, title="Release it", body="Because.", push=True, params=self.params, root=self.work
        )

    def open(self) -> list[int]:
        return [number for number, pull in self.github.pulls.items() if pull["state"] == "open"]

    def branches(self) -> set[str]:
        return set(git.run("for-each-ref", "--format=%(refname:short)", "refs/heads", root=self.bare).split())


@pytest.fixture
def site(tmp_path: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    bare, work = remote(tmp_path)
    with GitHub(remote=bare, author=APP) as github:
        for name, value in github.environment({}, tmp_path).items():
            monkeypatch.setenv(name, value)
        yield Site(work, bare, github, of(params, "pull-request", attempts=2))


def test_pull_request_holds_one_signed_commit_on_the_tip(site: Site):
    tip = git.commit_hash("main", root=site.bare)
    done = site.write()
    assert done == gitops_commit.CommitResult(
        commit=git.commit_hash(BRANCH, root=site.bare), branch=BRANCH, pull_request=1,
        message="pull request #1 is open. GitHub signed its commit. Its checks start by themselves",
    )  # fmt: skip
    assert git.commit_hash(f"{BRANCH}^", root=site.bare) == tip == git.commit_hash("main", root=site.bare)
    assert git.run("log", "-1", "--format=%B", BRANCH, root=site.bare) == "Release it\n\nBecause."
    assert git.run("diff", "--name-only", "main", BRANCH, root=site.bare).splitlines() == [
        "k8s/overlays/staging/kustomization.yaml", "releases/staging.jsonl",
    ]  # fmt: skip
    pinned = kustomization.pinned_at("staging", BRANCH, site.bare)
    assert pinned
    assert pinned.image == FIRST
    pull = site.github.pulls[1]
    assert (pull["title"], pull["body"], pull["base"]["ref"]) == ("Release it", "Because.", "main")


def test_text_says_when_nothing_was_signed_and_whom_to_click(site: Site):
    site.github.signs, site.github.author = False, BOT
    said = site.write().message
    assert "Its commit is not signed (unsigned), because GitHub signs only for an App's token." in said
    assert "Its checks wait for approval: open it, click Approve and run workflows, then merge" in said


def test_the_same_bump_again_writes_no_second_commit_and_opens_nothing(site: Site):
    first, before = site.write(), len(site.github.writes)
    again = site.write(at="2026-04-01T00:00:00Z")
    assert (again.commit, again.pull_request) == (first.commit, 1)
    assert [request.line for request in site.github.writes[before:]] == ["PATCH /repos/octo/flights/pulls/1"]


@pytest.mark.parametrize("change", [{"verdicts": {"judge": "fail"}}, {"at": "2026-04-01T00:00:00Z"}])
def test_a_bump_on_a_newer_tip_or_of_another_line_is_made_anew(site: Site, change: dict[str, object]):
    first = site.write()
    tip = (
        git.commit_hash("main", root=site.bare)
        if "verdicts" in change
        else advance(clone(site.bare, site.bare.parent / "c"))
    )
    again = site.write(**change)
    assert again.commit not in (first.commit, None)
    assert again.commit == git.commit_hash(BRANCH, root=site.bare)
    assert git.commit_hash(f"{BRANCH}^", root=site.bare) == tip
    assert again.pull_request == 1
    assert site.github.pulls[1]["head"]["sha"] == again.commit


STEPS = [
    "POST .*/git/trees",
    "POST .*/git/commits",
    "POST .*/git/refs",
    "POST .*/pulls$",
    "GET .*/git/ref/",
    "GET .*/pulls",
]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("how", ["fails", "is cut off", "is cut off after it was done"])
def test_nothing_is_lost_or_doubled_when_a_step_breaks(site: Site, step: str, how: str):
    if how == "fails":
        site.github.fail(step, times=2)
    else:
        site.github.cut(step, times=2, applied=how.endswith("done"))
    try:
        done = site.write()
    except GitHubUnavailable:
        done = site.write()
    assert (done.pull_request, site.open()) == (1, [1])
    assert site.branches() == {"main", BRANCH}
    assert git.commit_hash(BRANCH, root=site.bare) == done.commit == site.github.pulls[1]["head"]["sha"]
    assert len(ledger.read_at("staging", BRANCH, site.bare)) == 1


def test_an_error_of_the_forge_is_not_swallowed(site: Site):
    site.github.fail("POST .*/pulls$", status=422, times=9, message="Validation Failed")
    with pytest.raises(GitHubError, match="POST /pulls: GitHub returned 422: Validation Failed"):
        site.write()
    site.github.fail("POST .*/git/refs", status=409, times=9, message="Git Repository is empty.")
    git.run("update-ref", "-d", f"refs/heads/{BRANCH}", root=site.bare)
    with pytest.raises(GitHubError, match="POST /git/refs: GitHub returned 409"):
        site.write()


def test_without_the_right_to_open_pull_requests_the_setting_is_named(site: Site):
    said = "GitHub Actions is not permitted to create or approve pull requests."
    site.github.fail("POST .*/pulls$", status=403, message=said)
    with pytest.raises(
        CheckFailed,
        match=f"{BRANCH} was pushed, but GitHub does not let this token open its pull request: .*not permitted",
    ) as error:
        site.write()
    assert "Allow GitHub Actions to create and approve pull requests" in error.value.hint
    assert site.branches() == {"main", BRANCH}
    assert site.write().pull_request == 1


def test_a_newer_bump_closes_the_older(site: Site):
    site.github.pull(1, branch="bump/production-000000000000")
    site.github.pull(2, branch="topic")
    site.github.pull(3, branch="bump/staging-000000000000", fork="mallory/flights")
    first = site.write()
    advance(clone(site.bare, site.bare.parent / "c"))
    second = site.write(SECOND)
    assert (first.pull_request, second.pull_request) == (4, 5)
    assert site.open() == [1, 2, 3, 5]
    assert second.message.startswith("pull request #5 is open, closed #4. ")


def test_an_older_bump_is_refused_beside_a_newer_one(site: Site):
    old = git.commit_hash("main", root=site.bare)
    new = advance(clone(site.bare, site.bare.parent / "c"))
    site.write(SECOND, commit=new)
    with pytest.raises(
        CheckFailed, match=f"#1 already proposes bikes:1 of commit {new[:12]}, which is newer than {old[:12]}"
    ):
        site.write(FIRST, commit=old)
    assert (site.open(), site.branches()) == ([1], {"main", "bump/staging-222222222222"})


def test_a_rollback_stands_above_a_newer_bump(site: Site):
    old = git.commit_hash("main", root=site.bare)
    site.write(SECOND, commit=advance(clone(site.bare, site.bare.parent / "c")))
    assert site.write(FIRST, commit=old, action="rollback").pull_request == 2
    assert site.open() == [2]


def test_an_older_bump_whose_branch_is_gone_is_closed(site: Site):
    site.write()
    git.run("update-ref", "-d", f"refs/heads/{BRANCH}", root=site.bare)
    assert site.write(SECOND).pull_request == 2
    assert site.open() == [2]


def test_token_stays_out_of_every_message(site: Site):
    site.github.token = "ghs_another"
    with pytest.raises(SlipwayError) as error:
        site.write()
    assert "GitHub returned 401" in str(error.value)
    assert "s3cret" not in f"{error.value} {error.value.hint}"


def test_a_pin_is_proposed_once_and_a_newer_one_closes_it(site: Site):
    file = Path("k8s/components/gate/kustomization.yaml")
    (site.work / file).parent.mkdir(parents=True)
    (site.work / file).write_text(f"images: [{{name: gate, newName: {IMAGE}-gate, digest: {ZERO}}}]\n")
    advance(site.work)
    asked = {"title": "Pin it", "push": True, "params": site.params, "root": site.work}
    one, same, two = (gitops_commit.pin_image(file, "gate", f"sha256:{digit * 64}", **asked) for digit in "112")
    assert (one.branch, one.pull_request) == ("bump/gate-111111111111", 1)
    assert (same.commit, same.pull_request) == (one.commit, 1)
    assert two.message.startswith("pull request #2 is open, closed #1. ")
    assert site.open() == [2]
