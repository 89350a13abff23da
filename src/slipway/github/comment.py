"""`comment`: what the check of a pull request found, as its one comment, kept up to date.

The run's artifact is hostile text: only `artifact.facts` reads it, and the Markdown is written here, by this code.
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
from slipway.github import api, untrusted_report
from slipway.github.client import GitHubUnavailable, Rest, Row
from slipway.reporting import report_markdown, summary
from slipway.reporting.markdown import escape

ARTIFACT = "report"
MARKER = re.compile(r"<!-- slipway:report head=([0-9a-f]{7,64}) run=(\d{1,19}) attempt=(\d{1,9}) -->")
MAX_CHARACTERS = 65_536
"""Of a comment, as GitHub says it."""
JUDGING = ("Makefile", "dvc.yaml")
FOLDERS = (".github/", ".ci/", "src/slipway/")
"""What decides how a change is judged: these files, and everything in these folders."""
SHOWN = 5
MAX_FILES = 3000
"""GitHub lists no more of a pull request."""
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
class Said:
    """What there is to say: Markdown, the verdict in it, whether it is worth a first comment, the refusal to end with."""

    text: str
    word: str = ""
    first: bool = True
    refused: CheckFailed | None = None


def run(params: config.Params, *, given: Actions | None = None) -> str:
    """Write the comment for the event that GitHub's runner gives (`environment.actions`); what was done, in a sentence.

    A report that is refused is said in the comment, then raised as CheckFailed. Without a pull request that
    is at the run's very commit nothing is written: a newer run speaks for it.
    """
    actions = given or environment.actions()
    found = _run(files.read_json(actions.event, hint="GITHUB_EVENT_PATH names the payload of the event"))
    if found is None or found.event != "pull_request":
        return "nothing to do: the event is not the run of a pull request"
    if found.conclusion not in ENDED or not found.head_branch or not found.head_repository:
        return "nothing to do: the run has no result, or its branch is gone"
    limits = params.comment
    with Rest(actions.api, actions.repository, actions.token,
              attempts=limits.attempts, timeout_seconds=limits.timeout_seconds) as client:  # fmt: skip
        pulls = _pulls(client, found, actions.repository)
        if isinstance(pulls, str):
            return pulls
        link = f"{actions.server}/{actions.repository}/actions/runs/{found.id}"
        said = _said(client, found, limits, link)
        done = []
        for number in pulls:
            body = compose(found, number, said, list(api.changed(client, number)), link)
            done.append(_upsert(client, number, found, said, body, limits))
    if said.refused:
        raise said.refused
    return "; ".join(done)


def _run(event: Any) -> Run | None:
    """The run of a `workflow_run` event; None for another event."""
    if not isinstance(event, dict) or "workflow_run" not in event:
        return None
    try:
        return Run.model_validate(event["workflow_run"])
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError(f"the event's workflow_run is not as GitHub writes it: {where}") from None


def _pulls(client: Rest, found: Run, repository: str) -> list[int] | str:
    """The open pull requests that are at the run's commit; a sentence when there is none.

    By the head's branch: GitHub finds none by the commit when it is a fork's.
    """
    assert found.head_repository  # noqa: S101 - `run` looked
    origin = found.head_repository.full_name
    rows = [
        row for row in api.pulls(client, f"{origin.split('/')[0]}:{found.head_branch}")
        if _name(row, "head").casefold() == origin.casefold() and _name(row, "base").casefold() == repository.casefold()
    ]  # fmt: skip
    if not rows:
        return "nothing to do: no open pull request comes from the run's branch"
    numbers = [int(row["number"]) for row in rows if row["head"]["sha"] == found.head_sha]
    return numbers or f"nothing to do: {found.head_sha[:10]} is superseded by a newer commit"


def _name(pull: Row, side: str) -> str:
    """The repository of a pull request's head or base; empty when a fork is gone."""
    return str(((pull.get(side) or {}).get("repo") or {}).get("full_name", ""))


def _said(client: Rest, found: Run, limits: config.Comment, link: str) -> Said:
    """What the run's report says, or why it says nothing."""
    head = f"`{found.head_sha[:10]}`"
    try:
        raw = _report(client, found, limits)
        if raw is not None:
            facts = untrusted_report.facts(raw, most=limits.max_bytes).model_copy(update={"commit": found.head_sha})
            return Said(text=report_markdown.render(facts), word=summary.headline(facts).word)
    except CheckFailed as error:
        text = f"## ❔ The report cannot be read\n\nThe report of [this run]({link}) was refused: {escape(error, 600)}"
        refused = CheckFailed(
            f"the report of run {found.id}: {error}", hint="see the step that writes reports/facts.json"
        )
        return Said(text=text, refused=refused)
    if found.conclusion == "success":
        return Said(text=f"## ✅ Nothing to judge\n\nNothing here changes the model at {head}.", first=False)
    ended = f"[The run]({link}) ended ({found.conclusion}) before there was a report of {head}"
    return Said(text=f"## ❔ Not judged\n\n{ended}; its log says why.")


