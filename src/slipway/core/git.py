"""Git as a program: the few calls the chapters need, with errors that say what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from slipway.core import environment, git
from slipway.errors import ConfigError


class NoRepository(ConfigError):
    """The folder is in no Git repository."""


def run(*args: str, root: Path = Path(), strip: bool = True) -> str:
    """What `git ARGS` prints in `root`; ConfigError with Git's own words when it fails."""
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, encoding="utf-8", check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        if "not a git repository" in done.stderr:
            raise NoRepository(f"{root.resolve()} is in no Git repository", hint="git init; git add -A; git commit")
        raise ConfigError(
            f"git {args[0]}: {said[-1] if said else f'exit code {done.returncode}'}", hint="see `git status`"
        )
    return done.stdout.strip() if strip else done.stdout


def commit(revision: str = "HEAD", *, root: Path = Path()) -> str:
    """The full hash of a revision; ConfigError when there is no such commit."""
    try:
        return run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", root=root)
    except NoRepository:
        raise
    except ConfigError:
        hint = "commit something first" if revision == "HEAD" else "git fetch; git branch -a"
        raise ConfigError(f"revision {revision!r} does not exist in this repository", hint=hint) from None


def base_commit(wanted: str | None, *, root: Path = Path()) -> str:
    """The commit a change is compared with: `wanted`, else origin/main, else main."""
    for revision in [wanted] if wanted else ["origin/main", "main"]:
        try:
            return commit(revision, root=root)
        except NoRepository:
            raise
        except ConfigError:
            if wanted:
                raise
    raise ConfigError("there is neither origin/main nor main to compare with", hint="name one: --base REVISION")


def is_ancestor(ancestor: str, descendant: str, *, root: Path = Path()) -> bool:
    """Whether `ancestor` is `descendant` or one of its ancestors."""
    args = ["git", "merge-base", "--is-ancestor", ancestor, descendant]
    return subprocess.run(args, cwd=root, capture_output=True, check=False).returncode == 0


def uncommitted_files(root: Path = Path()) -> list[str]:
    """Tracked files with changes that are not committed."""
    return [
        row[3:] for row in run("status", "--porcelain", "--untracked-files=no", root=root, strip=False).splitlines()
    ]


def file_at(revision: str, name: str, *, root: Path = Path()) -> str | None:
    """The text of a file at a revision, None when it is not there."""
    if not run("ls-tree", "--name-only", revision, "--", name, root=root):
        return None
    return run("show", f"{revision}:{name}", root=root, strip=False)


def fetch(branch: str, *, root: Path = Path()) -> str:
    """Bring origin's branch here as `origin/BRANCH`; empty when it worked, else Git's own words."""
    return _remote("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}", root=root)


def push(refspec: str, *, root: Path = Path()) -> str:
    """Push to origin; empty when it was taken, else Git's own words: whether it was taken may then be unknown."""
    return _remote("push", "-q", "origin", refspec, root=root)


def _remote(*args: str, root: Path) -> str:
    done = subprocess.run(["git", *args], cwd=root, env=environment.git_login(), capture_output=True, text=True,
                          encoding="utf-8", errors="replace", stdin=subprocess.DEVNULL, check=False)  # fmt: skip
    if not done.returncode:
        return ""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("hint:")]
    wrong = [line for line in said if line.startswith(("!", "fatal:", "error:", "remote:"))] or said
    return "; ".join(wrong[:3]) or f"exit code {done.returncode}"


def web_url(root: Path = Path()) -> str:
    """The address of origin's page at a forge; empty when origin is a folder, or none."""
    url = re.sub(r"\.git$", "", run("config", "--default", "", "--get", "remote.origin.url", root=root))
    if found := re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", url):
        return f"https://{found[1]}/{found[2]}"
    return re.sub(r"//[^/@]*@", "//", url) if url.startswith("https://") else ""


@contextmanager
def worktree(revision: str, folder: Path, *, root: Path = Path()) -> Iterator[Path]:
    """A second checkout of `revision` at `folder`, removed when the block ends."""
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
    """Who commits; ConfigError when Git does not know."""
    try:
        return run("var", "GIT_COMMITTER_IDENT", root=root)
    except ConfigError:
        hint = 'git config user.name "Your Name"; git config user.email you@example.org'
        raise ConfigError("Git does not know who you are, so nothing can be committed", hint=hint) from None


def require_clean(root: Path = Path(), *, leave: str) -> None:
    """ConfigError when a tracked file outside `leave` differs from the last commit."""
    if changed := [name for name in uncommitted_files(root) if not name.startswith(leave)]:
        shown = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
        raise ConfigError(f"{len(changed)} tracked files are not committed: {shown}", hint="git commit, or git stash")


def pull_request(root: Path = Path(), revision: str = "HEAD") -> int | None:
    """The number of the pull request that a commit merged, by its subject (merge or squash); None for another commit."""
    subject = run("log", "-1", "--format=%s", revision, root=root)
    found = re.match(r"Merge pull request #(\d+) ", subject) or re.search(r" \(#(\d+)\)$", subject)
    return int(found[1]) if found else None


def now() -> datetime:
    """This moment in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def merge_base(base: str, head: str, *, root: Path) -> str:
    """The commit at which the change left its base: what the base got since is no part of it. The base when none is."""
    try:
        return git.run("merge-base", base, head, root=root)
    except ConfigError:
        return base
