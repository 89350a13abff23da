"""Write a GitOps commit as a pull request through GitHub's API, which signs the commit for an App's token.

Each step first looks for what an earlier run left when it was interrupted: branch, commit, pull request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway.core import environment, git, ledger
from slipway.errors import CheckFailed
from slipway.github import api
from slipway.github.client import GitHubClient, GitHubError, GitHubUnavailable, Row

BASE = "main"
BOT = "github-actions[bot]"
"""The author whose pull requests start no checks by themselves."""
SETTING = (
    "set Settings → Actions → General → Allow GitHub Actions to create and approve pull requests, or use an App's token"
)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A pull request to open: `name` is an environment or an image, `line` its ledger line if there is one.

    `files` holds the new text of each file, `tip` is the commit of main that the branch starts from.
    """

    name: str
    line: ledger.Line | None
    branch: str
    tip: str
    files: Mapping[str, str]
    title: str
    body: str


def write(
    client: GitHubClient, proposal: Proposal, *, actions: environment.Actions, root: Path
) -> tuple[str, int, str]:
    """Open the pull request, and close older open ones of the same name; returns commit, number and a message.

    CheckFailed when one of them is of a newer source commit: only a rollback goes back.
    """
    prefix = f"bump/{proposal.name}-"
    pulls = [row for row in api.open_pulls_into(client, BASE) if _repository(row) == actions.repository]
    older = [
        row for row in pulls if str(row["head"]["ref"]).startswith(prefix) and row["head"]["ref"] != proposal.branch
    ]
    if proposal.line:
        for row in older:
            require_not_newer(row, proposal.line, root=root)
    commit = existing_commit(client, proposal, root=root)
    if commit is None:
        message = f"{proposal.title}\n\n{proposal.body}".strip() + "\n"
        commit = api.create_commit(client, proposal.tip, proposal.files, message)
        api.set_branch(client, proposal.branch, str(commit["sha"]))
    pull = ensure_pull_request(client, proposal, owner=actions.repository.split("/")[0])
    for row in older:
        api.update_pull(client, row["number"], state="closed")
    closed = "".join(f", closed #{row['number']}" for row in older)
    message = f"pull request #{pull['number']} is open{closed}. {signature_note(commit, pull)}"
    return str(commit["sha"]), int(pull["number"]), message


def require_not_newer(pull: Row, line: ledger.Line, *, root: Path) -> None:
    """CheckFailed when an open pull request is of a newer source commit than `line`, unless `line` is a rollback."""
    branch = str(pull["head"]["ref"])
    if line.action == "rollback" or git.fetch(branch, root=root):
        return
    proposed = ledger.newest_line(ledger.read_at(line.env, f"origin/{branch}", root))
    if proposed and proposed.commit != line.commit and git.is_ancestor(line.commit, proposed.commit, root=root):
        raise CheckFailed(
            f"pull request #{pull['number']} already proposes {proposed.bento} of commit {proposed.commit[:12]}, "
            f"which is newer than {line.commit[:12]}",
            hint=f"merge #{pull['number']}, or close it and run this again",
        )


def existing_commit(client: GitHubClient, proposal: Proposal, *, root: Path) -> Row | None:
    """The commit at the tip of the branch, when it has the same content and the same parent; else None."""
    sha = api.branch_commit(client, proposal.branch)
    if sha is None or git.fetch(proposal.branch, root=root):
        return None
    commit = api.get_commit(client, sha)
    parents = [parent["sha"] for parent in commit["parents"]]
    return commit if parents == [proposal.tip] and has_same_content(proposal, sha, root=root) else None


def has_same_content(proposal: Proposal, sha: str, *, root: Path) -> bool:
    """Return True if a commit has the proposed line, whatever its time; without a line, the proposed files."""
    if proposal.line is None:
        return all(git.file_at(sha, name, root=root) == text for name, text in proposal.files.items())
    committed = ledger.newest_line(ledger.read_at(proposal.line.env, sha, root))
    return committed is not None and committed.model_copy(update={"at": proposal.line.at}) == proposal.line


def ensure_pull_request(client: GitHubClient, proposal: Proposal, *, owner: str) -> Row:
    """The open pull request of the branch, with title and body brought up to date; else a new one."""
    for attempt in range(2):
        pulls = [row for row in api.open_pulls_from(client, f"{owner}:{proposal.branch}") if row["base"]["ref"] == BASE]
        if pulls:
            return api.update_pull(client, pulls[0]["number"], title=proposal.title, body=proposal.body)
        try:
            return api.open_pull(client, proposal.branch, BASE, proposal.title, proposal.body)
        except (GitHubError, GitHubUnavailable) as error:
            if isinstance(error, GitHubError) and error.status == 403:
                problem = (
                    f"{proposal.branch} was pushed, but GitHub does not let this token open its pull request: {error}"
                )
                raise CheckFailed(problem, hint=SETTING) from None
            if attempt or (isinstance(error, GitHubError) and error.status != 422):
                raise  # in all other cases it may exist by now: look again
    raise AssertionError


def signature_note(commit: Row, pull: Row) -> str:
    """Sentences about the commit's signature, and about the next step of a person."""
    verification = commit.get("verification") or {}
    if verification.get("verified") is True:
        signed = "GitHub signed its commit."
    else:
        signed = (
            f"Its commit is not signed ({verification.get('reason')}), because GitHub signs only for an App's token."
        )
    if pull["user"]["login"] == BOT:
        return f"{signed} Its checks wait for approval: open it, click Approve and run workflows, then merge"
    return f"{signed} Its checks start by themselves"


def _repository(pull: Row) -> str:
    """The repository of a pull request's branch; `None` as text when it was deleted."""
    return str((pull["head"].get("repo") or {}).get("full_name"))
