"""`comment`: write the report of a pull request's run as its one comment, and keep that up to date.

The run's artifact is hostile text: only `untrusted_report` reads it, and this code writes the Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway.core import config, environment, files
from slipway.core.environment import Actions
from slipway.errors import CheckFailed, ConfigError
from slipway.github import api, step_summary, untrusted_report
from slipway.github.client import GitHubClient, GitHubUnavailable, Row
from slipway.reporting import report_markdown, summary
from slipway.reporting.markdown import PAGE, escape

ARTIFACT = "report"
MARKER = re.compile(r"<!-- slipway:report head=([0-9a-f]{7,64}) run=(\d{1,19}) attempt=(\d{1,9}) -->")
MAX_CHARACTERS = 65_536
"""GitHub's limit for a comment."""
JUDGING = ("Makefile", "dvc.yaml")
FOLDERS = (".github/", ".ci/", "src/slipway/")
"""The files, and the folders, that decide how a change is judged."""
MAX_SHOWN = 5
"""Paths that a warning names."""
MAX_FILES = 3000
"""Files of a pull request that GitHub lists at most."""
ENDED = {"success", "failure", "cancelled", "timed_out", "startup_failure"}


class Repository(BaseModel):
    """The part of GitHub's repository object that is read."""

    full_name: str


class Run(BaseModel):
    """The part of a `workflow_run` payload that is read."""

    model_config = ConfigDict(frozen=True)

    id: int
    run_attempt: int
    event: str
    conclusion: str | None
    head_sha: str = Field(pattern="^[0-9a-f]{40}([0-9a-f]{24})?$")
    head_branch: str | None
    head_repository: Repository | None

    @property
    def marker(self) -> str:
        """The hidden first line of the comment."""
        return f"<!-- slipway:report head={self.head_sha} run={self.id} attempt={self.run_attempt} -->"


@dataclass(frozen=True, kw_only=True)
class Message:
    """The Markdown of a comment; `word` is the verdict in it, `refusal` the error to end with.

    Without `first` it only replaces an older comment.
    """

    text: str
    word: str = ""
    first: bool = True
    refusal: CheckFailed | None = None


def run(params: config.Params, *, actions: Actions | None = None) -> str:
    """Write the comment for the event of GitHub's runner (`environment.actions`); return a sentence about the result.

    A report that is refused is written in the comment, then raised as CheckFailed. Without a pull request that
    is at the run's very commit nothing is written: a newer run comments on it.
    """
    actions = actions or environment.actions()
    ci_run = _run(files.read_json(actions.event, hint="GITHUB_EVENT_PATH names the payload of the event"))
    if ci_run is None or ci_run.event != "pull_request":
        return step_summary.write("nothing to do: the event is not the run of a pull request")
    if ci_run.conclusion not in ENDED or not ci_run.head_branch or not ci_run.head_repository:
        return step_summary.write("nothing to do: the run has no result, or its branch was deleted")
    limits = params.comment
    with GitHubClient(actions.api, actions.repository, actions.token,
              attempts=limits.attempts, timeout_seconds=limits.timeout_seconds) as client:  # fmt: skip
        pulls = _pulls(client, ci_run, actions.repository)
        if isinstance(pulls, str):
            return step_summary.write(pulls)
        link = f"{actions.server}/{actions.repository}/actions/runs/{ci_run.id}"
        message = _message(client, ci_run, limits, link)
        results = []
        for number in pulls:
            body = compose(ci_run, number, message, list(api.changed_paths(client, number)), link)
            results.append(_upsert(client, number, ci_run, message, body, limits))
    if message.refusal:
        raise message.refusal
    return step_summary.write("; ".join(results))


def _run(event: Any) -> Run | None:
    """The run of a `workflow_run` event; None for another event."""
    if not isinstance(event, dict) or "workflow_run" not in event:
        return None
    try:
        return Run.model_validate(event["workflow_run"])
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(f"the field workflow_run.{place} of the event is missing or invalid") from None


