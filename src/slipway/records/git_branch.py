"""Read and write the file of the records branch as Git objects: no checkout, no index, no working tree."""

from __future__ import annotations

from pathlib import Path

from slipway.core import git
from slipway.core.process import UndecodableOutput
from slipway.errors import ConfigError, DataError

NAME = "slipway-records"
FILE = "records.jsonl"
LOCAL = f"refs/heads/{NAME}"
REMOTE = f"refs/remotes/origin/{NAME}"
CHECKED = f"refs/slipway/{NAME}"
"""The newest commit of the branch that this clone has checked; a `git fetch` by hand does not move it."""
ABSENT = "couldn't find remote ref"
"""Git's words for a branch that origin does not have."""


def tip(reference: str, *, root: Path) -> str | None:
    """The commit of a reference; None if there is none."""
    return git.find_commit(reference, root=root)


def contains(newer: str, older: str, *, root: Path) -> bool:
    """Return whether a commit of the branch has another among its ancestors, or is it; also in a shallow clone.

    The branch shares no commit with others, so a fetch of it is complete.
    """
    return older in git.first_parents(newer, root=root)


def has_origin(root: Path) -> bool:
    """Return whether a remote is called origin."""
    return "origin" in git.run("remote", root=root).splitlines()


def blob(commit: str, *, root: Path) -> str | None:
    """The object of the file at a commit; None if the commit lacks it."""
    return git.run("rev-parse", f"{commit}:{FILE}", root=root) if git.files_at(commit, FILE, root=root) else None


def text_at(commit: str | None, *, root: Path) -> str:
    """The text of the file at a commit, byte for byte; empty without a commit. DataError if it is missing or not UTF-8."""
    if commit is None:
        return ""
    name = blob(commit, root=root)
    if name is None:
        raise DataError(f"{NAME} at {commit[:12]} has no {FILE}", hint=mend_hint(commit, root=root))
    try:
        text = git.run("cat-file", "blob", name, root=root, strip=False)
    except UndecodableOutput as error:
        raise DataError(f"{FILE} at {commit[:12]} is not UTF-8: {error}", hint=mend_hint(commit, root=root)) from None
    if "\r" in text or git.run("hash-object", "--stdin", root=root, stdin=text) != name:
        message = f"{FILE} at {commit[:12]} has line ends of Windows, so an editor rewrote it"
        raise DataError(message, hint=mend_hint(commit, root=root))
    return text


def write(text: str, parent: str | None, *, title: str, root: Path) -> str:
    """Make a commit whose only file holds `text`, on `parent`; return its hash. No reference moves."""
    name = git.run("hash-object", "-w", "--stdin", root=root, stdin=text)
    tree = git.run("mktree", root=root, stdin=f"100644 blob {name}\t{FILE}\n")
    parents = ["-p", parent] if parent else []
    return git.run("commit-tree", "--no-gpg-sign", tree, *parents, "-m", title, root=root)


def move(reference: str, new: str, old: str | None, *, root: Path) -> bool:
    """Move a reference from `old` to `new`; False if another process moved it meanwhile."""
    zero = "0" * len(new)
    try:
        git.run("update-ref", "-m", "slipway records", reference, new, old or zero, root=root)
    except git.GitError:
        if tip(reference, root=root) == old:
            raise
        return False
    return True


def require_not_checked_out(root: Path) -> None:
    """ConfigError if a person has the branch checked out here: its files would no longer be those of its commit."""
    if git.current_branch(root) == NAME:
        raise ConfigError(f"the branch {NAME} is checked out, and only programs write it", hint="git switch -")


def fetch(root: Path) -> str:
    """Fetch origin's branch and check that it only grew; return Git's message if origin did not answer, else "".

    DataError if origin no longer has what this clone has seen there.
    """
    before = tip(REMOTE, root=root)
    problem = git.fetch(NAME, root=root)
    if ABSENT in problem:
        if before is None:
            return ""
        git_hint = f"git push origin {before}:{LOCAL}"
        raise DataError(f"origin no longer has the branch {NAME}, which was at {before[:12]}", hint=git_hint)
    if not problem:
        require_descendant(before, root=root)
        require_descendant(tip(CHECKED, root=root), root=root)
    return problem


def require_descendant(before: str | None, *, root: Path) -> None:
    """DataError unless origin's branch contains the commit `before`, where this clone saw it."""
    after = tip(REMOTE, root=root)
    if before is None or after is None or contains(after, before, root=root):
        return
    git.run("update-ref", REMOTE, before, root=root)  # or the next fetch would take the rewritten one for the known one
    raise DataError(
        f"the history of {NAME} at origin was rewritten: {after[:12]} does not contain {before[:12]}, which was there",
        expected="new commits on top only",
        hint=f"git push --force-with-lease={NAME}:{after} origin {before}:{LOCAL}, and protect the branch",
    )


def mend_hint(commit: str, *, root: Path) -> str:
    """The command that appends a commit with the last version that can be read on top of the damaged `commit`."""
    good = last_readable(commit, root=root)
    if good is None:
        return (
            f"remove the branch (git push origin --delete {NAME}; git branch -D {NAME}); no version of it can be read"
        )
    made = f"git commit-tree -m 'Restore the records' -p {commit[:12]} '{good[:12]}^{{tree}}'"
    return f"restore the last readable version: git push origin $({made}):{LOCAL}"


def last_readable(commit: str, *, root: Path) -> str | None:
    """The newest commit before `commit` whose file can be read; None if there is none."""
    commits = git.commits(f"{commit}^@", root=root, first_parent=True)
    return next((before.sha for before in commits if is_readable(before.sha, root=root)), None)


def is_readable(commit: str, *, root: Path) -> bool:
    """True if every line of the file at `commit` is a record."""
    from slipway.records import record

    try:
        name = blob(commit, root=root)
        record.parse(git.run("cat-file", "blob", name or "", root=root, strip=False), where=FILE)
    except (DataError, ConfigError):
        return False
    return True
