"""Run the few Git commands that Slipway needs; errors name the next step."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from slipway.core import environment, process
from slipway.errors import ConfigError


class NoRepository(ConfigError):
    """The folder is not in a Git repository."""


def run(*args: str, root: Path = Path(), strip: bool = True) -> str:
    """Run `git ARGS` in `root` and return its stdout; ConfigError with Git's message if it fails.

    UnicodeDecodeError for output that is not UTF-8: a replaced byte would hide that a record was changed.
    """
    finished = process.run(["git", *args], folder=root, errors="strict")
    if not finished.ok:
        if "not a git repository" in finished.err:
            raise NoRepository(f"{root.resolve()} is not in a Git repository", hint="git init; git add -A; git commit")
        raise ConfigError(f"`git {args[0]}` failed: {finished.last_lines()}", hint="git status")
    return finished.out.strip() if strip else finished.out


def commit_hash(revision: str = "HEAD", *, root: Path = Path()) -> str:
    """The full hash of the commit that `revision` names; ConfigError if there is none."""
    try:
        return run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", root=root)
    except NoRepository:
        raise
    except ConfigError:
        if revision == "HEAD":
            raise ConfigError("this repository has no commit yet", hint="git add -A; git commit") from None
        raise ConfigError(
            f"revision {revision!r} does not exist in this repository",
            hint="name a commit, branch or tag: git fetch; git branch -a",
        ) from None


def base_commit(base: str | None, *, root: Path = Path()) -> str:
    """The hash of the commit that a change is compared with: `base` if named, else origin/main, else main."""
    for revision in [base] if base else ["origin/main", "main"]:
        try:
            return commit_hash(revision, root=root)
        except NoRepository:
            raise
        except ConfigError:
            if base:
                raise
    raise ConfigError(
        "this repository has neither origin/main nor main to compare with", hint="name the base: --base REVISION"
    )


def is_ancestor(ancestor: str, descendant: str, *, root: Path = Path()) -> bool:
    """Return whether `ancestor` is `descendant` itself or one of its ancestors; False also if one of them does not exist."""
    return process.run(["git", "merge-base", "--is-ancestor", ancestor, descendant], folder=root).ok


def uncommitted_files(root: Path = Path()) -> list[str]:
    """The names of tracked files with changes that are not committed."""
    return [
        row[3:] for row in run("status", "--porcelain", "--untracked-files=no", root=root, strip=False).splitlines()
    ]


def file_at(revision: str, name: str, *, root: Path = Path()) -> str | None:
    """The text of a file at a revision; None if the revision does not have it."""
    if not run("ls-tree", "--name-only", revision, "--", name, root=root):
        return None
    return run("show", f"{revision}:{name}", root=root, strip=False)


def fetch(branch: str, *, root: Path = Path()) -> str:
    """Fetch origin's branch as `origin/BRANCH`; return Git's message if that failed, else an empty text."""
    return _remote("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}", root=root)


def push(refspec: str, *, root: Path = Path()) -> str:
    """Push to origin; return Git's message if that failed, else an empty text.

    After a failure, origin may have accepted the push all the same, e.g. when the connection broke afterwards.
    """
    return _remote("push", "-q", "origin", refspec, root=root)


def _remote(*args: str, root: Path) -> str:
    finished = process.run(["git", *args], folder=root, env=environment.git_login())
    if finished.ok:
        return ""
    lines = [line.strip() for line in finished.err.splitlines() if line.strip() and not line.startswith("hint:")]
    errors = [line for line in lines if line.startswith(("!", "fatal:", "error:", "remote:"))] or lines
    return "; ".join(errors[:3]) or f"exit code {finished.code}"


def web_url(root: Path = Path()) -> str:
    """The address of origin's web page; empty if origin is a folder, or there is no origin."""
    url = re.sub(r"\.git$", "", run("config", "--default", "", "--get", "remote.origin.url", root=root))
    if ssh := re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", url):
        return f"https://{ssh[1]}/{ssh[2]}"
    return re.sub(r"//[^/@]*@", "//", url) if url.startswith("https://") else ""


@contextmanager
def worktree(revision: str, folder: Path, *, root: Path = Path()) -> Iterator[Path]:
    """Check `revision` out at `folder`, next to the main checkout; the block gets `folder`, which is removed after it."""
    _remove(folder, root)
    run("worktree", "add", "--detach", "--force", str(folder), revision, root=root)
    try:
        yield folder
    finally:
        _remove(folder, root)


def _remove(folder: Path, root: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    run("worktree", "prune", root=root)


def require_identity(root: Path = Path()) -> str:
    """The committer as Git writes it into a commit; ConfigError if none is configured."""
    try:
        return run("var", "GIT_COMMITTER_IDENT", root=root)
    except ConfigError:
        hint = 'git config user.name "Your Name"; git config user.email you@example.org'
        raise ConfigError("Git has no user name and email for commits", hint=hint) from None


def require_clean(root: Path = Path(), *, exclude: str) -> None:
    """ConfigError if a tracked file differs from the last commit, unless its name starts with `exclude`."""
    if changed := [name for name in uncommitted_files(root) if not name.startswith(exclude)]:
        shown = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
        count = "1 file has" if len(changed) == 1 else f"{len(changed)} files have"
        raise ConfigError(f"{count} uncommitted changes: {shown}", hint="git commit -a, or git stash")


def pull_request_number(root: Path = Path(), revision: str = "HEAD") -> int | None:
    """The number of the pull request that a commit merged, from its subject (merge or squash); None for other commits."""
    subject = run("log", "-1", "--format=%s", revision, root=root)
    number = re.match(r"Merge pull request #(\d+) ", subject) or re.search(r" \(#(\d+)\)$", subject)
    return int(number[1]) if number else None


def now() -> datetime:
    """The current time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def merge_base(base: str, head: str, *, root: Path) -> str:
    """The newest common ancestor of `base` and `head`, where a change branched off; `base` if they have none."""
    try:
        return run("merge-base", base, head, root=root)
    except ConfigError:
        return base
