"""The edge to GitHub: what the chapters ask of it and tell it, as functions of one repository's API (`rest`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slipway.github.client import GitHubError, Rest, Row

GONE = (404, 410)


# Pull requests and what hangs on them


def pulls(api: Rest, head: str) -> list[Row]:
    """The open pull requests from `owner:branch`, of this repository or of a fork."""
    return list(api.pages("/pulls", {"state": "open", "head": head}))


def pull(api: Rest, number: int) -> Row:
    """One pull request."""
    return api.get(f"/pulls/{number}")


def changed(api: Rest, number: int) -> Iterator[str]:
    """The paths a pull request changes, the old one of a renamed file too; GitHub lists 3,000 files at most."""
    for row in api.pages(f"/pulls/{number}/files"):
        yield from filter(None, (row.get("filename"), row.get("previous_filename")))


def comments(api: Rest, number: int) -> list[Row]:
    """All comments under a pull request or an issue, the lowest id first."""
    return sorted(api.pages(f"/issues/{number}/comments"), key=lambda row: int(row["id"]))


def comment(api: Rest, number: int, body: str) -> Row:
    """Write a new comment; the comment."""
    return api.send("POST", f"/issues/{number}/comments", {"body": body})


def edit(api: Rest, comment: int, body: str) -> bool:
    """Replace a comment's text; False when it was deleted meanwhile."""
    return _unless_gone(api, "PATCH", f"/issues/comments/{comment}", {"body": body})


def delete(api: Rest, comment: int) -> bool:
    """Delete a comment; False when it was deleted meanwhile."""
    return _unless_gone(api, "DELETE", f"/issues/comments/{comment}")


def _unless_gone(api: Rest, method: str, path: str, body: Row | None = None) -> bool:
    try:
        api.send(method, path, body)
    except GitHubError as error:
        if error.status not in GONE:
            raise
        return False
    return True


# Statuses of commits


def statuses(api: Rest, commit: str) -> list[Row]:
    """All statuses of a commit, of every context and creator."""
    return list(api.pages(f"/commits/{commit}/statuses"))


# Artifacts of runs


def artifact(api: Rest, run: int, name: str) -> Row | None:
    """The newest artifact of a run that has this name, for each attempt may have left one; None without, or expired."""
    rows = [row for row in api.pages(f"/actions/runs/{run}/artifacts", {"name": name}, key="artifacts")
            if row.get("name") == name]  # fmt: skip
    newest = max(rows, key=lambda row: int(row["id"]), default=None)
    return None if newest is None or newest.get("expired") else newest


def download(api: Rest, artifact: int, *, most: int) -> bytes | None:
    """The zip of an artifact, None when it is gone; CheckFailed once it has more than `most` bytes."""
    try:
        return api.download(f"/actions/artifacts/{artifact}/zip", most=most)
    except GitHubError as error:
        if error.status not in GONE:
            raise
        return None


# Branches and commits, without a clone


def branch(api: Rest, name: str) -> str | None:
    """The commit that a branch points to; None when there is no such branch."""
    try:
        return str(api.get(f"/git/ref/heads/{name}")["object"]["sha"])
    except GitHubError as error:
        if error.status != 404:
            raise
        return None


def set_branch(api: Rest, name: str, commit: str) -> None:
    """Make a branch point to a commit, also when it is there and elsewhere; looks again before each attempt."""
    api.again(lambda: _point(api, name, commit))


def _point(api: Rest, name: str, commit: str) -> None:
    now = branch(api, name)
    if now is None:
        api.send("POST", "/git/refs", {"ref": f"refs/heads/{name}", "sha": commit})
    elif now != commit:
        api.send("PATCH", f"/git/refs/heads/{name}", {"sha": commit, "force": True})


def commit(api: Rest, parent: str, files: Mapping[str, str], message: str) -> Row:
    """A commit on `parent` that writes those files; no branch points to it yet, so asking twice harms nothing.

    Author and committer are left out: only then GitHub signs it for an App's token; `verification` says so.
    """
    base = api.get(f"/git/commits/{parent}")["tree"]["sha"]
    rows = [{"path": path, "mode": "100644", "type": "blob", "content": text} for path, text in files.items()]
    tree = api.again(lambda: api.send("POST", "/git/trees", {"base_tree": base, "tree": rows}))
    body = {"message": message, "tree": tree["sha"], "parents": [parent]}
    return api.again(lambda: api.send("POST", "/git/commits", body))


def committed(api: Rest, sha: str) -> Row:
    """A commit that is there."""
    return api.get(f"/git/commits/{sha}")


def open_pulls(api: Rest, base: str) -> list[Row]:
    """The open pull requests into a branch."""
    return list(api.pages("/pulls", {"state": "open", "base": base}))


def propose(api: Rest, head: str, base: str, title: str, body: str) -> Row:
    """Open a pull request of the branch `head`."""
    return api.send("POST", "/pulls", {"title": title, "body": body, "head": head, "base": base})


def update_pull(api: Rest, number: int, **values: str) -> Row:
    """Change a pull request's title, body or state; the same twice is no harm."""
    return api.again(lambda: api.send("PATCH", f"/pulls/{number}", dict(values)))