def _pulls(client: GitHubClient, ci_run: Run, repository: str) -> list[int] | str:
    """The open pull requests that are at the run's commit; a sentence when there is none.

    They are listed by the head's branch: by the commit GitHub lists none of a fork.
    """
    assert ci_run.head_repository  # noqa: S101 - the caller checked
    origin = ci_run.head_repository.full_name
    rows = [
        row for row in api.open_pulls_from(client, f"{origin.split('/')[0]}:{ci_run.head_branch}")
        if _name(row, "head").casefold() == origin.casefold() and _name(row, "base").casefold() == repository.casefold()
    ]  # fmt: skip
    if not rows:
        return "nothing to do: no open pull request comes from the run's branch"
    numbers = [int(row["number"]) for row in rows if row["head"]["sha"] == ci_run.head_sha]
    return numbers or f"nothing to do: {ci_run.head_sha[:10]} is superseded by a newer commit"


def _name(pull: Row, side: str) -> str:
    """The repository of a pull request's head or base; empty when a fork is gone."""
    return str(((pull.get(side) or {}).get("repo") or {}).get("full_name", ""))


def _message(client: GitHubClient, ci_run: Run, limits: config.Comment, link: str) -> Message:
    """The run's report, or the reason that there is none."""
    head = f"`{ci_run.head_sha[:10]}`"
    try:
        raw = _report(client, ci_run, limits)
        if raw is not None:
            facts = untrusted_report.read_facts(raw, max_bytes=limits.max_bytes).model_copy(
                update={"commit": ci_run.head_sha}
            )
            return Message(text=report_markdown.render(facts), word=summary.headline(facts).word)
    except CheckFailed as error:
        text = f"## ❔ The report cannot be read\n\nThe report of [this run]({link}) was refused: {escape(error, 600)}"
        hint = "look at the step that writes reports/facts.json; docs/fix/comment.md explains each message"
        refusal = CheckFailed(f"the report of run {ci_run.id}: {error}", value=error.value, hint=hint)
        return Message(text=text, refusal=refusal)
    if ci_run.conclusion == "success":
        return Message(
            text=f"## ✅ No model to judge\n\nThis pull request does not change the model ({head}).", first=False
        )
    ended = f"[The run]({link}) ended ({ci_run.conclusion}) before it wrote a report of {head}"
    return Message(text=f"## ❔ Not judged\n\n{ended}. Its log shows why.")


def _report(client: GitHubClient, ci_run: Run, limits: config.Comment) -> bytes | None:
    """The zip of the run's report; None when there is none, or no longer."""
    row = api.newest_artifact(client, ci_run.id, ARTIFACT)
    return None if row is None else api.download_artifact(client, int(row["id"]), max_bytes=limits.max_bytes)


def compose(ci_run: Run, number: int, message: Message, paths: Sequence[str], link: str) -> str:
    """The comment: marker, warnings, message, and where it comes from; never longer than GitHub takes.

    `paths` are the files that the pull request changes, `link` is the run's page.
    """
    top = [ci_run.marker, *_warnings(ci_run, message, paths, link)]
    attempt = f", attempt {ci_run.run_attempt}" if ci_run.run_attempt > 1 else ""
    foot = f"<sub>Head commit {ci_run.head_sha} · [run {ci_run.id}]({link}){attempt} · git fetch origin pull/{number}/head</sub>"
    where = f"download the artifact `{ARTIFACT}` of [this run]({link}#artifacts) and open `{PAGE.name}`"
    end = [f"**Full report, with plots:** {where}.", foot] if message.word else [foot]
    text = "\n\n".join([*top, message.text.strip(), *end])
    if len(text.encode()) > MAX_CHARACTERS:  # bytes: whatever GitHub counts, it is not more than these
        head = message.text.split("\n\n")[0]
        text = "\n\n".join([*top, head, f"_The report is too long for a comment; it is in [the run]({link})._", *end])
    return text


