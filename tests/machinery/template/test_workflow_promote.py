"""promote.yml, run: staging's gate speaks, a person asks, a canary is aborted; a real Git remote, GitHub's API beside it.

One scratch project, and a story: what a test needs of an earlier run is a fixture. About fifteen seconds for a run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from slipway.cluster import kustomization
from slipway.core import git, ledger
from support import release_repository
from support.act_runner import REPOSITORY, Project, Ran, copied
from support.fake_github import GitHub

pytestmark = pytest.mark.act
DONE, SKIPPED = {"promote": "success"}, {"promote": "skipped"}
HOSTILE = 'slow"; $(touch pwned) `touch pwned` ${{ github.token }} <b> @everyone'


@dataclass(frozen=True)
class Stage:
    """The scratch project and its GitHub."""

    project: Project
    github: GitHub

    def about(self, sender: str = "ada") -> dict[str, Any]:
        owner, name = REPOSITORY.split("/")
        repository = {"full_name": REPOSITORY, "name": name, "owner": {"login": owner}, "default_branch": "main",
                      "is_template": False}  # fmt: skip
        return {"repository": repository, "sender": {"login": sender}}

    def hear(self, sha: str, *, state: str = "success", context: str = "slipway/staging",
             sender: str = "slipway-argocd") -> Ran:  # fmt: skip
        """A status event, as GitHub sends it, or as somebody forges it."""
        payload = {"id": 7, "sha": sha, "state": state, "context": context, "name": REPOSITORY, **self.about(sender)}
        return self.run("status", payload)

    def ask(self, **inputs: str) -> Ran:
        """Somebody, or a notification, starts the workflow."""
        return self.run("workflow_dispatch", {"inputs": inputs, "ref": "refs/heads/main", **self.about()})

    def run(self, event: str, payload: dict[str, Any]) -> Ran:
        return self.project.run(event, payload, at="main", token=self.github.token, workflow="promote",
                                GITHUB_API_URL=self.github.url)  # fmt: skip

    def release(self, number: int) -> str:
        """Release `number` on staging, pushed; the commit that Argo CD would sync."""
        self.update()
        bump = release_repository.released(self.project.work, number)
        self.project.git("push", "-q", "origin", "main")
        return bump

    def update(self) -> None:
        self.project.git("checkout", "-q", "main")
        self.project.git("pull", "-q", "--ff-only", "origin", "main")

    def unprotect(self) -> None:
        """From now on machines write to main itself."""
        self.update()
        self.project.edit("params.yaml", "mode: pull-request", "mode: direct")
        self.project.commit("Let machines write to main")
        self.project.git("push", "-q", "origin", "main")

    def merge(self, number: int) -> None:
        """The code owners approve a pull request."""
        branch = self.github.pulls[number]["head"]["ref"]
        self.update()
        self.project.git("fetch", "-q", "origin", branch)
        self.project.git("merge", "-q", "--no-ff", "-m", f"Merge pull request #{number} from {branch}", "FETCH_HEAD")
        self.project.git("push", "-q", "origin", "main")
        self.github.pulls[number]["state"] = "closed"

    def production(self, revision: str = "main") -> list[ledger.Line]:
        return ledger.read_at("production", revision, self.project.remote)

    @property
    def open(self) -> list[Any]:
        return [pull for _, pull in sorted(self.github.pulls.items()) if pull["state"] == "open"]


@pytest.fixture(scope="module")
def stage(acted: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A protected main, a registry, and nothing in production that has an image."""
    made = copied(acted, tmp_path_factory.mktemp("act"))
    made.edit("params.yaml", "mode: direct", "mode: pull-request")
    for env in ledger.ENVIRONMENTS:
        made.edit(f"k8s/overlays/{env}/kustomization.yaml", "localhost:5000/flights", release_repository.NAME)
    made.commit("Protect main")
    made.git("push", "-q", "origin", "main")
    with GitHub(REPOSITORY, remote=made.remote) as github:
        yield Stage(made, github)