def _report(client: Rest, found: Run, limits: config.Comment) -> bytes | None:
    """The zip of the run's report; None when there is none, or no longer."""
    row = api.artifact(client, found.id, ARTIFACT)
    return None if row is None else api.download(client, int(row["id"]), most=limits.max_bytes)


def compose(found: Run, number: int, said: Said, paths: Sequence[str], link: str) -> str:
    """The comment: marker, warnings, what is said, and where it comes from; never longer than GitHub takes. Pure.

    `paths` are the files that the pull request changes, `link` is the run's page.
    """
    top = [found.marker, *_warnings(found, said, paths, link)]
    attempt = f", attempt {found.run_attempt}" if found.run_attempt > 1 else ""
    foot = f"<sub>Head commit {found.head_sha} · [run {found.id}]({link}){attempt} · git fetch origin pull/{number}/head</sub>"
    text = "\n\n".join([*top, said.text.strip(), foot])
    if len(text.encode()) > MAX_CHARACTERS:  # bytes: whatever GitHub counts, it is not more than these
        head = said.text.split("\n\n")[0]
        text = "\n\n".join([*top, head, f"_The report is too long for a comment; it is in [the run]({link})._", foot])
    return text


def _warnings(found: Run, said: Said, paths: Sequence[str], link: str) -> Iterator[str]:
    """What a reader must know before the numbers."""
    if touched := [path for path in paths if path in JUDGING or path.startswith(FOLDERS)]:
        shown = ", ".join(escape(path, 80) for path in touched[:SHOWN]) + (" …" if len(touched) > SHOWN else "")
        yield (
            f"> [!WARNING]\n> This pull request changes files that decide how it is judged: {shown}.\n"
            "> What follows is its own word; what counts is the judgement on main."
        )
    elif len(paths) >= MAX_FILES:
        yield f"> [!WARNING]\n> This pull request changes {MAX_FILES:,} files or more; not all of them were looked at."
    if said.word == "pass" and found.conclusion != "success":
        yield f"> [!CAUTION]\n> Something else than the model stopped it: [the run]({link}) ended in {found.conclusion}."
    if said.word not in ("", "pass") and found.conclusion == "success":
        yield f"> [!CAUTION]\n> The report does not pass, and still [the run]({link}) ended in success: is a gate off?"


def _upsert(client: Rest, number: int, found: Run, said: Said, body: str, limits: config.Comment) -> str:
    """Make the pull request's one comment say `body`, unless something newer holds; what was done.

    Each round looks, then does one thing. So a write that was obeyed without an answer is not made twice, a comment
    deleted meanwhile is made anew, and one that another run made at the same moment is found by the round after.
    """
    created = False
    for attempt in range(limits.attempts):
        now = api.pull(client, number)
        if now.get("state") != "open" or now["head"]["sha"] != found.head_sha:
            return f"pull request {number}: {found.head_sha[:10]} is superseded by a newer commit"
        ours = _ours(api.comments(client, number), limits.author)
        try:
            if (done := _step(client, number, found, ours, body, first=said.first and not created)) is not None:
                return f"pull request {number}: {'its comment was written' if created else done}"
            created = created or not ours
        except GitHubUnavailable as error:
            client.leave(error, attempt)
    raise GitHubUnavailable(f"pull request {number}: its comment did not stay as written, {limits.attempts} times")


def _step(client: Rest, number: int, found: Run, ours: Sequence[Row], body: str, *, first: bool) -> str | None:
    """One thing on the way to one comment that says `body`; a sentence at the end of it, None to look again.

    The lowest id is the one that stays. Of those above nobody deletes what is newer than his own.
    """
    mine = (found.id, found.run_attempt)
    for row in ours[1:]:
        if _version(row, found) <= mine:
            api.delete(client, int(row["id"]))
    if any(_version(row, found) > mine for row in ours):
        return "a newer run has commented"
    if not ours:
        if not first:
            return "there is nothing to say that needs a comment"
        api.comment(client, number, body)
        return None
    if ours[0]["body"] == body:
        return "its comment says so already"
    return "its comment was updated" if api.edit(client, int(ours[0]["id"]), body) else None


def _ours(rows: Sequence[Row], author: str) -> list[Row]:
    """Our comments: by this author, with the marker in front; anybody could write the marker, or quote it."""
    return [row for row in rows
            if (row.get("user") or {}).get("login") == author and MARKER.match(row.get("body") or "")]  # fmt: skip


def _version(row: Row, found: Run) -> tuple[int, int]:
    """Run and attempt of a comment about the same commit; about another one it is older than anything."""
    told = MARKER.match(row["body"])
    return (int(told[2]), int(told[3])) if told and told[1] == found.head_sha else (0, 0)
