"""The workflows, run: each event that GitHub would send goes through act, and what reached GitHub's API is read there.

One scratch project for all; what a test needs of an earlier run is a fixture, so each runs alone too. About half a
minute for a run that trains. act ignores permissions, concurrency and time-outs: template/test_workflows.py reads those.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.act_runner import REPOSITORY, Project, Ran, copied
from support.fake_github import GitHub

pytestmark = pytest.mark.act
ALL = dict.fromkeys(("changes", "check", "project", "test", "model", "ok"), "success")
HOSTILE = "x$(touch${IFS}pwned)`touch${IFS}pwned`;touch${IFS}pwned;::set-output"
TITLE = "$(touch pwned)`touch pwned`\n::set-output name=code::false\n</details><script>alert(1)</script> @everyone"


@dataclass(frozen=True)
class Stage:
    """The scratch project and its GitHub."""

    project: Project
    github: GitHub

    def push(self) -> Ran:
        tip = self.project.git("rev-parse", "main")
        payload = {"ref": "refs/heads/main", "before": "0" * 40, "after": tip, "forced": False, **self.about()}
        return self.project.run("push", payload | {"head_commit": {"id": tip, "message": TITLE}}, at="main")

    def check(
        self, number: int, *, branch: str, inline: bool = False, meanwhile: str = "", **pull: Any
    ) -> tuple[Any, Ran]:
        """The developer's branch as a pull request: its checks, before which main may have moved."""
        head = self.project.git("rev-parse", "HEAD")
        files = self.project.git("diff", "--name-only", "main", "HEAD").split("\n")
        made = self.github.pull(number, sha=head, branch=branch, files=tuple(files), **pull)
        merged = self.project.propose(number)
        if meanwhile:
            self.project.advance(meanwhile)
        payload = {"action": "synchronize", "number": number, "pull_request": made, **self.about()}
        ran = self.project.run("pull_request", payload, at=merged, inline=inline)
        if ran.artifact:
            self.github.artifact(900 + number, "report", ran.artifact)
        return made, ran

    def comment(self, pull: Any, *, conclusion: str = "success", event: str = "pull_request") -> Ran:
        """Run the workflow that GitHub starts when the checks of a pull request have ended."""
        payload = self.github.event(pull, run=900 + pull["number"], conclusion=conclusion, event=event)
        address = {"GITHUB_API_URL": self.github.url}
        return self.project.run("workflow_run", payload, at="main", token=self.github.token, **address)

    def about(self) -> dict[str, Any]:
        owner, name = REPOSITORY.split("/")
        repository = {"full_name": REPOSITORY, "name": name, "owner": {"login": owner}, "default_branch": "main"}
        return {"repository": repository, "sender": {"login": "ada"}}


