from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.core import git
from slipway.github import api
from slipway.github.client import GitHubClient, GitHubError
from support import remote_repository
from support.fake_github import BOT, GitHub, Reply


@pytest.fixture
def client(github: GitHub) -> Iterator[GitHubClient]:
    with GitHubClient(github.url, github.repository, github.token, attempts=2, timeout_seconds=0.5) as client:
        yield client


def test_pull_requests_are_found_by_branch_in_forks_too(github: GitHub, client: GitHubClient):
    github.pull(8, fork="mallory/flights", branch="topic")
    github.pull(9, state="closed")
    assert [pull["number"] for pull in api.open_pulls_from(client, "mallory:topic")] == [8]
    assert [pull["number"] for pull in api.open_pulls_from(client, "octo:topic")] == [7]
    assert api.open_pulls_from(client, "octo:other") == []


@pytest.mark.parametrize("branch", ["a/b", "a#b", "a&state=closed", "a%2e%2e", "$(id)", "`id`", "é", "a+b", "a?b"])
def test_a_branch_name_arrives_as_it_is(github: GitHub, client: GitHubClient, branch: str):
    github.pull(8, branch=branch)
    assert [pull["number"] for pull in api.open_pulls_from(client, f"octo:{branch}")] == [8]
    assert github.log[-1].query == {"per_page": "100", "state": "open", "head": f"octo:{branch}"}


def test_a_pull_request_says_its_head(github: GitHub, client: GitHubClient):
    assert api.get_pull(client, 7)["head"]["sha"] == "a" * 40
    with pytest.raises(GitHubError, match="GET /pulls/8: GitHub returned 404: Not Found"):
        api.get_pull(client, 8)
    assert github.log[-1].line == "GET /repos/octo/flights/pulls/8"


def test_changed_files_are_all_pages_and_old_names(github: GitHub, client: GitHubClient):
    github.pull(7, files=tuple(f"{number}.py" for number in range(150)))
    github.files[7].append({"filename": "new.py", "previous_filename": "old.py", "status": "renamed"})
    assert list(api.changed_paths(client, 7)) == [*(f"{number}.py" for number in range(150)), "new.py", "old.py"]


def test_a_comment_is_written_edited_and_deleted(github: GitHub, client: GitHubClient):
    made = api.create_comment(client, 7, "one")
    assert made["user"]["login"] == BOT
    assert api.edit_comment(client, made["id"], "two")
    assert github.bodies(7) == ["two"]
    assert api.delete_comment(client, made["id"])
    assert github.bodies(7) == []
    assert [request.method for request in github.writes] == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_comment_that_is_gone_is_no_error(github: GitHub, client: GitHubClient, status: int):
    github.fail("PATCH|DELETE", status=status, times=2)
    assert not api.edit_comment(client, 1000, "x")
    assert not api.delete_comment(client, 1000)


def test_a_comment_of_somebody_else_is_an_error(github: GitHub, client: GitHubClient):
    theirs = github.comment(7, "mine!", author="ada")["id"]
    with pytest.raises(GitHubError, match="PATCH /issues/comments/1000: GitHub returned 403"):
        api.edit_comment(client, theirs, "x")
    with pytest.raises(GitHubError, match="DELETE /issues/comments/1000: GitHub returned 403"):
        api.delete_comment(client, theirs)
    assert github.bodies(7) == ["mine!"]


def test_comments_come_lowest_id_first(github: GitHub, client: GitHubClient):
    github.when("GET", lambda _: Reply(200, [{"id": 30}, {"id": 4}, {"id": 5}]))
    assert [row["id"] for row in api.comments(client, 7)] == [4, 5, 30]


def test_the_newest_artifact_of_a_name_is_taken(github: GitHub, client: GitHubClient):
    for run, name in ((90, "report"), (90, "report"), (90, "other"), (91, "report")):
        github.artifact(run, name, name.encode() + str(len(github.artifacts)).encode())
    found = api.newest_artifact(client, 90, "report")
    assert found
    assert api.download_artifact(client, found["id"], max_bytes=100) == b"report1"
    assert github.log[0].query["name"] == "report"
    assert api.newest_artifact(client, 92, "report") is None