@pytest.fixture(scope="module")
def first(stage: Stage) -> str:
    """Release 1 is on staging, and nobody has judged it yet."""
    return stage.release(1)


@pytest.fixture(scope="module")
def forged(stage: Stage, first: str) -> Ran:
    """An event that says all the right words; but its status is mallory's, and the honest one is of another digest."""
    stage.github.status(git.commit_hash(f"{first}~2", root=stage.project.remote))
    stage.github.status(first, creator="mallory")
    return stage.hear(first)


@pytest.fixture(scope="module")
def promoted(stage: Stage, first: str, forged: Ran) -> Ran:
    """staging's gate has passed release 1."""
    assert forged
    stage.github.status(first)
    return stage.hear(first)


@pytest.mark.parametrize("bent", [
    {"sender": "mallory"}, {"context": "ci/other"}, {"state": "failure"}, {"state": "pending"},
])  # fmt: skip
def test_other_statuses_start_nothing(stage: Stage, first: str, bent: dict[str, str]) -> None:
    before = len(stage.github.log)
    ran = stage.hear(first, **bent)
    assert ran.results in ({}, SKIPPED)
    assert ran.log == []
    assert len(stage.github.log) == before


def test_a_forged_event_is_red_and_opens_nothing(stage: Stage, forged: Ran) -> None:
    assert forged.results == {"promote": "failure"}, forged.said[-4000:]
    assert (
        "promote: GitHub has no status slipway/staging by slipway-argocd on a commit whose staging overlay"
        in forged.said
    )
    assert [one for one in stage.github.writes if "/pulls" in one.path] == [] or stage.github.pulls


def test_a_pass_opens_the_promotion(stage: Stage, first: str, promoted: Ran) -> None:
    assert promoted.results == DONE, promoted.said[-4000:]
    opened = [one for one in stage.github.writes if one.line == f"POST /repos/{REPOSITORY}/pulls"]
    body = opened[0].body
    assert (body["title"], body["base"]) == ("Promote bikes:1 to production", "main")
    assert body["head"].endswith("bump/production-" + release_repository.digest(1)[7:19])
    assert f"| load | ✅ pass | the commit status, staging at `{first[:12]}`" in body["body"]
    assert "| judge | ✅ pass |" in body["body"]
    assert "spec.template.spec.containers" in body["body"] or "were not compared" in body["body"]
    line = stage.production(body["head"].rpartition(":")[2])[-1]
    assert (line.image, line.action) == (f"{release_repository.NAME}@{release_repository.digest(1)}", "promote")
    assert line.evidence is not None
    assert (line.evidence["commit"], line.evidence["by"]) == (first, "status")
    assert stage.production()[-1].image is None, "main waits for the code owners"


def test_the_same_status_again_opens_no_second_one(stage: Stage, first: str, promoted: Ran) -> None:
    assert promoted
    before = len(stage.github.pulls)
    assert stage.hear(first).results == DONE
    assert len(stage.github.pulls) == before


@pytest.fixture(scope="module")
def checked(stage: Stage, first: str, promoted: Ran) -> dict[str, Ran]:
    """The job `check` of the promotion's pull request: as it is, and when the gate has said no since."""
    assert promoted
    (pull,) = stage.open
    branch, number = pull["head"]["ref"], pull["number"]
    stage.project.git("fetch", "-q", "origin", branch)
    stage.project.branch(branch, at="FETCH_HEAD")
    merged = stage.project.propose(number)
    payload = {"action": "opened", "number": number, "pull_request": pull, **stage.about()}
    found = {}
    for state in ("success", "failure"):
        if state == "failure":
            stage.github.status(first, state)
        found[state] = stage.project.run("pull_request", payload, at=merged, job="check", token=stage.github.token,
                                         GITHUB_API_URL=stage.github.url)  # fmt: skip
    stage.github.statuses.pop()
    return found


