from __future__ import annotations

from collections.abc import Iterator

import pytest

from github import BOT, GitHub, Reply
from slipway import forge
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