def test_an_artifact_that_has_expired_is_none(github: GitHub, client: GitHubClient):
    github.artifact(90, "report", b"PK", expired=True)
    assert api.newest_artifact(client, 90, "report") is None
    assert api.download_artifact(client, 500, max_bytes=100) is None
    assert api.download_artifact(client, 501, max_bytes=100) is None
    github.fail("/zip", status=403, message="no")
    with pytest.raises(GitHubError, match="403: no"):
        api.download_artifact(client, 500, max_bytes=100)


# Branches and commits


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return remote_repository.remote(tmp_path)[0]


@pytest.fixture
def real(remote: Path) -> Iterator[tuple[GitHub, GitHubClient]]:
    """A GitHub with a repository, and its API."""
    with (
        GitHub(remote=remote) as server,
        GitHubClient(server.url, server.repository, server.token, attempts=2, timeout_seconds=5) as client,
    ):
        yield server, client


def test_a_commit_is_made_without_a_clone(remote: Path, real: tuple[GitHub, GitHubClient]):
    _, client = real
    tip = git.commit_hash("main", root=remote)
    made = api.create_commit(client, tip, {"a b/é.txt": "one\r\ntwo", ".gitignore": ""}, "Say it\n\nBecause.\n")
    assert made == api.get_commit(client, made["sha"])
    assert made["verification"]["verified"] is True
    assert git.run("diff", "--name-only", "-z", tip, made["sha"], root=remote).split("\0")[:2] == [
        ".gitignore",
        "a b/é.txt",
    ]
    assert git.run("cat-file", "-s", f"{made['sha']}:a b/é.txt", root=remote) == "8"
    assert git.commit_hash(f"{made['sha']}^", root=remote) == tip
    assert git.run("log", "-1", "--format=%B", made["sha"], root=remote) == "Say it\n\nBecause."


def test_a_branch_is_made_then_moved(remote: Path, real: tuple[GitHub, GitHubClient]):
    server, client = real
    tip = git.commit_hash("main", root=remote)
    assert api.branch_commit(client, "bump/a") is None
    api.set_branch(client, "bump/a", tip)
    api.set_branch(client, "bump/a", tip)
    made = [api.create_commit(client, tip, {"a": text}, "x")["sha"] for text in "bc"]
    for sha in made:
        api.set_branch(client, "bump/a", sha)
    assert api.branch_commit(client, "bump/a") == git.commit_hash("bump/a", root=remote) == made[-1]
    refs = [request.method for request in server.writes if "/git/refs" in request.path]
    assert refs == ["POST", "PATCH", "PATCH"]


def test_what_the_forge_does_not_know_is_an_error(real: tuple[GitHub, GitHubClient]):
    server, client = real
    with pytest.raises(GitHubError, match=r"GET /git/commits/0{40}: GitHub returned 404"):
        api.create_commit(client, "0" * 40, {"a": ""}, "x")
    with pytest.raises(GitHubError, match="GitHub returned 422: Object does not exist"):
        api.set_branch(client, "bump/a", "0" * 40)
    server.fail("GET .*/git/ref/", status=403, message="no")
    with pytest.raises(GitHubError, match="GitHub returned 403: no"):
        api.branch_commit(client, "main")


def test_a_pull_request_is_opened_revised_and_listed(remote: Path, real: tuple[GitHub, GitHubClient]):
    _, client = real
    api.set_branch(
        client, "topic", api.create_commit(client, git.commit_hash("main", root=remote), {"a": ""}, "x")["sha"]
    )
    made = api.open_pull(client, "topic", "main", "A title", "A body")
    assert (made["number"], made["user"]["login"], made["body"]) == (1, BOT, "A body")
    with pytest.raises(GitHubError, match=r"422: Validation Failed; A pull request already exists for octo:topic\."):
        api.open_pull(client, "topic", "main", "A title", "A body")
    with pytest.raises(GitHubError, match="422: Validation Failed; head invalid"):
        api.open_pull(client, "nowhere", "main", "A title", "A body")
    assert [row["number"] for row in api.open_pulls_into(client, "main")] == [1]
    assert api.open_pulls_into(client, "other") == []
    assert api.update_pull(client, 1, state="closed")["state"] == "closed"
    assert api.open_pulls_into(client, "main") == []
