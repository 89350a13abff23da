"""A bump as a pull request made through the forge's API, so that the forge signs its commit for an App's token.

Each step looks first at what an earlier run, cut off in the middle, has left: branch, commit, pull request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.core import environment, git, ledger
from slipway.errors import CheckFailed
from slipway.github import api
from slipway.github.client import GitHubError, GitHubUnavailable, Rest, Row

BASE = "main"
BOT = "github-actions[bot]"
"""Whose pull requests start no checks by themselves."""
SETTING = "Settings → Actions → General → Allow GitHub Actions to create and approve pull requests, or an App's token"


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is proposed: `name` (an environment, or an image), its ledger line if any, the files as they will be, the
    branch, and the commit of main that it stands on.
    """

    name: str
    line: ledger.Line | None
    branch: str
    tip: str
    files: Mapping[str, str]
    title: str
    body: str


def write(client: Rest, given: Proposal, *, actions: environment.Actions, root: Path) -> tuple[str, int, str]:
    """The commit, the pull request's number, and a sentence; older open bumps of the environment are closed.

    CheckFailed when one of them is of a newer source commit: there is no way back but a rollback.
    """
    prefix = f"bump/{given.name}-"
    ours = [row for row in api.open_pulls(client, BASE) if _home(row) == actions.repository]
    others = [row for row in ours if str(row["head"]["ref"]).startswith(prefix) and row["head"]["ref"] != given.branch]
    if given.line:
        for row in others:
            newer(given.line, row, root=root)
    made = existing_commit(client, given, root=root)
    if made is None:
        made = api.commit(client, given.tip, given.files, f"{given.title}\n\n{given.body}".strip() + "\n")
        api.set_branch(client, given.branch, str(made["sha"]))
    pull = ensure_pull_request(client, given, owner=actions.repository.split("/")[0])
    for row in others:
        api.update_pull(client, row["number"], state="closed")
    closed = "".join(f", closed #{row['number']}" for row in others)
    return str(made["sha"]), int(pull["number"]), f"proposed as #{pull['number']}{closed}; {signature_note(made, pull)}"


def newer(line: ledger.Line, pull: Row, *, root: Path) -> None:
    """CheckFailed when an open bump is of a newer source commit than `line`, which is no rollback."""
    branch = str(pull["head"]["ref"])
    if line.action == "rollback" or git.fetch(branch, root=root):
        return
    theirs = ledger.newest(ledger.read_at(line.env, f"origin/{branch}", root))
    if theirs and theirs.commit != line.commit and git.is_ancestor(line.commit, theirs.commit, root=root):
        raise CheckFailed(
            f"bump: #{pull['number']} already proposes {theirs.bento} of {theirs.commit[:12]}, newer than {line.commit[:12]}",
            hint=f"merge #{pull['number']}, or close it",
        )


def existing_commit(client: Rest, given: Proposal, *, root: Path) -> Row | None:
    """The commit that the branch has already, when it says the same on the same tip; the moment of its line aside."""
    sha = api.branch(client, given.branch)
    if sha is None or git.fetch(given.branch, root=root):
        return None
    made = api.committed(client, sha)
    return (
        made if [parent["sha"] for parent in made["parents"]] == [given.tip] and same(given, sha, root=root) else None
    )


def same(given: Proposal, sha: str, *, root: Path) -> bool:
    """Whether a commit says what is proposed: the same line but for its moment; without a line, the same files."""
    if given.line is None:
        return all(git.file_at(sha, name, root=root) == text for name, text in given.files.items())
    theirs = ledger.newest(ledger.read_at(given.line.env, sha, root))
    return theirs is not None and theirs.model_copy(update={"at": given.line.at}) == given.line


def ensure_pull_request(client: Rest, given: Proposal, *, owner: str) -> Row:
    """The pull request of the branch: the one that is open, its text brought up to date, else a new one."""
    for attempt in range(2):
        if found := [row for row in api.pulls(client, f"{owner}:{given.branch}") if row["base"]["ref"] == BASE]:
            return api.update_pull(client, found[0]["number"], title=given.title, body=given.body)
        try:
            return api.propose(client, given.branch, BASE, given.title, given.body)
        except (GitHubError, GitHubUnavailable) as error:
            if isinstance(error, GitHubError) and error.status == 403:
                said = f"{given.branch} is pushed, but its pull request may not be opened: {error}"
                raise CheckFailed(f"bump: {said}", hint=SETTING) from None
            if attempt or (isinstance(error, GitHubError) and error.status != 422):
                raise  # else it may be there by now: look again
    raise AssertionError


def signature_note(commit: Row, pull: Row) -> str:
    """Whether the forge signed the commit, and what a person has to do."""
    checked = commit.get("verification") or {}
    if checked.get("verified") is True:
        signed = "GitHub signed its commit"
    else:
        signed = f"its commit is not signed ({checked.get('reason')}): GitHub does that for an App's token alone"
    if pull["user"]["login"] == BOT:
        return f"{signed}; its checks wait for a person: open it, Approve and run workflows, then merge"
    return f"{signed}; its checks start by themselves"


def _home(pull: Row) -> str:
    """The repository that a pull request's branch is in; nothing when it was deleted."""
    return str((pull["head"].get("repo") or {}).get("full_name"))
