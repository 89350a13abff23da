"""Write one ledger line and its overlay's digest in one commit: on this branch, on main, or as a pull request.

A line names what it supersedes, so it is never merged: when main moves meanwhile, the line is made again on the new tip.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, environment, git, ledger
from slipway.delivery import gitops_pull_request
from slipway.delivery.fast_forward import fast_forward
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.github.client import GitHubClient

MAIL = "41898282+github-actions[bot]@users.noreply.github.com"
"""The bot's address, by which GitHub recognises its commits."""
MAX_REASON = 2000
"""Characters kept of a reason, or of an AnalysisRun's message."""
MakeLine = Callable[[str, list[ledger.Line]], ledger.Line | None]
"""Makes the new line from the tip and the lines there; None when there is nothing to do."""


@dataclass(frozen=True, kw_only=True)
class CommitResult:
    """The commit that was made, and where; no commit when there was nothing to do. `message` is a sentence."""

    commit: str | None = None
    branch: str | None = None
    pull_request: int | None = None
    message: str = "nothing to do"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A commit to make: `write_files` writes its files into a checkout and returns their names.

    `digest` is the hash (hexadecimal) of what it pins, after which its branch is named.
    """

    write_files: Callable[[Path], list[str]]
    digest: str
    line: ledger.Line | None = None


MakePlan = Callable[[str], Plan | None]
"""Plans the commit on a tip; None when there is nothing to do."""


def starting_tip(params: config.Params, *, push: bool, root: Path) -> str | None:
    """The current tip of origin's main, for a change that is pushed; else None, and the working tree must be clean."""
    if push:
        return fetch_main(root, attempts=params.comment.attempts)
    git.require_identity(root)
    git.require_branch(root)
    git.require_clean(root)
    return None


def ledger_at(env: str, tip: str | None, root: Path) -> list[ledger.Line]:
    """The ledger of `env` at `tip`, else at HEAD; what is not committed is no release."""
    return ledger.read_at(env, tip or "HEAD", root)


