"""A bump: one ledger line and one overlay's digest in one commit, on this branch, on main, or as a pull request.

A line says what it supersedes, so it is never merged: when main moves meanwhile, it is made anew on the new tip.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, environment, git, ledger
from slipway.delivery import gitops_commit, gitops_pull_request
from slipway.errors import CheckFailed, Inconclusive
from slipway.github.client import Rest
from slipway.reporting.markdown import escape

BRANCH = gitops_pull_request.BASE
MAIL = "41898282+github-actions[bot]@users.noreply.github.com"
"""The bot's address, by which GitHub knows its commits."""
Make = Callable[[str, list[ledger.Line]], ledger.Line | None]


@dataclass(frozen=True, kw_only=True)
class CommitResult:
    """What a bump did: its commit, and where; no commit when there was nothing to do. `said` is a sentence."""

    commit: str | None = None
    branch: str | None = None
    pull_request: int | None = None
    said: str = "nothing to do"


@dataclass(frozen=True, kw_only=True)
class Bump:
    """What is to be written: `change` does it in a checkout and names the files; `of` is the digest or hash it is about."""

    change: Callable[[Path], list[str]]
    of: str
    line: ledger.Line | None = None


Plan = Callable[[str], Bump | None]
"""What is to be written on this tip; None is nothing."""


