"""release.yml, run for a push to main: a real Git remote, a registry that speaks its protocol, GitHub's API beside it.

One scratch project, and a story: what a test needs of an earlier run is a fixture. About half a minute for a run.
"""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest

from slipway.cluster import kustomization
from slipway.core import git, ledger
from support import fake_registry
from support.act_runner import REPOSITORY, ROOT, Project, Ran, copied
from support.fake_github import GitHub

pytestmark = pytest.mark.act
WHOLE = {"due": "success", "release": "success"}
PUBLISHED = {**WHOLE, "pages": "success"}
SKIPPED = {"due": "success", "release": "skipped"}
GATE = "k8s/components/gate/kustomization.yaml"
PIN = "k8s/overlays/staging/kustomization.yaml"


@dataclass(frozen=True)
class Stage:
    """The scratch project, its GitHub and its registry."""

    project: Project
    github: GitHub
    registry: fake_registry.Registry

    @property
    def tip(self) -> str:
        return git.commit_hash("main", root=self.project.remote)

    def push(self, title: str) -> str:
        """The developer's commit on main, on top of what machines wrote there."""
        sha = self.project.commit(title)
        self.project.git("push", "-q", "origin", "HEAD:main")
        return sha

    def update(self) -> None:
        self.project.git("checkout", "-q", "-f", "main")
        self.project.git("pull", "-q", "--ff-only", "origin", "main")

    def run(self, variables: Mapping[str, str] | None = None, **env: str) -> Ran:
        """Run the workflow that GitHub starts for the push of main's tip, with the repository's variables."""
        owner, name = REPOSITORY.split("/")
        about = {"full_name": REPOSITORY, "name": name, "owner": {"login": owner}, "default_branch": "main",
                 "is_template": False, "visibility": "public"}  # fmt: skip
        payload = {"ref": "refs/heads/main", "before": "0" * 40, "after": self.tip, "repository": about}
        given = {"GITHUB_API_URL": self.github.url, "BUILD_IMAGE": str(self.project.folder / "builder"),
                 "GIT_CONFIG_GLOBAL": "/dev/null", **env}  # fmt: skip
        return self.project.run(
            "push", payload, at="main", token=self.github.token, workflow="release", variables=variables, **given
        )

    def open(self, prefix: str) -> tuple[int, str]:
        """The one open pull request whose branch begins so: its number and its branch."""
        pulls = [pull for pull in self.github.pulls.values() if pull["state"] == "open"]
        (found,) = [pull for pull in pulls if pull["head"]["ref"].startswith(prefix)]
        return found["number"], found["head"]["ref"]

    def lines(self) -> list[ledger.Line]:
        return ledger.read_at("staging", "main", self.project.remote)

    def pinned(self, revision: str = "main") -> kustomization.PinnedImage:
        found = kustomization.pinned_at("staging", revision, self.project.remote)
        assert found
        return found


@pytest.fixture(scope="module")
def stage(acted: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = copied(acted, tmp_path_factory.mktemp("act"))
    with fake_registry.Registry() as registry, GitHub(REPOSITORY, remote=made.remote) as github:
        builder = made.folder / "builder"
        builder.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/tests/machinery/support/fake_image_builder.py" "$@"\n'
        )
        builder.chmod(0o755)
        for name in (PIN, GATE):
            made.edit(name, "localhost:5000/flights", f"{registry.address}/bikes")
        shutil.copy(ROOT / "Dockerfile", made.work / "Dockerfile")
        shutil.copytree(made.work / ".dvc/cache", made.folder / "cache/dvc/content")  # as main's checks leave it
        made.git("checkout", "-q", "main")
        stage = Stage(made, github, registry)
        stage.push("Deliver it (#7)")
        yield stage


@pytest.fixture(scope="module")
def first(stage: Stage) -> tuple[str, Ran]:
    """The source commit, and its run."""
    source = stage.tip
    return source, stage.run({"PAGES": "true"})


@pytest.fixture(scope="module")
def again(stage: Stage, first: tuple[str, Ran]) -> tuple[str, Ran]:
    """The tip that the first run pushed, and the run that this push starts."""
    assert first[1].results == PUBLISHED
    return stage.tip, stage.run()


def lines(ran: Ran, *words: str) -> list[str]:
    return [line for line in ran.log if line.startswith(" ".join(words))]


def test_push_to_main_is_built_and_bumped(stage: Stage, first: tuple[str, Ran], again: tuple[str, Ran]) -> None:
    source, ran = first
    assert ran.results == PUBLISHED, ran.said[-4000:]
    bump, _ = again
    assert git.commit_hash(f"{bump}~2", root=stage.project.remote) == source
    rows = git.run("diff", "--numstat", f"{bump}^", bump, root=stage.project.remote).splitlines()
    assert rows == [f"1\t1\t{PIN}", "1\t0\treleases/staging.jsonl"]
    (line,) = ledger.read_at("staging", bump, stage.project.remote)
    assert (line.commit, line.pull_request, line.action) == (source, 7, "release")
    assert line.image == stage.pinned(bump).image
    assert set(line.verdicts.values()) == {"pass"}
    assert git.run("log", "-1", "--format=%an", bump, root=stage.project.remote) == "github-actions[bot]"