@pytest.fixture(scope="module")
def stage(acted: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with GitHub(REPOSITORY) as github:
        yield Stage(copied(acted, tmp_path_factory.mktemp("act")), github)


@pytest.fixture(scope="module")
def main(stage: Stage) -> Ran:
    """main was pushed."""
    return stage.push()


@pytest.fixture(scope="module")
def better(stage: Stage, main: Ran) -> tuple[Any, Ran]:
    """A pull request from a branch that trains on two more weeks."""
    assert main
    stage.project.branch("more")
    stage.project.edit("params.yaml", 'until: "2021-06-14"', 'until: "2021-06-28"')
    stage.project.make("repro")
    stage.project.commit("Train on two more weeks")
    return stage.check(1, branch="more", title="Train on two more weeks")


@pytest.fixture(scope="module")
def forked(stage: Stage, main: Ran) -> tuple[Any, Ran]:
    """A pull request from a fork that also changes a workflow; its words are hostile."""
    assert main
    stage.project.branch("theirs")
    with (stage.project.work / "src/bikes/model.py").open("a", encoding="utf-8") as file:
        file.write("\n\n# a remark\n")
    stage.project.edit(".github/workflows/model.yml", "timeout-minutes: 60", "timeout-minutes: 59")
    stage.project.make("repro")
    stage.project.commit(TITLE)
    return stage.check(2, branch=HOSTILE, fork="mallory/bikes", title=TITLE, user="mallory")


@pytest.fixture(scope="module")
def worse(stage: Stage, main: Ran) -> tuple[Any, Ran]:
    """A pull request that trains much faster; another one is merged before it is checked."""
    assert main
    stage.project.branch("faster")
    stage.project.edit("params.yaml", "boosting: {max_iter: 60", "boosting: {max_iter: 6")
    stage.project.make("repro")
    stage.project.commit("Train much faster")
    return stage.check(3, branch="faster", title="Train much faster", inline=True, meanwhile="Another change")


@pytest.fixture(scope="module")
def edited(stage: Stage, main: Ran) -> tuple[Any, Ran]:
    """A pull request that only makes a number look better."""
    assert main
    stage.project.branch("nicer")
    metrics = json.loads((stage.project.work / "reports/metrics.json").read_text("utf-8"))
    stage.project.edit("reports/metrics.json", f'"mae": {metrics["mae"]}', '"mae": 0.5')
    stage.project.commit("Round a number")
    return stage.check(4, branch="nicer", title="Round a number", inline=True)


@pytest.fixture(scope="module")
def prose(stage: Stage, main: Ran) -> tuple[Any, Ran]:
    """A pull request that only explains, begun before the newest commit of main."""
    assert main
    stage.project.branch("words", at="main^")
    stage.project.edit("README.md", "The numbers are", "All numbers of this project are")
    stage.project.commit("Say it better")
    return stage.check(5, branch="words", title="Say it better")


def facts(ran: Ran) -> dict[str, Any]:
    """facts.json of the run's artifact."""
    assert ran.artifact, ran.said[-4000:]
    with zipfile.ZipFile(io.BytesIO(ran.artifact)) as zipped:
        assert set(zipped.namelist()) == {"facts.json", "report.md", "report.html", "data.html"}
        return json.loads(zipped.read("facts.json"))


def lines(ran: Ran, *words: str) -> list[str]:
    """Lines of the stubs' log that begin with these words."""
    return [line for line in ran.log if line.startswith(" ".join(words))]


def untouched(stage: Stage, ran: Ran) -> None:
    assert not list(ran.folder.rglob("*pwned*"))
    assert not list(stage.project.remote.rglob("*pwned*"))
    assert not Path("pwned").exists()


def test_push_to_main_checks_all_and_saves_the_cache(main: Ran) -> None:
    assert main.results == ALL, main.said[-4000:]
    assert lines(main, "model restore .dvc/cache") == ["model restore .dvc/cache nothing"]
    assert len(lines(main, "model save .dvc/cache dvc-")) == 1
    assert facts(main)
    assert main.summary.startswith("## ✅ ")


def test_better_model_from_a_branch_is_green(better: tuple[Any, Ran]) -> None:
    _, ran = better
    assert ran.results == ALL, ran.said[-4000:]
    assert lines(ran, "model restore .dvc/cache dvc-"), "what main saved is there"
    assert not [line for line in ran.log if " save " in line], "a pull request saves nothing"
    assert "Not worse than production" in ran.summary


def test_the_merge_commit_is_what_runs(stage: Stage, better: tuple[Any, Ran]) -> None:
    pull, ran = better
    merged = stage.project.git("ls-remote", "origin", f"refs/pull/{pull['number']}/merge").split()[0]
    assert {line.split()[1] for line in ran.log if len(line.split()) == 2} == {merged}
    assert merged != pull["head"]["sha"]


def test_its_comment_arrives_with_the_verdict(stage: Stage, better: tuple[Any, Ran]) -> None:
    pull, ran = better
    said = stage.comment(pull)
    assert said.results == {"comment": "success"}, said.said[-4000:]
    (body,) = stage.github.bodies(1)
    assert ran.summary.splitlines()[0].lstrip("# ") in body
    assert f"Head commit {pull['head']['sha']}" in body
    assert f"make review BASE={stage.project.git('rev-parse', 'main')}" in body
    again = stage.comment(pull)
    assert again.results == {"comment": "success"}
    assert stage.github.bodies(1) == [body]
    assert [r.line for r in stage.github.writes if "/1/" in r.path] == [f"POST /repos/{REPOSITORY}/issues/1/comments"]


def test_comment_runs_main_and_only_main(stage: Stage, better: tuple[Any, Ran]) -> None:
    ran = stage.comment(better[0])
    assert lines(ran, "comment") == [
        f"comment {stage.project.git('rev-parse', 'main')}",
        *lines(ran, "comment restore"),
    ]


def test_fork_is_checked_like_any_other(stage: Stage, forked: tuple[Any, Ran]) -> None:
    _, ran = forked
    assert ran.results == ALL, ran.said[-4000:]
    untouched(stage, ran)


def test_comment_on_a_fork_warns_of_its_workflows(stage: Stage, forked: tuple[Any, Ran]) -> None:
    pull, _ = forked
    before = len(stage.github.log)
    ran = stage.comment(pull)
    assert ran.results == {"comment": "success"}, ran.said[-4000:]
    (body,) = stage.github.bodies(2)
    assert (
        "[!WARNING]\n> This pull request changes files that decide how it is judged: .github/workflows/model.yml"
        in body
    )
    assert "<script>" not in body
    asked = [request for request in stage.github.log[before:] if request.path.endswith("/pulls")]
    assert {request.query.get("head") for request in asked} == {f"mallory:{HOSTILE}"}
    untouched(stage, ran)


def test_worse_model_is_red_in_ok(worse: tuple[Any, Ran]) -> None:
    _, ran = worse
    assert ran.results == ALL | {"model": "failure", "ok": "failure"}, ran.said[-4000:]
    assert facts(ran), "the report of a red run is kept"


def test_its_comment_says_why(stage: Stage, worse: tuple[Any, Ran]) -> None:
    pull, ran = worse
    assert stage.comment(pull, conclusion="failure").results == {"comment": "success"}
    (body,) = stage.github.bodies(3)
    assert "Refused: worse than production" in body
    base = stage.project.git("log", "-1", "--format=%H", "--grep=^Release it", "main")
    assert f"make review BASE={base}" in body, "the base that was merged with, not what main is by now"
    assert ran.summary.splitlines()[0].lstrip("# ") in body


def test_metric_edited_by_hand_is_red_in_ok(stage: Stage, edited: tuple[Any, Ran]) -> None:
    pull, ran = edited
    assert ran.results == ALL | {"model": "failure", "ok": "failure"}, ran.said[-4000:]
    assert "make repro" in ran.summary
    assert stage.comment(pull, conclusion="failure").results == {"comment": "success"}
    (body,) = stage.github.bodies(4)
    assert "reports/metrics.json differs from the pipeline: mae is 0.5" in body
    assert "make repro" in body


def test_prose_is_green_without_training(prose: tuple[Any, Ran]) -> None:
    _, ran = prose
    assert ran.results == dict.fromkeys(("changes", "check", "ok"), "success"), ran.said[-4000:]
    assert ran.artifact is None
    assert {line.split()[0] for line in ran.log} == {"changes", "check", "ok"}
    assert ran.seconds < 45


def test_prose_gets_no_comment(stage: Stage, prose: tuple[Any, Ran]) -> None:
    assert stage.comment(prose[0]).results == {"comment": "success"}
    assert stage.github.bodies(5) == []


def test_run_of_a_push_gets_no_comment(stage: Stage, better: tuple[Any, Ran]) -> None:
    before = len(stage.github.log)
    ran = stage.comment(better[0], event="push")
    assert ran.results in ({}, {"comment": "skipped"})
    assert ran.log == []
    assert len(stage.github.log) == before
