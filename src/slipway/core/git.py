"""Run Git with a pinned configuration, and read what it prints; no other module parses Git's output.

Git's answer "no" is a value (None, False, an empty list); "could not tell" is a ConfigError in Git's own words.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from slipway.core import environment, process
from slipway.errors import ConfigError, ProgramKilled

PINNED = {
    "core.quotePath": "false",
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "color.ui": "false",
    "log.showSignature": "false",
    "log.follow": "false",
    "i18n.logOutputEncoding": "UTF-8",
    "status.renames": "false",
    "status.showUntrackedFiles": "normal",
    "diff.ignoreSubmodules": "none",
    "advice.detachedHead": "false",
    "gc.auto": "0",
    "merge.verifySignatures": "false",
    "pull.rebase": "false",
    "push.followTags": "false",
    "push.gpgSign": "false",
}
"""Settings that would change what Git prints or does; a user's own values do not reach the commands run here.
Hooks do not run: they are for people's commits, and a scratch checkout lacks the environment that they need."""
COMMAND = ("git", *(word for key, value in PINNED.items() for word in ("-c", f"{key}={value}")))
UNWRITTEN = re.compile(r"(could not|couldn't|unable to|cannot|failed to) (write|create|append|close)", re.IGNORECASE)
"""Git's words for a file that it cannot write; the reason is not always among them."""
UNSHALLOW = "git fetch --unshallow (in a workflow: actions/checkout with fetch-depth: 0)"