def test_policy_is_green_for_an_honest_promotion(checked: dict[str, Ran]) -> None:
    assert checked["success"].results == {"check": "success"}, checked["success"].said[-4000:]
    assert "policy 1 new line in the ledger of production, all rules hold" in checked["success"].said


def test_policy_is_red_once_the_gate_says_no(checked: dict[str, Ran]) -> None:
    assert checked["failure"].results == {"check": "failure"}
    assert "the verdict of staging's load test is fail" in checked["failure"].said


@pytest.fixture(scope="module")
def second(stage: Stage, promoted: Ran) -> str:
    """Release 1 was merged, and main is protected no more; release 2 follows it, started by hand."""
    assert promoted
    stage.merge(stage.open[0]["number"])
    stage.unprotect()
    bump = stage.release(2)
    stage.github.status(bump)
    ran = stage.ask(action="promote")
    assert ran.results == DONE, ran.said[-4000:]
    assert stage.production()[-1].bento == "bikes:1", "production is what a person merges, also where main takes all"
    stage.merge(stage.open[0]["number"])
    return bump


def test_promotion_by_hand_reaches_production(stage: Stage, second: str) -> None:
    assert second
    assert [line.bento for line in stage.production()][-2:] == ["bikes:1", "bikes:2"]


def test_nothing_to_promote_is_green_and_visible(stage: Stage, second: str) -> None:
    ran = stage.hear(second)
    assert ran.results == DONE, ran.said[-4000:]
    assert "nothing to promote" in ran.summary
    assert stage.open == []


@pytest.fixture(scope="module")
def aborted(stage: Stage, second: str) -> Ran:
    """The canary of release 2 was aborted: what argocd/notifications sends."""
    assert second
    return stage.ask(action="rollback", environment="production", reason="the canary was aborted", aborted=HOSTILE,
                     of=f"{release_repository.NAME}@{release_repository.digest(2)}")  # fmt: skip


def test_an_aborted_canary_opens_its_way_back(stage: Stage, aborted: Ran) -> None:
    assert aborted.results == DONE, aborted.said[-4000:]
    pull = max(stage.github.pulls.values(), key=lambda one: one["number"])
    assert pull["title"] == "Roll production back to bikes:1"
    assert "was aborted, so it never became stable." in pull["body"]
    assert "<b>" not in pull["body"]
    assert "@everyone" not in pull["body"]
    assert stage.github.token not in pull["body"]
    line = stage.production(pull["head"]["ref"])[-1]
    assert (line.bento, line.action) == ("bikes:1", "rollback")
    assert (line.evidence or {})["aborted"] == HOSTILE
    held = kustomization.pinned_at("production", pull["head"]["ref"], stage.project.remote)
    assert held is not None
    assert held.digest == release_repository.digest(1)
    assert not list(aborted.folder.rglob("*pwned*"))


@pytest.fixture(scope="module")
def returned(stage: Stage, aborted: Ran) -> bool:
    """The way back was merged."""
    assert aborted
    stage.merge(max(stage.github.pulls))
    return True


def test_the_same_notification_again_does_nothing(stage: Stage, returned: bool) -> None:
    assert returned
    ran = stage.ask(action="rollback", environment="production", reason="again", aborted="metric",
                    of=f"{release_repository.NAME}@{release_repository.digest(2)}")  # fmt: skip
    assert ran.results == DONE, ran.said[-4000:]
    assert "nothing to roll back" in ran.summary
    assert stage.open == []


def test_a_rollback_by_hand_reaches_staging(stage: Stage, returned: bool) -> None:
    assert returned
    ran = stage.ask(action="rollback", environment="staging", reason="it is slow")
    assert ran.results == DONE, ran.said[-4000:]
    line = ledger.read_at("staging", "main", stage.project.remote)[-1]
    assert (line.bento, line.action) == ("bikes:1", "rollback")
    held = kustomization.pinned_at("staging", "main", stage.project.remote)
    assert held is not None
    assert held.image == line.image
    assert stage.open == []
