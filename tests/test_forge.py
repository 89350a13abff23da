from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import remotes
from github import BOT, GitHub, Reply
from slipway import forge, git
from slipway.rest import Denied, Rest


@pytest.fixture
def api(github: GitHub) -> Iterator[Rest]:
    with Rest(github.url, github.repository, github.token, attempts=2, timeout_seconds=0.5) as client:
        yield client


def test_pull_requests_are_found_by_branch_in_forks_too(github: GitHub, api: Rest):
    github.pull(8, fork="mallory/flights", branch="topic")
    github.pull(9, state="closed")
    assert [pull["number"] for pull in forge.pulls(api, "mallory:topic")] == [8]
    assert [pull["number"] for pull in forge.pulls(api, "octo:topic")] == [7]
    assert forge.pulls(api, "octo:other") == []


@pytest.mark.parametrize("branch", ["a/b", "a#b", "a&state=closed", "a%2e%2e", "$(id)", "`id`", "é", "a+b", "a?b"])
def test_a_branch_name_arrives_as_it_is(github: GitHub, api: Rest, branch: str):
    github.pull(8, branch=branch)
    assert [pull["number"] for pull in forge.pulls(api, f"octo:{branch}")] == [8]
    assert github.log[-1].query == {"per_page": "100", "state": "open", "head": f"octo:{branch}"}


def test_a_pull_request_says_its_head(github: GitHub, api: Rest):
    assert forge.pull(api, 7)["head"]["sha"] == "a" * 40
    with pytest.raises(Denied, match="GET /pulls/8: answered 404: Not Found"):
        forge.pull(api, 8)
    assert github.log[-1].line == "GET /repos/octo/flights/pulls/8"


def test_changed_files_are_all_pages_and_old_names(github: GitHub, api: Rest):
    github.pull(7, files=tuple(f"{number}.py" for number in range(150)))
    github.files[7].append({"filename": "new.py", "previous_filename": "old.py", "status": "renamed"})
    assert list(forge.changed(api, 7)) == [*(f"{number}.py" for number in range(150)), "new.py", "old.py"]


def test_a_comment_is_written_edited_and_deleted(github: GitHub, api: Rest):
    made = forge.comment(api, 7, "one")
    assert made["user"]["login"] == BOT
    assert forge.edit(api, made["id"], "two")
    assert github.bodies(7) == ["two"]
    assert forge.delete(api, made["id"])
    assert github.bodies(7) == []
    assert [request.method for request in github.writes] == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_comment_that_is_gone_is_no_error(github: GitHub, api: Rest, status: int):
    github.fail("PATCH|DELETE", status=status, times=2)
    assert not forge.edit(api, 1000, "x")
    assert not forge.delete(api, 1000)


def test_a_comment_of_somebody_else_is_an_error(github: GitHub, api: Rest):
    theirs = github.comment(7, "mine!", author="ada")["id"]
    with pytest.raises(Denied, match="PATCH /issues/comments/1000: answered 403"):
        forge.edit(api, theirs, "x")
    with pytest.raises(Denied, match="DELETE /issues/comments/1000: answered 403"):
        forge.delete(api, theirs)
    assert github.bodies(7) == ["mine!"]


def test_comments_come_lowest_id_first(github: GitHub, api: Rest):
    github.when("GET", lambda _: Reply(200, [{"id": 30}, {"id": 4}, {"id": 5}]))
    assert [row["id"] for row in forge.comments(api, 7)] == [4, 5, 30]


def test_the_newest_artifact_of_a_name_is_taken(github: GitHub, api: Rest):
    for run, name in ((90, "report"), (90, "report"), (90, "other"), (91, "report")):
        github.artifact(run, name, name.encode() + str(len(github.artifacts)).encode())
    found = forge.artifact(api, 90, "report")
    assert found
    assert forge.download(api, found["id"], most=100) == b"report1"
    assert github.log[0].query["name"] == "report"
    assert forge.artifact(api, 92, "report") is None