class GitError(ConfigError):
    """Git could not do or tell what it was asked; `code` of the process is in `exit_code`."""

    def __init__(self, message: str, *, exit_code: int, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


class NoRepository(ConfigError):
    """The folder is not in a Git repository."""


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A commit: full hash, hashes of its parents, subject, names of author and committer, time of the commit."""

    sha: str
    parents: Sequence[str]
    subject: str
    author: str
    committer: str
    at: datetime


def run(
    *args: str, root: Path = Path(), strip: bool = True, errors: process.Errors = "strict", stdin: str | None = None
) -> str:  # fmt: skip
    """Run `git ARGS` in `root` and return its stdout; ConfigError with Git's own words if it fails.

    ConfigError for output that is not UTF-8 too: a replaced byte would hide that a record was changed.
    """
    finished = _finish(args, root=root, errors=errors, stdin=stdin)
    if not finished.ok:
        raise _error(args, finished, root)
    return finished.out.strip() if strip else finished.out


def _finish(
    args: Sequence[str], *, root: Path, env: Mapping[str, str] | None = None, errors: process.Errors = "strict",
    stdin: str | None = None,
) -> process.ProcessResult:  # fmt: skip
    try:
        finished = process.run([*COMMAND, *args], folder=root, env=environment.for_git(env), errors=errors, stdin=stdin)
    except UnicodeDecodeError as error:
        raise process.UndecodableOutput(
            f"git {args[0]} printed bytes that are not UTF-8 ({error.object[error.start : error.start + 20]!r})",
            hint="re-encode the file, the name or the message in UTF-8",
        ) from None
    except FileNotFoundError:
        if root.exists():
            raise ConfigError("Git is not installed", hint="install git 2.30 or newer") from None
        raise ConfigError(f"the folder {root} does not exist", hint="name one that does") from None
    process.require_written(finished, f"git {args[0]}", root.resolve())
    return finished


def _error(args: Sequence[str], finished: process.ProcessResult, root: Path) -> ConfigError:
    words = finished.err.strip() or finished.out.strip()
    if "dubious ownership" in words:
        return GitError(
            f"Git refuses {root.resolve()}: it belongs to another user",
            exit_code=finished.code,
            hint=f"git config --global --add safe.directory {root.resolve()}",
        )
    if "not a git repository" in words:
        return NoRepository(f"{root.resolve()} is not in a Git repository", hint="git init; git add -A; git commit")
    hint = "free disk space, or allow writing to the repository" if UNWRITTEN.search(words) else "git status"
    return GitError(f"`git {args[0]}` failed: {_main_lines(words) or f'exit code {finished.code}'}",
                    exit_code=finished.code, hint=hint)  # fmt: skip


def _main_lines(words: str) -> str:
    """The lines of Git's own errors, else its last line."""
    lines = [line.strip() for line in words.splitlines() if line.strip() and not line.startswith("hint:")]
    errors = [line for line in lines if line.startswith(("!", "fatal:", "error:", "remote:"))] or lines[-1:]
    return "; ".join(errors[:3])


def _items(output: str) -> list[str]:
    """The entries of output with `-z`."""
    return output.split("\0")[:-1] if output else []


def is_shallow(root: Path = Path()) -> bool:
    """Return whether the clone lacks older commits."""
    return run("rev-parse", "--is-shallow-repository", root=root) == "true"


def commit_hash(revision: str = "HEAD", *, root: Path = Path()) -> str:
    """The full hash of the commit that `revision` names; ConfigError if there is none."""
    if sha := find_commit(revision, root=root):
        return sha
    if revision == "HEAD":
        raise ConfigError("this repository has no commit yet", hint="git add -A; git commit")
    if is_shallow(root):
        raise ConfigError(f"revision {revision!r} is not in this shallow clone", hint=UNSHALLOW)
    raise ConfigError(
        f"revision {revision!r} does not exist in this repository",
        hint="name a commit, branch or tag: git fetch; git branch -a",
    )


def find_commit(revision: str, *, root: Path = Path()) -> str | None:
    """The full hash of the commit that `revision` names; None if there is none."""
    args = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    finished = _finish(args, root=root)
    if finished.ok:
        return finished.out.strip()
    if finished.code == 1:
        return None
    raise _error(args, finished, root)


def default_branch(root: Path = Path()) -> str:
    """The name of the default branch.

    It is read from origin's HEAD, else from the event of a GitHub workflow, else from `init.defaultBranch`;
    a repository with one branch alone has that one. ConfigError if none of them names a branch.
    """
    if name := _symbolic_ref("refs/remotes/origin/HEAD", root).removeprefix("refs/remotes/origin/"):
        return name
    if event := environment.event_default_branch():
        return event
    branches = [name for name in local_branches(root) if name != "slipway-records"]  # it holds no code
    configured = run("config", "--default", "", "--get", "init.defaultBranch", root=root)
    if configured and (configured in branches or find_commit(f"origin/{configured}", root=root)):
        return configured
    if len(branches) == 1:
        return branches[0]
    raise ConfigError(
        f"Git does not know the default branch here (branches: {', '.join(branches) or 'none'})",
        hint="git remote set-head origin --auto; without a remote: git config init.defaultBranch NAME",
    )


def _symbolic_ref(name: str, root: Path) -> str:
    """The full name of the branch that a symbolic reference names; empty if there is no such reference."""
    args = ("symbolic-ref", "--quiet", name)
    finished = _finish(args, root=root)
    if finished.code > 1:
        raise _error(args, finished, root)
    return finished.out.strip()


def current_branch(root: Path = Path()) -> str | None:
    """The name of the branch that HEAD is on; None for a detached HEAD."""
    return _symbolic_ref("HEAD", root).removeprefix("refs/heads/") or None


def require_branch(root: Path = Path()) -> str:
    """The name of the branch that HEAD is on; ConfigError for a detached HEAD: a commit made there is on no branch."""
    if branch := current_branch(root):
        return branch
    raise ConfigError(
        f"HEAD is detached at {commit_hash(root=root)[:12]}, so a commit made here would be on no branch",
        hint="git switch BRANCH, or git switch -c NEW-BRANCH",
    )


def local_branches(root: Path = Path()) -> list[str]:
    """The names of the local branches, in alphabetical order."""
    return run("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", root=root).splitlines()


def base_commit(base: str | None, *, root: Path = Path()) -> str:
    """The hash of the commit that a change is compared with: `base`, else the default branch of origin, else the local one."""
    if base:
        return commit_hash(base, root=root)
    branch = default_branch(root)
    for revision in (f"refs/remotes/origin/{branch}", f"refs/heads/{branch}"):
        if sha := find_commit(revision, root=root):
            return sha
    raise ConfigError(
        f"this repository has neither origin/{branch} nor {branch} to compare with",
        hint="name the base: --base REVISION",
    )


def is_ancestor(ancestor: str, descendant: str, *, root: Path = Path()) -> bool:
    """Return whether `ancestor` is `descendant` itself or one of its ancestors; False if one of them does not exist.

    ConfigError if the answer would be no and the clone is shallow: the commit may be among those that it lacks.
    """
    if find_commit(ancestor, root=root) and find_commit(descendant, root=root):
        args = ("merge-base", "--is-ancestor", ancestor, descendant)
        finished = _finish(args, root=root)
        if finished.code > 1:
            raise _error(args, finished, root)
        if finished.ok:
            return True
    if is_shallow(root):
        raise ConfigError(
            f"this clone is shallow: whether {ancestor[:12]} is in its history is not known", hint=UNSHALLOW
        )
    return False


def merge_base(base: str, head: str, *, root: Path) -> str:
    """The newest common ancestor of `base` and `head`, where a change branched off; `base` if they have none."""
    args = ("merge-base", base, head)
    finished = _finish(args, root=root)
    if finished.code > 1:
        raise _error(args, finished, root)
    if not finished.ok and is_shallow(root):
        raise ConfigError("this clone is shallow: it lacks the commit where the change left its base", hint=UNSHALLOW)
    return finished.out.strip() or base


def uncommitted_files(root: Path = Path()) -> list[str]:
    """The names of tracked files with changes that are not committed."""
    output = run("status", "--porcelain=v1", "-z", "--untracked-files=no", "--no-renames", root=root, strip=False)
    return [entry[3:] for entry in _items(output)]


def changed_files(base: str, head: str, *paths: str, root: Path = Path()) -> list[str]:
    """The names of files that differ between two commits, below `paths` if there are any; a rename is two names."""
    args = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", base, head, "--", *map(literal, paths))
    return _items(run(*args, root=root, strip=False))


def changed_since(commit: str, *paths: str, root: Path = Path()) -> list[str]:
    """The names of tracked files of the working tree that differ from a commit, below `paths` if there are any."""
    args = ("diff", "-z", "--name-only", "--no-renames", "--no-ext-diff", commit, "--", *map(literal, paths))
    return _items(run(*args, root=root, strip=False))


def refresh_index(root: Path = Path()) -> None:
    """Compare the index with the working tree again; otherwise files that were only touched count as changed."""
    _finish(("update-index", "-q", "--refresh"), root=root)


def literal(path: str) -> str:
    """A pathspec that matches `path` and what is below it, whatever characters it has; a magic one stays as it is."""
    return path if path == "." or path.startswith(":") else f":(literal){path}"


def files_at(revision: str, *paths: str, root: Path = Path()) -> list[str]:
    """The names of the files of a commit below `paths`; all of them without paths."""
    return _items(
        run("ls-tree", "-r", "-z", "--name-only", "--full-tree", revision, "--", *paths, root=root, strip=False)
    )


def file_at(revision: str, name: str, *, root: Path = Path()) -> str | None:
    """The text of a file at a revision; None if the revision does not have it."""
    if name not in files_at(revision, name, root=root):
        return None
    return run("cat-file", "blob", f"{revision}:{name}", root=root, strip=False)


def commits(
    revisions: str, *paths: str, root: Path = Path(), first_parent: bool = True, reverse: bool = False,
    at_most: int | None = None,
) -> list[Commit]:  # fmt: skip
    """The commits of a revision or range (`A..B`) that change something below `paths`, newest first."""
    options = [*(["--first-parent"] if first_parent else []), *([f"--max-count={at_most}"] if at_most else [])]
    form = "%x01%H%x00%P%x00%ct%x00%s%x00%an%x00%cn"
    args = ("rev-list", *options, f"--format={form}", revisions, "--", *paths)
    output = run(*args, root=root, strip=False, errors="replace")  # an old message need not be UTF-8
    listed = [_parse_commit(part) for part in output.split("\x01")[1:]]
    return listed[::-1] if reverse else listed


def _parse_commit(part: str) -> Commit:
    sha, parents, time, subject, author, committer = part.split("\ncommit ")[0].rstrip("\n").split("\0")
    at = datetime.fromtimestamp(int(time), UTC)
    return Commit(sha=sha, parents=parents.split(), subject=subject, author=author, committer=committer, at=at)


def first_parents(revision: str, *, root: Path = Path()) -> set[str]:
    """The hashes of a commit and its first parents, back to the beginning."""
    return set(run("rev-list", "--first-parent", revision, root=root).split())


def worktrees(root: Path = Path()) -> list[Path]:
    """The folders of the repository's worktrees, the main one first."""
    rows = run("worktree", "list", "--porcelain", root=root).splitlines()
    return [Path(row.removeprefix("worktree ")) for row in rows if row.startswith("worktree ")]


def commit(revision: str = "HEAD", *, root: Path = Path()) -> Commit:
    """The commit that `revision` names; ConfigError if there is none."""
    (only,) = commits(commit_hash(revision, root=root), root=root, at_most=1)
    return only


def fetch(branch: str, *, root: Path = Path()) -> str:
    """Fetch origin's branch as `origin/BRANCH`; return Git's message if that failed, else an empty text."""
    return _remote("fetch", "-q", "origin", f"+refs/heads/{branch}:refs/remotes/origin/{branch}", root=root)


def push(refspec: str, *, root: Path = Path()) -> str:
    """Push to origin; return Git's message if that failed or was killed, else an empty text.

    After a failure, origin may have accepted the push all the same, e.g. when the connection broke afterwards.
    """
    try:
        return _remote("push", "-q", "origin", refspec, root=root)
    except ProgramKilled as error:
        return str(error)


def _remote(*args: str, root: Path) -> str:
    finished = _finish(args, root=root, env=environment.git_login())
    return "" if finished.ok else _main_lines(finished.err) or finished.last_lines()


@contextmanager
def worktree(revision: str, folder: Path, *, root: Path = Path()) -> Iterator[Path]:
    """Check `revision` out at `folder`, next to the main checkout; the block gets `folder`, which is removed after it.

    No other worktree is touched, also none that is out of sight at the moment.
    """
    _remove_worktree(folder, root)
    try:
        run("worktree", "add", "--detach", "--force", str(folder), revision, root=root)
        yield folder
    finally:
        _remove_worktree(folder, root)


def _remove_worktree(folder: Path, root: Path) -> None:
    args = ("worktree", "remove", "--force", "--force", str(folder))
    finished = _finish(args, root=root)
    if not finished.ok and "is not a working tree" not in finished.err:
        raise _error(args, finished, root)
    shutil.rmtree(folder, ignore_errors=True)


def require_identity(root: Path = Path()) -> str:
    """The committer as Git writes it into a commit; ConfigError if none is configured."""
    try:
        return run("var", "GIT_COMMITTER_IDENT", root=root)
    except GitError:
        hint = 'git config user.name "Your Name"; git config user.email you@example.org'
        raise ConfigError("Git has no user name and email for commits", hint=hint) from None


def require_clean(root: Path = Path(), *, exclude: Sequence[str] = ()) -> None:
    """ConfigError if a tracked file differs from the last commit, unless its name starts with one of `exclude`."""
    if changed := [name for name in uncommitted_files(root) if not name.startswith(tuple(exclude))]:
        shown = ", ".join(changed[:5]) + (" …" if len(changed) > 5 else "")
        count = "1 file has" if len(changed) == 1 else f"{len(changed)} files have"
        raise ConfigError(f"{count} uncommitted changes: {shown}", hint="git commit -a, or git stash")


def pull_request_number(root: Path = Path(), revision: str = "HEAD") -> int | None:
    """The number of the pull request that a commit merged, from its subject (merge or squash); None for other commits."""
    subject = commit(revision, root=root).subject
    number = re.match(r"Merge pull request #(\d+) ", subject) or re.search(r" \(#(\d+)\)$", subject)
    return int(number[1]) if number else None
