"""A bare remote with an overlay and a ledger, and clones of it that people and workflows push from."""

from __future__ import annotations

from pathlib import Path

from slipway.cluster import kustomization
from slipway.core import config, git, ledger
from slipway.delivery import gitops_commit
from support.committed_project import begin
from support.sample_ledger import line

IMAGE = "registry.example.org/bikes"
ZERO = f"sha256:{'0' * 64}"
OVERLAY = """\
# {env}: the last three lines are written by machines
namespace: bikes-{env}
resources: [../../base]
images:
  - name: serve # the one
    newName: registry.example.org/bikes
    digest: {zero}
"""


def remote(folder: Path) -> tuple[Path, Path]:
    """The bare repository and a first clone, whose main is pushed."""
    bare, work = folder / "remote.git", folder / "work"
    work.mkdir(parents=True)
    begin(work)
    for env in ledger.ENVIRONMENTS:
        file = kustomization.path(env, work)
        file.parent.mkdir(parents=True)
        file.write_text(OVERLAY.format(env=env, zero=ZERO))
    (work / ".gitignore").write_text(".slipway/\n")
    save(work, "A project")
    git.run("init", "-q", "--bare", "-b", "main", str(bare), root=folder)
    git.run("remote", "add", "origin", str(bare), root=work)
    git.run("push", "-q", "-u", "origin", "main", root=work)
    return bare, work


def clone(bare: Path, folder: Path) -> Path:
    git.run("clone", "-q", str(bare), str(folder), root=bare)
    begin(folder)
    return folder


def save(work: Path, title: str) -> str:
    git.run("add", "-A", root=work)
    git.run("commit", "-q", "--allow-empty", "-m", title, root=work)
    return git.commit_hash(root=work)


def advance(work: Path, title: str = "A change") -> str:
    """Push a commit to main, as another person would."""
    save(work, title)
    git.run("pull", "-q", "--rebase", "origin", "main", root=work)
    git.run("push", "-q", "origin", "HEAD:main", root=work)
    return git.commit_hash(root=work)


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def maker(
    number: int, *, env: str = "staging", seen: list[str] | None = None, **changes: object
) -> gitops_commit.MakeLine:
    """A function that makes the line of a release with the image of that digest; `seen` collects the tips it was called with."""

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        if seen is not None:
            seen.append(tip)
        before = lines[-1].identity if lines else None
        values = {"image": f"{IMAGE}@{digest(number)}", "commit": tip, "supersedes": before} | changes
        return line(number, env=env, **values)

    return make


def of(params: config.Params, mode: str = "direct", attempts: int = 3) -> config.Params:
    release = params.release.model_copy(update={"mode": mode})
    comment = params.comment.model_copy(update={"attempts": attempts, "timeout_seconds": 2.0})
    return params.model_copy(update={"release": release, "comment": comment})