def test_an_artifact_that_has_expired_is_none(github: GitHub, api: Rest):
    github.artifact(90, "report", b"PK", expired=True)
    assert forge.artifact(api, 90, "report") is None
    assert forge.download(api, 500, most=100) is None
    assert forge.download(api, 501, most=100) is None
    github.fail("/zip", status=403, message="no")
    with pytest.raises(Denied, match="403: no"):
        forge.download(api, 500, most=100)


# Branches and commits


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return remotes.remote(tmp_path)[0]


@pytest.fixture
def real(remote: Path) -> Iterator[tuple[GitHub, Rest]]:
    """A GitHub with a repository, and its API."""
    with (
        GitHub(remote=remote) as server,
        Rest(server.url, server.repository, server.token, attempts=2, timeout_seconds=5) as client,
    ):
        yield server, client


def test_a_commit_is_made_without_a_clone(remote: Path, real: tuple[GitHub, Rest]):
    _, api = real
    tip = git.commit("main", root=remote)
    made = forge.commit(api, tip, {"a b/é.txt": "one\r\ntwo", ".gitignore": ""}, "Say it\n\nBecause.\n")
    assert made == forge.committed(api, made["sha"])
    assert made["verification"]["verified"] is True
    assert git.output("diff", "--name-only", "-z", tip, made["sha"], root=remote).split("\0")[:2] == [
        ".gitignore",
        "a b/é.txt",
    ]
    assert git.output("cat-file", "-s", f"{made['sha']}:a b/é.txt", root=remote) == "8"
    assert git.commit(f"{made['sha']}^", root=remote) == tip
    assert git.output("log", "-1", "--format=%B", made["sha"], root=remote) == "Say it\n\nBecause."


def test_a_branch_is_made_then_moved(remote: Path, real: tuple[GitHub, Rest]):
    server, api = real
    tip = git.commit("main", root=remote)
    assert forge.branch(api, "bump/a") is None
    forge.point(api, "bump/a", tip)
    forge.point(api, "bump/a", tip)
    made = [forge.commit(api, tip, {"a": text}, "x")["sha"] for text in "bc"]
    for sha in made:
        forge.point(api, "bump/a", sha)
    assert forge.branch(api, "bump/a") == git.commit("bump/a", root=remote) == made[-1]
    refs = [request.method for request in server.writes if "/git/refs" in request.path]
    assert refs == ["POST", "PATCH", "PATCH"]


def test_what_the_forge_does_not_know_is_an_error(real: tuple[GitHub, Rest]):
    server, api = real
    with pytest.raises(Denied, match=r"GET /git/commits/0{40}: answered 404"):
        forge.commit(api, "0" * 40, {"a": ""}, "x")
    with pytest.raises(Denied, match="answered 422: Object does not exist"):
        forge.point(api, "bump/a", "0" * 40)
    server.fail("GET .*/git/ref/", status=403, message="no")
    with pytest.raises(Denied, match="answered 403: no"):
        forge.branch(api, "main")


def test_a_pull_request_is_opened_revised_and_listed(remote: Path, real: tuple[GitHub, Rest]):
    _, api = real
    forge.point(api, "topic", forge.commit(api, git.commit("main", root=remote), {"a": ""}, "x")["sha"])
    made = forge.propose(api, "topic", "main", "A title", "A body")
    assert (made["number"], made["user"]["login"], made["body"]) == (1, BOT, "A body")
    with pytest.raises(Denied, match=r"422: Validation Failed; A pull request already exists for octo:topic\."):
        forge.propose(api, "topic", "main", "A title", "A body")
    with pytest.raises(Denied, match="422: Validation Failed; head invalid"):
        forge.propose(api, "nowhere", "main", "A title", "A body")
    assert [row["number"] for row in forge.open_pulls(api, "main")] == [1]
    assert forge.open_pulls(api, "other") == []
    assert forge.revise(api, 1, state="closed")["state"] == "closed"
    assert forge.open_pulls(api, "main") == []