def commit_line(
    env: str, make: MakeLine, *, title: str, body: str = "", push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Call `make(tip, lines)` for the line of `env` and commit it: here, or with `push` as release.mode is set.

    `make` is called again on every new tip of main. It returns None for nothing to do, and may raise CheckFailed.
    """

    def plan(tip: str) -> Plan | None:
        new = make(tip, ledger.read_at(env, tip, root))
        digest = new.identity.rpartition(":")[2] if new else ""
        return Plan(write_files=partial(write_line, new), digest=digest, line=new) if new else None

    return apply(env, plan, title=title, body=body, push=push, params=params, root=root)


def pin_image(
    file: Path, name: str, digest: str, *, title: str, push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Pin `digest` for the image `name` in `file`, which belongs to no environment, in a commit of its own."""

    def plan(tip: str) -> Plan | None:
        before = git.file_at(tip, file.as_posix(), root=root) or ""
        if kustomization.read(before, name, where=file.as_posix()).digest == digest:
            return None

        def write_files(work: Path) -> list[str]:
            return [kustomization.write_digest(work / file, name, digest).relative_to(work).as_posix()]

        return Plan(write_files=write_files, digest=digest.rpartition(":")[2])

    return apply(name, plan, title=title, body="", push=push, params=params, root=root)


def apply(
    name: str, make_plan: MakePlan, *, title: str, body: str, push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Commit what `make_plan` returns: here, on main, or on a branch `bump/NAME-…` with a pull request."""
    require_author(root)
    if not push:
        return commit_here(name, make_plan, title=title, body=body, root=root)
    if release_mode(name, params) == "direct":
        return push_to_main(name, make_plan, title=title, body=body, attempts=params.comment.attempts, root=root)
    return open_pull_request(name, make_plan, title=title, body=body, params=params, root=root)


def commit_here(name: str, make_plan: MakePlan, *, title: str, body: str, root: Path) -> CommitResult:
    """Commit on the branch that HEAD is on.

    The commit is made in a scratch checkout, and the branch is then moved forward to it: when anything fails, such
    as the signature of the commit, the working tree and the branch are as they were.
    """
    branch, tip = git.require_branch(root), git.commit_hash(root=root)
    if (plan := make_plan(tip)) is None:
        return CommitResult()
    with scratch_checkout(name, tip, root) as work:
        sha = commit_files(plan.write_files(work), title=title, body=body, root=work)
        fast_forward(branch, tip, sha, tree=work, root=root)
    return CommitResult(commit=sha, branch=branch, message="committed on this branch")


def release_mode(name: str, params: config.Params) -> str:
    """The way of a change of `name` to main: `direct` or `pull-request`, as release.mode is set.

    On GitHub, production is always a pull request, because a person merges it.
    """
    return "pull-request" if name == "production" and environment.github() else params.release.mode


def push_to_main(
    name: str, make_plan: MakePlan, *, title: str, body: str, attempts: int, root: Path
) -> CommitResult:  # fmt: skip
    """Push one commit on the tip of origin's main; make it again when main has moved or did not take it."""
    problem, tip, branch = "", fetch_main(root, attempts=attempts), git.default_branch(root)
    for attempt in range(attempts):
        if (plan := make_plan(tip)) is None:
            return CommitResult()
        with scratch_checkout(name, tip, root) as work:
            pushed = commit_files(plan.write_files(work), title=title, body=body, root=work)
        problem = git.push(f"{pushed}:refs/heads/{branch}", root=root)
        tip = fetch_main(root, attempts=attempts) if problem else pushed
        if git.is_ancestor(pushed, tip, root=root):  # also when it arrived, but the answer was lost
            return CommitResult(commit=pushed, branch=branch, message=f"pushed to {branch} as {pushed[:12]}")
        wait_before_retry(attempt)
    raise CheckFailed(
        f"origin did not accept the commit on {branch} in {attempts} attempts: {problem}",
        hint=f"if {branch} is protected, set release.mode to pull-request in params.yaml; see docs/fix/deploy-commit.md",
    )


def open_pull_request(
    name: str, make_plan: MakePlan, *, title: str, body: str, params: config.Params, root: Path
) -> CommitResult:
    """Commit on a branch named after the digest and open its pull request; what an earlier run left is used again."""
    tip = fetch_main(root, attempts=params.comment.attempts)
    if (plan := make_plan(tip)) is None:
        return CommitResult()
    base, branch, actions = git.default_branch(root), f"bump/{name}-{plan.digest[:12]}", environment.github()
    with scratch_checkout(name, tip, root) as work:
        names = plan.write_files(work)
        if actions:
            files = {path: (work / path).read_bytes().decode("utf-8") for path in names}
            proposal = gitops_pull_request.Proposal(
                name=name, line=plan.line, base=base, branch=branch, tip=tip, files=files, title=title, body=body
            )
            with GitHubClient(actions.api, actions.repository, actions.token, attempts=params.comment.attempts,
                      timeout_seconds=params.comment.timeout_seconds) as client:  # fmt: skip
                sha, number, message = gitops_pull_request.write(client, proposal, actions=actions, root=root)
            return CommitResult(commit=sha, branch=branch, pull_request=number, message=message)
        sha = commit_files(names, title=title, body=body, root=work)
    if problem := git.push(f"+{sha}:refs/heads/{branch}", root=root):
        raise CheckFailed(
            f"origin did not accept the branch {branch}: {problem}",
            hint="check that you may push to origin; see docs/fix/deploy-commit.md",
        )
    url = web_url(root)
    place = f"{url}/compare/{base}...{branch}?expand=1" if url else f"{branch} into {base}"
    return CommitResult(commit=sha, branch=branch, message=f"pushed {branch}; open its pull request yourself: {place}")


def web_url(root: Path = Path()) -> str:
    """The address of origin's web page; empty if origin is a folder, or there is no origin."""
    url = re.sub(r"\.git$", "", git.run("config", "--default", "", "--get", "remote.origin.url", root=root))
    if ssh := re.fullmatch(r"(?:ssh://)?git@([\w.-]+)[:/](.+)", url):
        return f"https://{ssh[1]}/{ssh[2]}"
    return re.sub(r"//[^/@]*@", "//", url) if url.startswith("https://") else ""


def require_author(root: Path) -> None:
    """ConfigError when Git has no author to commit as; in a workflow's step without one, it becomes GitHub's bot."""
    if environment.github() and not git.run("config", "--default", "", "--get", "user.email", root=root):
        git.run("config", "user.name", gitops_pull_request.BOT, root=root)
        git.run("config", "user.email", MAIL, root=root)
    git.require_identity(root)


def fetch_main(root: Path, *, attempts: int) -> str:
    """Fetch the tip of origin's default branch; Inconclusive when origin does not answer."""
    require_origin(root)
    problem, branch = "", git.default_branch(root)
    for attempt in range(attempts):
        if not (problem := git.fetch(branch, root=root)):
            return git.commit_hash(f"origin/{branch}", root=root)
        wait_before_retry(attempt)
    raise Inconclusive(
        f"origin did not respond in {attempts} attempts: {problem}", hint="nothing was changed; run it again later"
    )


def require_origin(root: Path = Path()) -> None:
    """ConfigError if no remote is called origin, which is the one that is fetched from and pushed to."""
    remotes = git.run("remote", root=root).splitlines()
    if "origin" not in remotes:
        other = remotes[0] if remotes else ""
        raise ConfigError(
            f"this repository has no remote origin (remotes: {', '.join(remotes) or 'none'})",
            hint=f"git remote rename {other} origin" if other else "git remote add origin URL",
        )


def wait_before_retry(attempt: int) -> None:
    """Sleep longer after each attempt, for a random time: two writers that race must not meet again."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.1 * 2**attempt, 5.0))  # noqa: S311 - no secret


def scratch_checkout(name: str, tip: str, root: Path) -> AbstractContextManager[Path]:
    """A checkout of `tip` next to the working tree, removed when the block ends."""
    return git.worktree(tip, environment.cache_home(root) / f"bump-{name}", root=root)


def write_line(new: ledger.Line, root: Path) -> list[str]:
    """Write the line, and the digest when it has an image; returns the names of the changed files."""
    paths = [ledger.append(new, root)]
    if new.image:
        overlay = kustomization.path(new.env, root)
        paths.append(kustomization.write_digest(overlay, "serve", new.image.rpartition("@")[2]))
    return [path.relative_to(root).as_posix() for path in paths]


def commit_files(names: list[str], *, title: str, body: str, root: Path) -> str:
    """Commit the named files in the checkout at `root`; returns the commit's hash."""
    git.run("add", "--force", "--", *names, root=root)  # a user's own core.excludesFile may name them
    paragraphs = [option for text in (title, body) if text for option in ("-m", text)]
    git.run("commit", "-q", *paragraphs, "--", *names, root=root)
    return git.commit_hash(root=root)