def write(
    env: str, make: Make, *, title: str, body: str = "", push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Ask `make(tip, lines)` for the line of `env` and commit it: here, or with `push` where release.mode says.

    `make` is asked again on every new tip of main; None is nothing to do, and it may raise CheckFailed.
    """

    def plan(tip: str) -> Bump | None:
        new = make(tip, ledger.read_at(env, tip, root) if push else ledger.read(env, root))
        return Bump(change=partial(change, new), of=new.identity.rpartition(":")[2], line=new) if new else None

    return apply(env, plan, title=title, body=body, push=push, params=params, root=root)


def pin(
    file: Path, name: str, digest: str, *, title: str, push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Move the digest of the image `name` in `file`, which belongs to no environment, in a commit of its own."""

    def plan(tip: str) -> Bump | None:
        before = git.file_at(tip, file.as_posix(), root=root) or ""
        if kustomization.read(before, name, where=file.as_posix()).digest == digest:
            return None

        def change(work: Path) -> list[str]:
            return [kustomization.write_digest(work / file, name, digest).relative_to(work).as_posix()]

        return Bump(change=change, of=digest.rpartition(":")[2])

    return apply(name, plan, title=title, body="", push=push, params=params, root=root)


def apply(
    name: str, plan: Plan, *, title: str, body: str, push: bool, params: config.Params, root: Path
) -> CommitResult:
    """Commit what `plan` says: here, on main, or on a branch `bump/NAME-…` with a pull request."""
    require_author(root)
    if not push:
        found = plan(git.commit(root=root))
        return (
            CommitResult(commit=commit(found.change(root), title=title, body=body, root=root), said="")
            if found
            else CommitResult()
        )
    if mode(name, params) == "direct":
        return push_to_main(name, plan, title=title, body=body, attempts=params.comment.attempts, root=root)
    return open_pull_request(name, plan, title=title, body=body, params=params, root=root)


def mode(name: str, params: config.Params) -> str:
    """How a bump of `name` lands: as release.mode says; production at a forge always as a pull request, for people merge it."""
    return "pull-request" if name == "production" and environment.github() else params.release.mode


def push_to_main(name: str, plan: Plan, *, title: str, body: str, attempts: int, root: Path) -> CommitResult:
    """One commit on the tip of origin's main, pushed; made anew when main moved or did not take it."""
    said, tip = "", fetch_main(root, attempts=attempts)
    for attempt in range(attempts):
        if (found := plan(tip)) is None:
            return CommitResult()
        with scratch(name, tip, root) as work:
            made = commit(found.change(work), title=title, body=body, root=work)
        said = git.push(f"{made}:refs/heads/{BRANCH}", root=root)
        tip = fetch_main(root, attempts=attempts) if said else made
        if git.is_ancestor(made, tip, root=root):  # also when it arrived and no answer did
            return CommitResult(commit=made, branch=BRANCH, said=f"pushed to {BRANCH} as {made[:12]}")
        pause(attempt)
    raise CheckFailed(
        f"bump: {BRANCH} did not take the commit in {attempts} attempts: {said}",
        hint="is it protected? set release.mode to pull-request in params.yaml",
    )


def open_pull_request(
    name: str, plan: Plan, *, title: str, body: str, params: config.Params, root: Path
) -> CommitResult:
    """One commit on a branch of the digest's own, as a pull request; what is there of an earlier run is used."""
    tip = fetch_main(root, attempts=params.comment.attempts)
    if (found := plan(tip)) is None:
        return CommitResult()
    branch, forge = f"bump/{name}-{found.of[:12]}", environment.github()
    with scratch(name, tip, root) as work:
        names = found.change(work)
        if forge:
            files = {path: (work / path).read_bytes().decode("utf-8") for path in names}
            given = gitops_pull_request.Proposal(
                name=name, line=found.line, branch=branch, tip=tip, files=files, title=title, body=body
            )
            with Rest(forge.api, forge.repository, forge.token, attempts=params.comment.attempts,
                      timeout_seconds=params.comment.timeout_seconds) as api:  # fmt: skip
                made, number, said = gitops_pull_request.write(api, given, actions=forge, root=root)
            return CommitResult(commit=made, branch=branch, pull_request=number, said=said)
        made = commit(names, title=title, body=body, root=work)
    if said := git.push(f"+{made}:refs/heads/{branch}", root=root):
        raise CheckFailed(f"bump: {branch} was not taken: {said}", hint="git push, with the rights to it")
    url = git.web_url(root)
    where = f"{url}/compare/{BRANCH}...{branch}?expand=1" if url else f"{branch} into {BRANCH}"
    return CommitResult(commit=made, branch=branch, said=f"pushed {branch}; open its pull request by hand: {where}")


def require_author(root: Path) -> None:
    """ConfigError when Git does not know who commits; in a workflow's step, whose Git knows nobody, the bot does."""
    if environment.github() and not git.run("config", "--default", "", "--get", "user.email", root=root):
        git.run("config", "user.name", gitops_pull_request.BOT, root=root)
        git.run("config", "user.email", MAIL, root=root)
    git.require_identity(root)


def fetch_main(root: Path, *, attempts: int) -> str:
    """The tip of origin's main, as it is now; Inconclusive when origin does not answer."""
    said = ""
    for attempt in range(attempts):
        if not (said := git.fetch(BRANCH, root=root)):
            return git.commit(f"origin/{BRANCH}", root=root)
        pause(attempt)
    raise Inconclusive(
        f"bump: origin did not answer in {attempts} attempts: {said}", hint="nothing was changed; run it again"
    )


def pause(attempt: int) -> None:
    """Longer each time, and by chance: two that race must not meet again."""
    time.sleep(random.uniform(0.5, 1.0) * min(0.1 * 2**attempt, 5.0))  # noqa: S311 - no secret


def scratch(env: str, tip: str, root: Path) -> AbstractContextManager[Path]:
    """A checkout of `tip` beside the working tree."""
    return git.worktree(tip, environment.cache_home(root) / f"bump-{env}", root=root)


def change(new: ledger.Line, root: Path) -> list[str]:
    """Write the line, and the digest where there is an image; the names of the changed files."""
    changed = [ledger.append(new, root)]
    if new.image:
        changed.append(
            kustomization.write_digest(kustomization.path(new.env, root), "serve", new.image.rpartition("@")[2])
        )
    return [path.relative_to(root).as_posix() for path in changed]


def commit(names: list[str], *, title: str, body: str, root: Path) -> str:
    """Those files as one commit of the checkout at `root`; its hash."""
    git.run("add", "--", *names, root=root)
    said = [word for part in (title, body) if part for word in ("-m", part)]
    git.run("commit", "-q", *said, "--", *names, root=root)
    return git.commit(root=root)


MAX_REASON = 2000
"""Characters of a reason or of an AnalysisRun's words that are kept."""


def starting_tip(params: config.Params, *, push: bool, root: Path) -> str | None:
    """The tip of main as it is now, where a change will be pushed; None for the working tree, which must be clean."""
    if push:
        return gitops_commit.fetch_main(root, attempts=params.comment.attempts)
    git.require_identity(root)
    git.require_clean(root, leave="releases/")
    return None


def ledger_at(env: str, tip: str | None, root: Path) -> list[ledger.Line]:
    """The ledger at `tip`, or the working tree's."""
    return ledger.read_at(env, tip, root) if tip else ledger.read(env, root)


def write_step_summary(said: str) -> str:
    """Also on the run's page, in a workflow."""
    if summary := environment.step_summary():
        with summary.open("a", encoding="utf-8") as file:
            file.write(f"{escape(said, 1000)}\n")
    return said