def _warnings(ci_run: Run, message: Message, paths: Sequence[str], link: str) -> Iterator[str]:
    """The warnings above the message."""
    if touched := [path for path in paths if path in JUDGING or path.startswith(FOLDERS)]:
        shown = ", ".join(escape(path, 80) for path in touched[:MAX_SHOWN]) + (" …" if len(touched) > MAX_SHOWN else "")
        yield (
            f"> [!WARNING]\n> This pull request changes files that decide how it is judged: {shown}.\n"
            "> The changed code made the report below. Only the checks on main are independent of it."
        )
    elif len(paths) >= MAX_FILES:
        more = (
            f"This pull request changes {MAX_FILES:,} files or more. GitHub does not list all, so not all were checked."
        )
        yield f"> [!WARNING]\n> {more}"
    if message.word == "pass" and ci_run.conclusion != "success":
        yield f"> [!CAUTION]\n> The report passes, but [the run]({link}) ended in {ci_run.conclusion}: another step stopped it."
    if message.word not in ("", "pass") and ci_run.conclusion == "success":
        yield f"> [!CAUTION]\n> The report does not pass, but [the run]({link}) ended in success. Is a check turned off?"


def _upsert(client: GitHubClient, number: int, ci_run: Run, message: Message, body: str, limits: config.Comment) -> str:
    """Make `body` the text of the pull request's one comment, unless a newer run has commented; return the result as words.

    Each round reads the comments, then makes one request. So a write that was obeyed without a response is not repeated,
    a comment deleted meanwhile is written again, and the next round sees one that another run wrote at the same moment.
    """
    created = False
    for attempt in range(limits.attempts):
        pull = api.get_pull(client, number)
        if pull.get("state") != "open" or pull["head"]["sha"] != ci_run.head_sha:
            return f"pull request {number}: {ci_run.head_sha[:10]} is superseded by a newer commit"
        comments = _marked(api.comments(client, number), limits.author)
        try:
            if (
                result := _step(client, number, ci_run, comments, body, first=message.first and not created)
            ) is not None:
                return f"pull request {number}: {'its comment was written' if created else result}"
            created = created or not comments
        except GitHubUnavailable as error:
            client.wait_before_retry(error, attempt)
    raise GitHubUnavailable(
        f"pull request {number}: its comment was changed or deleted after each of {limits.attempts} writes"
    )


def _step(
    client: GitHubClient, number: int, ci_run: Run, comments: Sequence[Row], body: str, *, first: bool
) -> str | None:
    """Make one request on the way to one comment with the text `body`; a sentence at the end, None for another round.

    The comment with the lowest id stays. Of the others a run deletes only those that are not newer than itself.
    """
    version = (ci_run.id, ci_run.run_attempt)
    for row in comments[1:]:
        if _version(row, ci_run) <= version:
            api.delete_comment(client, int(row["id"]))
    if any(_version(row, ci_run) > version for row in comments):
        return "a newer run has commented"
    if not comments:
        if not first:
            return "no comment is needed"
        api.create_comment(client, number, body)
        return None
    if comments[0]["body"] == body:
        return "its comment is already up to date"
    return "its comment was updated" if api.edit_comment(client, int(comments[0]["id"]), body) else None


def _marked(rows: Sequence[Row], author: str) -> list[Row]:
    """The comments by `author` that begin with the marker; anybody may write or quote the marker elsewhere."""
    return [row for row in rows
            if (row.get("user") or {}).get("login") == author and MARKER.match(row.get("body") or "")]  # fmt: skip


def _version(row: Row, ci_run: Run) -> tuple[int, int]:
    """Run and attempt of a comment about the same commit; (0, 0), older than any, for one about another commit."""
    marker = MARKER.match(row["body"])
    return (int(marker[2]), int(marker[3])) if marker and marker[1] == ci_run.head_sha else (0, 0)
