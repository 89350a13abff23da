"""Endpoints of GitHub's API that slipway uses, each a function of one repository's client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.github.client import GitHubClient, GitHubError, Row

GONE = (404, 410)


# Pull requests and their comments


def open_pulls_from(client: GitHubClient, head: str) -> list[Row]:
    """The open pull requests from `owner:branch`, of this repository or of a fork."""
    return list(client.pages("/pulls", {"state": "open", "head": head}))


def get_pull(client: GitHubClient, number: int) -> Row:
    """One pull request."""
    return client.get(f"/pulls/{number}")


def changed_paths(client: GitHubClient, number: int) -> Iterator[str]:
    """The paths a pull request changes, the old one of a renamed file too; GitHub lists 3,000 files at most."""
    for row in client.pages(f"/pulls/{number}/files"):
        yield from filter(None, (row.get("filename"), row.get("previous_filename")))


def comments(client: GitHubClient, number: int) -> list[Row]:
    """All comments under a pull request or an issue, the lowest id first."""
    return sorted(client.pages(f"/issues/{number}/comments"), key=lambda row: int(row["id"]))


def create_comment(client: GitHubClient, number: int, body: str) -> Row:
    """Write a new comment and return it."""
    return client.send("POST", f"/issues/{number}/comments", {"body": body})


def edit_comment(client: GitHubClient, comment: int, body: str) -> bool:
    """Replace a comment's text; False when it was deleted meanwhile."""
    return _unless_gone(client, "PATCH", f"/issues/comments/{comment}", {"body": body})


def delete_comment(client: GitHubClient, comment: int) -> bool:
    """Delete a comment; False when it was deleted meanwhile."""
    return _unless_gone(client, "DELETE", f"/issues/comments/{comment}")


def _unless_gone(client: GitHubClient, method: str, path: str, body: Row | None = None) -> bool:
    try:
        client.send(method, path, body)
    except GitHubError as error:
        if error.status not in GONE:
            raise
        return False
    return True


# Statuses of commits


def statuses(client: GitHubClient, commit: str) -> list[Row]:
    """All statuses of a commit, of every context and creator."""
    return list(client.pages(f"/commits/{commit}/statuses"))


# Artifacts of runs


def newest_artifact(client: GitHubClient, run: int, name: str) -> Row | None:
    """A run's newest artifact of this name, as each attempt may have left one; None when there is none, or it expired."""
    rows = [row for row in client.pages(f"/actions/runs/{run}/artifacts", {"name": name}, key="artifacts")
            if row.get("name") == name]  # fmt: skip
    newest = max(rows, key=lambda row: int(row["id"]), default=None)
    return None if newest is None or newest.get("expired") else newest


def download_artifact(client: GitHubClient, artifact: int, *, max_bytes: int) -> bytes | None:
    """The zip of an artifact, None when it is gone; CheckFailed once it has more than `max_bytes` bytes."""
    try:
        return client.download(f"/actions/artifacts/{artifact}/zip", max_bytes=max_bytes)
    except GitHubError as error:
        if error.status not in GONE:
            raise
        return None


# Branches and commits, without a clone


def branch_commit(client: GitHubClient, name: str) -> str | None:
    """The commit that a branch points to; None when there is no such branch."""
    try:
        return str(client.get(f"/git/ref/heads/{name}")["object"]["sha"])
    except GitHubError as error:
        if error.status != 404:
            raise
        return None


def set_branch(client: GitHubClient, name: str, commit: str) -> None:
    """Make a branch point to a commit, whether it exists or not; reads the branch again before each attempt."""
    client.retry(lambda: _point(client, name, commit))


def _point(client: GitHubClient, name: str, commit: str) -> None:
    now = branch_commit(client, name)
    if now is None:
        client.send("POST", "/git/refs", {"ref": f"refs/heads/{name}", "sha": commit})
    elif now != commit:
        client.send("PATCH", f"/git/refs/heads/{name}", {"sha": commit, "force": True})


def create_commit(client: GitHubClient, parent: str, files: Mapping[str, str], message: str) -> Row:
    """Make a commit on `parent` that writes these files; it is retried, for no branch points to it yet.

    The request names no author and no committer: only then GitHub signs an App's commit and sets `verification`.
    """
    base = client.get(f"/git/commits/{parent}")["tree"]["sha"]
    rows = [{"path": path, "mode": "100644", "type": "blob", "content": text} for path, text in files.items()]
    tree = client.retry(lambda: client.send("POST", "/git/trees", {"base_tree": base, "tree": rows}))
    body = {"message": message, "tree": tree["sha"], "parents": [parent]}
    return client.retry(lambda: client.send("POST", "/git/commits", body))


def get_commit(client: GitHubClient, sha: str) -> Row:
    """One commit."""
    return client.get(f"/git/commits/{sha}")


def open_pulls_into(client: GitHubClient, base: str) -> list[Row]:
    """The open pull requests into a branch."""
    return list(client.pages("/pulls", {"state": "open", "base": base}))


def open_pull(client: GitHubClient, head: str, base: str, title: str, body: str) -> Row:
    """Open a pull request from the branch `head`."""
    return client.send("POST", "/pulls", {"title": title, "body": body, "head": head, "base": base})


def update_pull(client: GitHubClient, number: int, **values: str) -> Row:
    """Change a pull request's title, body or state; retried, as repeating it changes nothing."""
    return client.retry(lambda: client.send("PATCH", f"/pulls/{number}", dict(values)))
