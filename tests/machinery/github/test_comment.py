from __future__ import annotations

import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from slipway.core import config, environment
from slipway.errors import CheckFailed, ConfigError, DataError
from slipway.github import comment
from slipway.github.client import GitHubError, GitHubUnavailable
from support.fake_github import BOT, TOKEN, GitHub, Reply, Request
from support.hostile_texts import HOSTILE
from support.sample_reports import facts, judged

OLD, NEW = "a" * 40, "b" * 40
PULL = "/repos/octo/flights/pulls/7"
COMMENTS = "/repos/octo/flights/issues/7/comments"
Say = Callable[..., str]


def zipped(text: str | bytes) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("facts.json", text)
    return target.getvalue()


def told(**changes: Any) -> bytes:
    """An artifact with an honest report, but for `changes` of its facts."""
    return zipped(json.dumps(facts(**changes).record()))


def marker(head: str = OLD, run: int = 90, attempt: int = 1) -> str:
    return f"<!-- slipway:report head={head} run={run} attempt={attempt} -->"


@pytest.fixture
def github() -> Iterator[GitHub]:
    """Pull request 7 from a fork, at commit OLD."""
    with GitHub() as server:
        server.pull(7, sha=OLD, fork="mallory/flights")
        yield server


@pytest.fixture
def say(github: GitHub, params: config.Params, tmp_path: Path) -> Say:
    """`say()`: the verb on the event of run 90 for pull request 7 as it is; keywords are the event's."""
    limits = params.comment.model_copy(update={"attempts": 4, "timeout_seconds": 0.6})

    def call(pull: Any = None, *, file: str = "event.json", **event: Any) -> str:
        path = tmp_path / file
        path.write_text(json.dumps(github.event(pull or github.pulls[7], **event)), encoding="utf-8")
        actions = environment.Actions(event=path, repository=github.repository, api=github.url,
                                    server="https://github.com", token=TOKEN)  # fmt: skip
        return comment.run(params.model_copy(update={"comment": limits}), actions=actions)

    return call


# What is said


@pytest.mark.parametrize("fork", ["mallory/flights", None])
def test_a_report_becomes_the_one_comment(github: GitHub, say: Say, fork: str | None):
    github.pull(7, sha=OLD, fork=fork)
    github.artifact(90, "report", told())
    assert say() == "pull request 7: its comment was written"
    [body] = github.bodies(7)
    assert body.startswith(f"{marker()}\n\n## ✅ Better than production\n\nLog loss is 0.0100 better")
    run = "[run 90](https://github.com/octo/flights/actions/runs/90)"
    page = "download the artifact `report` of [this run](https://github.com/octo/flights/actions/runs/90#artifacts)"
    assert f"**Full report, with plots:** {page} and open `report.html`." in body
    assert body.endswith(f"<sub>Head commit {OLD} · {run} · git fetch origin pull/7/head</sub>")
    assert "[!" not in body