def test_the_image_is_in_the_registry_and_says_what_it_is(stage: Stage, first: tuple[str, Ran]) -> None:
    line = stage.lines()[0]
    _, raw = stage.registry.manifests["bikes", stage.pinned(f"{stage.tip}").digest]
    config = json.loads(stage.registry.blobs[json.loads(raw)["config"]["digest"]])
    labels = config["config"]["Labels"]
    assert labels["org.opencontainers.image.revision"] == first[0] == line.commit
    assert (labels["slipway.bento_sha256"], labels["slipway.model_sha256"]) == (line.bento_sha256, line.model_sha256)


def test_the_gate_is_pinned_by_a_commit_of_its_own(
    stage: Stage, first: tuple[str, Ran], again: tuple[str, Ran]
) -> None:
    remote, pin = stage.project.remote, f"{again[0]}^"
    assert git.run("diff", "--numstat", first[0], pin, root=remote).splitlines() == [f"1\t1\t{GATE}"]
    pinned = kustomization.read(str(git.file_at(pin, GATE, root=remote)), "gate")
    assert ("bikes-gate", pinned.digest) in stage.registry.manifests


def test_bill_of_materials_is_kept_and_the_digest_attested(stage: Stage, first: tuple[str, Ran]) -> None:
    _, ran = first
    with zipfile.ZipFile(ran.folder / "artifacts/release.zip") as zipped:
        assert set(zipped.namelist()) == {"sbom.json", "image.json", "report.html"}
        assert json.loads(zipped.read("sbom.json"))["bomFormat"] == "CycloneDX"
        assert json.loads(zipped.read("image.json"))["image"] == stage.lines()[0].image
    name, _, digest = str(stage.lines()[0].image).partition("@sha256:")
    assert lines(ran, "release attest") == [f"release attest {digest}  {name}"]


def test_the_status_page_is_published_where_enabled(
    stage: Stage, first: tuple[str, Ran], again: tuple[str, Ran]
) -> None:
    _, ran = first
    page = (ran.folder / "artifacts/site/index.html").read_text("utf-8")
    assert f"From commit <code>{again[0][:12]}</code>" in page, "the release's own commit is on the page"
    assert stage.lines()[0].bento in page
    assert lines(ran, "pages")[-2:] == ["pages artifact github-pages", "pages published"]
    assert not lines(again[1], "pages"), "the variable is not set"


def test_the_bumps_own_push_builds_nothing(stage: Stage, again: tuple[str, Ran]) -> None:
    tip, ran = again
    assert ran.results in (SKIPPED, {"due": "success"}), ran.said[-4000:]
    assert "nothing to release" in ran.summary
    assert git.commit_hash(f"{tip}", root=stage.project.remote) == tip
    assert not lines(ran, "release")


@pytest.fixture(scope="module")
def proposed(stage: Stage, again: tuple[str, Ran]) -> tuple[str, Ran]:
    """main is protected by now, so bumps are proposed; and another recipe is merged."""
    assert again
    stage.update()
    stage.project.edit("Dockerfile", "# The", "# A later recipe. The")
    stage.project.edit("params.yaml", "mode: direct", "mode: pull-request")
    source = stage.push("Protect main (#9)")
    return source, stage.run()


def test_on_a_protected_main_it_is_one_pull_request(stage: Stage, proposed: tuple[str, Ran]) -> None:
    source, ran = proposed
    assert ran.results == WHOLE, ran.said[-4000:]
    assert stage.tip == source
    number, branch = stage.open("bump/staging-")
    assert stage.open("bump/gate-"), "another recipe is another gate too"
    assert git.commit_hash(f"{branch}^", root=stage.project.remote) == source
    released = ledger.read_at("staging", branch, stage.project.remote)
    assert [line.pull_request for line in released] == [7, 9]
    assert released[-1].supersedes == released[0].image
    assert stage.pinned(branch).image == released[-1].image
    assert f"pull request #{number} is open. GitHub signed its commit. Its checks wait for approval" in ran.said


def test_without_a_registry_it_is_skipped_with_the_reason(stage: Stage, proposed: tuple[str, Ran]) -> None:
    assert proposed
    stage.project.edit(PIN, stage.registry.address, "localhost:5000")
    stage.push("No registry yet")
    ran = stage.run()
    assert ran.results in (SKIPPED, {"due": "success"}), ran.said[-4000:]
    assert f"Set newName in {PIN} to release images" in ran.summary
    assert not lines(ran, "release")
