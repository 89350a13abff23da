"""Check that every commit of the records branch only appended to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from slipway.core import git
from slipway.errors import DataError, SlipwayError
from slipway.records import git_branch, record
from slipway.records.git_branch import CHECKED, NAME


@dataclass(frozen=True, kw_only=True)
class _Version:
    """The file of a commit: its object and its bytes."""

    commit: str
    blob: str
    size: int


def check(root: Path = Path(), *, reference: str | None = None) -> str:
    """Check the branch as this clone has it, origin's before its own; return a sentence.

    DataError names the commit that changed or removed a line. A damage that a later commit undid is not an error: every
    line that was once appended must be there, in its order, and no other.
    """
    root = root.resolve()
    references = [reference] if reference else [git_branch.REMOTE, git_branch.LOCAL]
    tip = next((sha for name in references if (sha := git_branch.tip(name, root=root))), None)
    if tip is None:
        return f"the branch {NAME} does not exist yet"
    git_branch.require_descendant(git_branch.tip(CHECKED, root=root), root=root)
    text = git_branch.text_at(tip, root=root)
    rows = record.parse(text, where=f"{NAME} at {tip[:12]}", hint=git_branch.mend_hint(tip, root=root))
    versions = _versions(tip, root)
    if not _all_prefixes(text.encode(), versions):
        _compare_lines(text, versions, root)
    git.run("update-ref", CHECKED, tip, root=root)
    return f"{len(rows)} records in {len(versions)} commits, each of which only appended"


def _versions(tip: str, root: Path) -> list[_Version]:
    """The versions of the file, oldest first."""
    commits = git.commits(tip, root=root, reverse=True)
    if merge := next((each for each in commits if len(each.parents) > 1), None):
        raise DataError(f"{NAME}: {merge.sha[:12]} is a merge", expected="one commit after another",
                        hint=git_branch.mend_hint(tip, root=root))  # fmt: skip
    names = "".join(f"{each.sha}:{git_branch.FILE}\n" for each in commits)
    rows = git.run("cat-file", "--batch-check", root=root, stdin=names).splitlines()
    parts = [row.split() for row in rows]
    return [
        _Version(
            commit=each.sha, blob=part[0] if part[-1].isdigit() else "", size=int(part[-1]) if part[-1].isdigit() else 0
        )
        for each, part in zip(commits, parts, strict=True)
    ]


def _all_prefixes(data: bytes, versions: list[_Version]) -> bool:
    """Return whether every version is the beginning of `data`, by the hash that Git names it by."""
    return all(each.blob and _object_name(data[: each.size], len(each.blob)) == each.blob for each in versions)


def _object_name(data: bytes, digits: int) -> str:
    name = hashlib.sha1(usedforsecurity=False) if digits == 40 else hashlib.sha256()
    name.update(b"blob %d\0" % len(data))
    name.update(data)
    return name.hexdigest()


def _compare_lines(text: str, versions: list[_Version], root: Path) -> None:
    """DataError unless `text` has exactly the lines that the commits appended, whatever some of them damaged meanwhile."""
    appended, before, damage = list[str](), "", ""
    for version in versions:
        after = _text_or_none(version, root)
        if after is not None and after.startswith(before):
            appended += after[len(before) :].split("\n")[:-1]
        elif not damage or after is None:
            damage = damage or version.commit
        before = after if after is not None else before
    if appended != text.split("\n")[:-1]:
        raise DataError(
            f"{NAME}: the commit {damage[:12]} changed or removed lines",
            expected="only new lines at the end",
            hint=git_branch.mend_hint(damage, root=root),
        )


def _text_or_none(version: _Version, root: Path) -> str | None:
    """The text of a version; None for one that cannot be read as records, which appended nothing."""
    try:
        text = git_branch.text_at(version.commit, root=root)
        record.parse(text, where=version.commit)
    except SlipwayError:
        return None
    return text