def test_the_next_run_updates_it_in_place(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    say()
    github.pull(7, sha=NEW, fork="mallory/flights")
    github.artifact(91, "report", told(judge=judged(value=0.05, low=0.03, high=0.07, ok=False)))
    assert say(run=91, conclusion="failure") == "pull request 7: its comment was updated"
    [body] = github.bodies(7)
    assert body.startswith(f"{marker(NEW, 91)}\n\n## ❌ Refused: worse than production")
    assert [request.method for request in github.writes] == ["POST", "PATCH"]


def test_the_same_again_writes_nothing(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    say()
    assert say() == "pull request 7: its comment is already up to date"
    assert len(github.writes) == 1


def test_the_commit_in_commands_is_the_head_that_github_names(github: GitHub, say: Say):
    github.artifact(90, "report", told(commit="c" * 40))
    say()
    assert f"git switch --detach {OLD}" in github.bodies(7)[0]
    assert "c" * 40 not in github.bodies(7)[0]


def test_a_second_attempt_is_named(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    say(attempt=2)
    assert "[run 90](https://github.com/octo/flights/actions/runs/90), attempt 2" in github.bodies(7)[0]


@pytest.mark.parametrize(
    "path", [".github/workflows/check.yml", "Makefile", ".ci/run", "src/slipway/judging/judge.py", "dvc.yaml"]
)
def test_a_change_of_what_judges_is_warned_of(github: GitHub, say: Say, path: str):
    github.pull(7, sha=OLD, fork="mallory/flights", files=(*(f"{n}.md" for n in range(120)), path))
    github.artifact(90, "report", told())
    say()
    above = github.bodies(7)[0].split("## ")[0]
    assert f"> [!WARNING]\n> This pull request changes files that decide how it is judged: {path}." in above


@pytest.mark.parametrize("path", ["params.yaml", "src/flights/model.py", "docs/Makefile", "Makefile.txt", "README.md"])
def test_a_change_of_anything_else_is_not(github: GitHub, say: Say, path: str):
    github.pull(7, sha=OLD, files=(path,))
    github.artifact(90, "report", told())
    say()
    assert "WARNING" not in github.bodies(7)[0]


def test_a_file_that_was_moved_away_is_warned_of(github: GitHub, say: Say):
    github.files[7] = [{"filename": "x.yml", "previous_filename": ".github/workflows/check.yml", "status": "renamed"}]
    github.artifact(90, "report", told())
    say()
    assert "judged: .github/workflows/check.yml." in github.bodies(7)[0]


def test_more_files_than_github_lists_are_warned_of(github: GitHub, say: Say):
    github.pull(7, sha=OLD, files=tuple(str(number) for number in range(3000)))
    github.artifact(90, "report", told())
    say()
    assert "changes 3,000 files or more. GitHub does not list all, so" in github.bodies(7)[0]


def test_a_report_that_disagrees_with_its_run_is_warned_of(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    say(conclusion="failure")
    assert "> The report passes, but [the run](" in github.bodies(7)[0]
    github.artifact(91, "report", told(judge=judged(ok=False)))
    say(run=91)
    assert "> The report does not pass, but [the run](" in github.bodies(7)[0]


@pytest.mark.parametrize("conclusion", ["failure", "cancelled", "timed_out", "startup_failure"])
def test_a_run_that_ended_before_its_report_says_where_to_look(github: GitHub, say: Say, conclusion: str):
    assert say(conclusion=conclusion) == "pull request 7: its comment was written"
    link = "https://github.com/octo/flights/actions/runs/90"
    assert f"[The run]({link}) ended ({conclusion}) before it wrote a report of `aaaaaaaaaa`" in github.bodies(7)[0]


def test_a_report_that_has_expired_is_none(github: GitHub, say: Say):
    github.artifact(90, "report", told(), expired=True)
    say(conclusion="failure")
    assert "before it wrote a report" in github.bodies(7)[0]


def test_a_change_of_documents_alone_gets_no_comment(github: GitHub, say: Say):
    assert say() == "pull request 7: no comment is needed"
    assert github.writes == []


def test_a_change_back_to_documents_updates_the_comment(github: GitHub, say: Say):
    github.comment(7, marker("c" * 40, 80) + "\n\n## ❌ Refused")
    say()
    assert "This pull request does not change the model (`aaaaaaaaaa`)." in github.bodies(7)[0]
    assert "Refused" not in github.bodies(7)[0]


# Hostile artifacts


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"PK", "the artifact is not a readable zip file"),
        (told()[:-9], "the artifact is not a readable zip file"),
        (
            zipped(b" " * 9_000_000),
            "facts.json has more than 2,000,000 bytes when inflated; allowed: at most 2,000,000 bytes",
        ),
        (
            bytes(9_000_000),
            "/actions/artifacts/500/zip has more than 2,000,000 bytes; allowed: at most 2,000,000 bytes",
        ),
        (zipped("{}"), "facts.json is not a valid report: metrics: Field required"),
        (
            told(commit="`$(reboot)`\n::set-output name=a::b @all <script>"),
            "facts.json is not a valid report: commit is",
        ),
    ],
    ids=["no zip", "truncated", "bomb", "large", "schema", "markup"],
)
def test_a_report_that_is_refused_is_said_and_ends_in_four(github: GitHub, say: Say, raw: bytes, said: str):
    github.artifact(90, "report", raw)
    with pytest.raises(CheckFailed) as caught:
        say(conclusion="failure")
    assert caught.value.code == 4
    assert f"the report of run 90: {said}" in str(caught.value)
    assert str(caught.value).isprintable()
    [body] = github.bodies(7)
    assert body.startswith(f"{marker()}\n\n## ❔ The report cannot be read")
    page = MarkdownIt("commonmark", {"html": True}).render(body)
    assert said in page
    assert not any(mark in page for mark in ("<script", "<code", "@all"))


@pytest.mark.parametrize("text", [*HOSTILE, "$(reboot)", "::set-output name=a::b", "<!-- slipway:report", "x" * 19_000])
def test_hostile_text_stays_text(github: GitHub, say: Say, text: str, capfd: pytest.CaptureFixture[str]):
    key = text[:80]
    row = {"slice": text, "value": text, "rows": 400, "target": 0.2, "loss": 0.4}
    judge = judged(value_of_slice=text, params_changed=[text], limits_changed=[text])
    judge["checks"][1]["name"] = judge["checks"][1]["limit"] = text
    metrics = {"auc": 0.7, key: 0.5}
    changes: Any = {"judge": judge, "metrics": metrics, "slices": [row], "contract": {"labels": {"title": text}}}
    github.pull(7, sha=OLD, branch=f"x{key}", fork="mallory/flights", title=text, user=text, files=(f".github/{text}",))
    github.artifact(90, "report", told(**changes))
    say()
    [body] = github.bodies(7)
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(body)
    links = page.count("<a ")
    run = '<a href="https://github.com/octo/flights/actions/runs/90'
    assert (links, page.count(f'{run}">'), page.count(f'{run}#artifacts">')) == (2, 1, 1)
    assert not any(mark in page for mark in ("<script", "<img", "<b>", '<a href="http://evil', "@someone", "\u202e"))
    assert page.count("<details>") == page.count("</details>")
    assert page.count("<!--") == 1
    assert capfd.readouterr() == ("", "")


def test_the_widest_report_is_a_comment_still(github: GitHub, say: Say):
    wide = "&@#{" * 4000
    metrics = {f"{number:04}{wide[:76]}": -1.2e29 for number in range(99)}
    judge = judged(limits_changed=[wide] * 20)
    github.artifact(90, "report", told(metrics=metrics, judge=judge, contract={"labels": {"title": wide}}))
    github.pull(7, sha=OLD, files=tuple(f".github/{number}{wide[:200]}" for number in range(9)))
    say()
    assert 30_000 < len(github.bodies(7)[0].encode()) <= 65_536


def test_what_is_too_long_for_a_comment_is_cut_to_its_first_line():
    known = comment.Run.model_validate({
        "id": 90, "run_attempt": 1, "event": "pull_request", "conclusion": "success", "head_sha": OLD,
        "head_branch": "x", "head_repository": None,
    })  # fmt: skip
    text = comment.compose(
        known, 7, comment.Message(text="## ❌ Refused\n\n" + "é" * 35_000), [".ci/run"], "https://run"
    )
    assert text.startswith(f"{marker()}\n\n> [!WARNING]")
    assert "## ❌ Refused\n\n_The report is too long for a comment; it is in [the run](https://run)._" in text
    assert len(text) < 1000


# Which pull request


def test_a_newer_commit_speaks_for_itself(github: GitHub, say: Say):
    before = github.pull(7, sha=OLD, fork="mallory/flights")
    github.pull(7, sha=NEW, fork="mallory/flights")
    github.artifact(90, "report", told())
    assert say(before) == "nothing to do: aaaaaaaaaa is superseded by a newer commit"
    assert github.writes == []


def test_a_push_while_the_report_is_read_stops_the_comment(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    before = github.pulls[7]
    github.when("/zip", lambda _: github.pull(7, sha=NEW, fork="mallory/flights") and None)
    assert say(before) == "pull request 7: aaaaaaaaaa is superseded by a newer commit"
    assert github.writes == []


def test_a_pull_request_closed_meanwhile_is_left_alone(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    before = github.pulls[7]
    github.when("/zip", lambda _: github.pull(7, sha=OLD, fork="mallory/flights", state="closed") and None)
    assert "superseded" in say(before)
    assert "no open pull request" in say(before)
    assert github.writes == []


def test_a_branch_of_the_same_name_elsewhere_is_not_meant(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    github.pull(8, sha=OLD, fork="mallory/other")
    github.pull(9, sha=OLD, branch="topic")
    assert say() == "pull request 7: its comment was written"
    assert [c["issue"] for c in github.comments.values()] == [7]


def test_two_pull_requests_of_one_branch_both_get_it(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    github.pull(8, sha=OLD, fork="mallory/flights", base="next")
    assert say().count("its comment was written") == 2
    assert [len(github.bodies(number)) for number in (7, 8)] == [1, 1]


def test_a_pull_request_to_another_repository_is_not_ours(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    github.pulls[7]["base"]["repo"] = {"full_name": "mallory/flights"}
    assert "no open pull request" in say()


def test_a_fork_that_is_gone_is_no_pull_request(github: GitHub, say: Say):
    event = json.loads(json.dumps(github.pulls[7]))
    github.pulls[7]["head"]["repo"] = None
    assert "no open pull request" in say(event)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ({"event": "push"}, "not the run of a pull request"),
        ({"event": "schedule"}, "not the run of a pull request"),
        ({"conclusion": "skipped"}, "the run has no result"),
        ({"conclusion": "action_required"}, "the run has no result"),
    ],
)
def test_other_runs_are_nothing_to_do(github: GitHub, say: Say, event: dict[str, str], said: str):
    assert said in say(**event)
    assert github.log == []


def run(path: Path, text: str, params: config.Params) -> str:
    path.write_text(text, encoding="utf-8")
    actions = environment.Actions(event=path, repository="o/r", api="http://127.0.0.1:9", server="x", token="t")
    return comment.run(params, actions=actions)


@pytest.mark.parametrize("text", ["[]", "{}", '{"pull_request": {}}', "null"])
def test_other_events_are_nothing_to_do(params: config.Params, tmp_path: Path, text: str):
    assert run(tmp_path / "e", text, params).startswith("nothing to do: the event is not the run")


def test_an_event_that_github_would_not_send_is_an_error(params: config.Params, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"the field workflow_run\.id of the event is missing or invalid"):
        run(tmp_path / "e", '{"workflow_run": {}}', params)
    with pytest.raises(DataError, match="is not valid JSON"):
        run(tmp_path / "e", "{", params)


@pytest.mark.parametrize("part", ["head_repository", "head_branch"])
def test_a_run_of_a_branch_that_is_gone_is_nothing_to_do(
    github: GitHub, params: config.Params, tmp_path: Path, part: str
):
    event = github.event(github.pulls[7])
    event["workflow_run"][part] = None
    assert "its branch was deleted" in run(tmp_path / "e", json.dumps(event), params)


@pytest.mark.parametrize(("part", "value"), [("id", "90\n::x"), ("run_attempt", "-->"), ("id", 1.5)])
def test_a_run_without_numbers_is_an_error(
    github: GitHub, params: config.Params, tmp_path: Path, part: str, value: object
):
    event = github.event(github.pulls[7])
    event["workflow_run"][part] = value
    with pytest.raises(ConfigError, match=rf"the field workflow_run\.{part} of the event"):
        run(tmp_path / "e", json.dumps(event), params)


@pytest.mark.parametrize("sha", ["", "A" * 40, "a" * 39, "../../x", "a" * 40 + "\n"])
def test_a_head_that_is_no_commit_is_an_error(github: GitHub, say: Say, sha: str):
    github.pull(7, sha=sha)
    with pytest.raises(ConfigError, match="head_sha"):
        say()


# Whose comment


def test_only_our_comment_with_the_marker_in_front_is_ours(github: GitHub, say: Say):
    theirs = [
        github.comment(7, marker() + " I am the report", author="mallory"),
        github.comment(7, f"> {marker()}"),
        github.comment(7, f"\n{marker()}"),
        github.comment(7, "<!-- slipway:report -->"),
        github.comment(7, marker() + "x", author=BOT.upper()),
    ]
    before = [row["body"] for row in theirs]
    github.artifact(90, "report", told())
    assert say() == "pull request 7: its comment was written"
    assert github.bodies(7)[:5] == before
    assert len(github.bodies(7)) == 6


def test_our_comment_is_found_behind_hundreds_of_others(github: GitHub, say: Say):
    for number in range(230):
        github.comment(7, f"+{number}", author="ada")
    ours = github.comment(7, marker("c" * 40, 3))
    github.artifact(90, "report", told())
    assert say() == "pull request 7: its comment was updated"
    assert ours["body"].startswith(marker())


def test_a_comment_deleted_meanwhile_is_made_anew(github: GitHub, say: Say):
    ours = github.comment(7, marker("c" * 40, 3))
    github.artifact(90, "report", told())
    github.when("PATCH", lambda _: github.delete(ours["id"]))
    assert say() == "pull request 7: its comment was written"
    assert len(github.bodies(7)) == 1
    assert [request.method for request in github.writes] == ["PATCH", "POST"]


def test_of_several_the_lowest_stays(github: GitHub, say: Say):
    for number in range(3):
        github.comment(7, marker("c" * 40, number))
    github.artifact(90, "report", told())
    say()
    [body] = github.bodies(7)
    assert body.startswith(marker())
    assert [request.line.split("/")[-1] for request in github.writes] == ["1001", "1002", "1000"]


def test_a_newer_comment_beside_ours_is_its_own_run_s_to_tidy(github: GitHub, say: Say):
    github.comment(7, marker(OLD, 89))
    github.comment(7, marker(OLD, 91))
    github.comment(7, marker(OLD, 88))
    github.artifact(90, "report", told())
    assert say() == "pull request 7: a newer run has commented"
    assert github.bodies(7) == [marker(OLD, 89), marker(OLD, 91)]


def test_a_list_that_lags_behind_brings_no_second_comment(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    github.when("GET .*comments", lambda _: Reply(200, []), times=2)
    assert say() == "pull request 7: its comment was written"
    assert [request.method for request in github.writes] == ["POST"]


@pytest.mark.parametrize("newer", [(91, 1), (90, 3), (100, 1)])
def test_the_comment_of_a_newer_run_of_the_commit_stays(github: GitHub, say: Say, newer: tuple[int, int]):
    github.comment(7, marker(OLD, *newer) + "newer")
    github.artifact(90, "report", told())
    assert say(attempt=2) == "pull request 7: a newer run has commented"
    assert github.writes == []


@pytest.mark.parametrize("older", [(OLD, 89, 9), (OLD, 90, 1), (NEW, 99, 1)])
def test_an_older_comment_does_not(github: GitHub, say: Say, older: tuple[str, int, int]):
    github.comment(7, marker(*older) + "older")
    github.artifact(90, "report", told())
    assert say(attempt=2) == "pull request 7: its comment was updated"


@pytest.mark.parametrize("order", [(90, 91), (91, 90)])
def test_two_runs_at_once_leave_one_comment_of_the_newer(github: GitHub, say: Say, order: tuple[int, int]):
    gate = threading.Barrier(2, timeout=5)
    turns = {marker(OLD, number): place for place, number in enumerate(order)}

    def together(request: Request) -> None:
        gate.wait()  # both have looked, and saw no comment
        time.sleep(0.1 * turns[request.body["body"].splitlines()[0]])

    github.when("POST", together, times=2)
    for number in order:
        github.artifact(number, "report", told())
    threads = [threading.Thread(target=say, kwargs={"run": n, "file": f"{n}.json"}) for n in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    [body] = github.bodies(7)
    assert body.startswith(marker(OLD, 91))


# When GitHub fails


def test_a_comment_written_without_an_answer_is_not_written_twice(github: GitHub, say: Say):
    github.artifact(90, "report", told())
    github.cut("POST")
    assert say() == "pull request 7: its comment is already up to date"
    assert len(github.bodies(7)) == 1
    assert [request.method for request in github.writes] == ["POST"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("fault", ["fail", "cut", "slow", "limit"])
def test_a_write_that_failed_is_decided_anew(github: GitHub, say: Say, method: str, fault: str):
    if method == "PATCH":
        github.comment(7, marker("c" * 40, 3))
    github.artifact(90, "report", told())
    if fault == "cut":
        github.cut(method, applied=False)
    elif fault == "slow":
        github.slow(method, 0.9)
    elif fault == "limit":
        github.limit(method, primary=False, seconds=1)
    else:
        github.fail(method, status=500)
    assert say().startswith("pull request 7: its comment")
    [body] = github.bodies(7)
    assert body.startswith(marker())


def test_a_push_after_a_failed_write_wins(github: GitHub, say: Say):
    github.artifact(90, "report", told())

    def push(_: Request) -> Reply:
        github.pull(7, sha=NEW, fork="mallory/flights")
        return Reply(cut=True)

    github.when("POST", push)
    assert "superseded" in say()
    assert github.bodies(7) == []


@pytest.mark.parametrize(
    "path", [r"/pulls$", r"/pulls/7$", "/files", "/artifacts$", "/zip", "/blobs/", "GET .*comments", "POST"]
)
def test_a_github_that_stays_broken_ends_in_five(github: GitHub, say: Say, path: str):
    github.artifact(90, "report", told())
    github.fail(path, times=99)
    with pytest.raises(GitHubUnavailable, match="GitHub returned 502: Server Error") as caught:
        say()
    assert caught.value.code == 5
    assert github.bodies(7) == []
    assert [request.line for request in github.writes] == (["POST " + COMMENTS] * 4 if path == "POST" else [])


@pytest.mark.parametrize("path", [r"/pulls$", "/artifacts$", "/blobs/", "/files", "GET .*comments", "POST"])
def test_a_github_that_stumbles_is_no_matter(github: GitHub, say: Say, path: str):
    github.artifact(90, "report", told())
    github.fail(path, status=503, times=2)
    assert say() == "pull request 7: its comment was written"
    assert len(github.bodies(7)) == 1


def test_a_locked_conversation_is_said(github: GitHub, say: Say):
    github.pulls[7]["locked"] = True
    github.artifact(90, "report", told())
    with pytest.raises(GitHubError, match="403: Unable to create comment because issue is locked") as caught:
        say()
    assert (caught.value.code, len(github.writes)) == (2, 1)
    assert "the conversation is not locked" in caught.value.hint


def test_a_token_without_permission_is_said(github: GitHub, say: Say):
    github.fail("/artifacts$", status=403, message="Resource not accessible by integration")
    with pytest.raises(
        GitHubError, match="GET /actions/runs/90/artifacts: GitHub returned 403: Resource not"
    ) as caught:
        say()
    assert "`permissions:`" in caught.value.hint


def test_a_comment_that_never_stays_is_given_up(github: GitHub, say: Say):
    github.comment(7, marker("c" * 40, 3))
    github.artifact(90, "report", told())
    github.fail("PATCH", status=404, times=99)
    with pytest.raises(GitHubUnavailable, match="its comment was changed or deleted after each of 4 writes"):
        say()


# The verb


def test_the_verb_comments_quickly(
    github: GitHub, cli: Any, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    github.artifact(90, "report", told())
    for name, value in github.environment(github.event(github.pulls[7]), tmp_path).items():
        monkeypatch.setenv(name, value)
    done = cli(bare, "comment")
    assert (done.returncode, done.stdout) == (0, "")
    assert "comment pull request 7: its comment was written" in done.stderr
    first, last = github.log[0].at, github.log[-1].at
    assert last - first < 1
    assert TOKEN not in done.stderr


def test_the_verb_ends_in_four_and_prints_no_command(
    github: GitHub, cli: Any, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    github.artifact(90, "report", told(commit="\n::error::x\n##[error]y"))
    for name, value in github.environment(github.event(github.pulls[7]), tmp_path).items():
        monkeypatch.setenv(name, value)
    done = cli(bare, "comment")
    assert done.returncode == 4
    assert "error the report of run 90: facts.json is not a valid report: commit is" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.lstrip().startswith("::") or "##[" in line] == []


def test_the_verb_outside_a_workflow_says_what_is_missing(cli: Any, bare: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("EVENT_PATH", "REPOSITORY", "API_URL", "SERVER_URL", "TOKEN"):
        monkeypatch.delenv(f"GITHUB_{name}", raising=False)
    done = cli(bare, "comment")
    assert done.returncode == 2
    assert (
        "the environment lacks GITHUB_EVENT_PATH, GITHUB_REPOSITORY, GITHUB_API_URL, GITHUB_SERVER_URL, GITHUB_TOKEN"
        in done.stderr
    )
