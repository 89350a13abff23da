"""`release`: what was packaged becomes staging's newest ledger line, in one commit; never backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.cluster import kustomization
from slipway.core import config, files, git, ledger
from slipway.delivery import gitops_commit
from slipway.delivery.policy_rules import REQUIRED_VERDICTS, require_newer_commit
from slipway.errors import CheckFailed, DataError

IMAGE = Path("reports/image.json")
RECIPE = ("Dockerfile", ".dockerignore", "requirements/serve.lock")
"""What an image is made of beside the bento."""
GATE = Path("k8s/components/gate/kustomization.yaml")
WRITTEN = ("--", ".", ":(exclude)releases", ":(exclude)k8s/overlays", ":(exclude)k8s/components/gate")
"""Every file but those that machines write."""
PROSE = ("*.md", ".github/**/*.md", "docs/**", "dev/docs/**", "dev/figures/**", "LICENSE")
ASIDE = tuple(f":(exclude,glob){name}" for name in ("releases/**", "k8s/overlays/**", "k8s/components/gate/**", *PROSE))
"""What machines write, and prose: a commit of nothing else brings nothing to release."""


def line(
    *, env: str, at: datetime, bento: Mapping[str, Any], commit: str, before: ledger.Line | None,
    metrics: Mapping[str, Any], verdicts: Mapping[str, str], run: str | None, hashes: Mapping[str, str],
    pull_request: int | None = None,
) -> ledger.Line:  # fmt: skip
    """The new line of `env`; a pure function of what is known at the moment `at` (UTC)."""
    return ledger.Line.model_validate({
        "at": at, "env": env, "action": "release", "image": bento.get("image"), "bento": bento["bento"],
        "bento_sha256": bento["bento_sha256"], "model_sha256": bento["model_sha256"], **hashes, "commit": commit,
        "pull_request": pull_request, "mlflow_run": run, "verdicts": dict(verdicts), "evidence": None,
        "metrics": {k: v for k, v in metrics.items() if isinstance(v, float)},
        "supersedes": before.identity if before else None,
    })  # fmt: skip


def require_verdicts_and_newer(new: ledger.Line, lines: list[ledger.Line], *, root: Path) -> None:
    """CheckFailed when a verdict is missing or no pass, or the source commit is older than one already released."""
    for chapter in REQUIRED_VERDICTS:
        word = new.verdicts.get(chapter)
        if word != "pass":
            raise CheckFailed(
                f"release: the verdict of {chapter} is {word or 'missing'}, limit: pass",
                hint=f"slipway {chapter}",
            )
    require_newer_commit(new.commit, lines, chapter="release", root=root)


def verdicts(root: Path) -> dict[str, str]:
    """The words of the verdicts in reports/, by chapter."""
    found = {}
    for chapter in REQUIRED_VERDICTS:
        path = root / "reports" / f"{chapter}.json"
        if path.exists():
            found[chapter] = str(files.read_json(path)["verdict"])
    return found


def judged_bento(root: Path) -> dict[str, Any]:
    """The bento of reports/package.json; DataError unless its model and the judged one are those of models/."""
    bento: dict[str, Any] = files.read_json(root / "reports/package.json", hint="slipway package")["notes"]
    now = files.sha256(root / "models/model.onnx")
    judged = files.read_json(root / "reports/judge.json", hint="slipway judge")["inputs"]["challenger"]
    for what, sha, verb in (("packaged", bento["model_sha256"], "package"), ("judged", judged, "judge")):
        if sha != now:
            raise DataError(
                f"release: the {what} model is {sha[:12]}, models/model.onnx is {now[:12]}",
                hint=f"slipway {verb}",
            )
    return bento


def require_proof(root: Path) -> None:
    """DataError unless reports/prove.json is about HEAD's files, the ledgers aside: another commit's lock proves nothing."""
    commit = str(files.read_json(root / "reports/prove.json", hint="slipway prove")["inputs"].get("commit"))
    changed = git.run("diff", "--name-only", commit, "HEAD", *WRITTEN, root=root).splitlines()
    if changed:
        raise DataError(
            f"release: the proof is of commit {commit[:12]}, since when {len(changed)} files changed: {changed[0]} …",
            hint="slipway prove",
        )


def tracked(lock: str, root: Path) -> str | None:
    """The MLflow run of this dvc.lock as `track` wrote it down; None when it was not tracked here."""
    path = root / "reports/track.json"
    record = files.read_json(path) if path.exists() else {}
    return str(record["run"]) if record.get("lock_sha256") == lock else None


def write(new: ledger.Line, *, title: str, root: Path) -> str:
    """Append and commit here, the overlay's digest in the same commit. Returns the commit."""
    return gitops_commit.commit(gitops_commit.change(new, root), title=title, body="", root=root)


def commits_with_same_source(root: Path) -> set[str]:
    """HEAD and the commits of main before it, back to the newest that changes more than prose or what machines write."""
    last = git.run("log", "-1", "--first-parent", "--format=%H", "HEAD", "--", ".", *ASIDE, root=root)
    since = git.run("rev-list", "--first-parent", f"{last}..HEAD", root=root).split() if last else []
    return {last or git.commit(root=root), *since}


def reason_to_skip(root: Path) -> str | None:
    """Why there is nothing to build and release at HEAD; None when there is. Cheap: it looks at files of Git alone."""
    file = kustomization.path("staging", root)
    name = kustomization.read(file.read_text(encoding="utf-8")).new_name if file.exists() else ""
    if name.partition("/")[0].partition(":")[0] in ("", "localhost"):
        where = f"staging's overlay takes images from {name}" if name else "staging has no overlay"
        return (
            f"skipped: {where}, so no registry is configured; set newName in {kustomization.path('staging').as_posix()}"
        )
    return already_released(ledger.read("staging", root), root)


def already_released(lines: Sequence[ledger.Line], root: Path) -> str | None:
    """What staging already had of HEAD's source, as a sentence; None when it never had it.

    So nothing that was rolled back comes again by itself, neither by the rollback's own push: that takes newer source.
    """
    ours = commits_with_same_source(root)
    if (found := next((old for old in reversed(lines) if old.commit in ours), None)) is None:
        return None
    if found is not lines[-1] and found.identity != lines[-1].identity:
        return f"staging had {found.bento} of this source already, and runs {lines[-1].bento} now: nothing to release"
    return f"staging already has {found.bento}: nothing to release"


def pushed_image(bento: Mapping[str, Any], root: Path) -> tuple[str | None, str]:
    """The image of reports/image.json and the commit it was built of; None when it is of another bento, or was never built."""
    path = root / IMAGE
    record = files.read_json(path, hint="slipway image") if path.exists() else {}
    ours = record.get("bento_sha256") == bento["bento_sha256"]
    return (str(record["image"]), str(record.get("commit"))) if ours else (None, "")


def require_image_of_commit(image: str | None, built: str, commit: str) -> None:
    """DataError when the image was built of another commit than is released: its labels would contradict the line."""
    if image and built != commit:
        raise DataError(f"release: the image is of commit {built[:12]}, limit: {commit[:12]}", hint="slipway image")


def is_released(before: ledger.Line | None, bento: Mapping[str, Any], *, root: Path) -> bool:
    """Whether the environment has it already: the same bento, and built by the same recipe."""
    if before is None or before.bento_sha256 != bento["bento_sha256"]:
        return False
    recipes = [[git.file_at(at, name, root=root) for name in RECIPE] for at in (before.commit, "HEAD")]
    return recipes[0] == recipes[1]


def require_merged(commit: str, tip: str, *, root: Path) -> None:
    """CheckFailed when the commit is not on the branch that the line goes to: what was never merged is not released."""
    if not git.is_ancestor(commit, tip, root=root):
        raise CheckFailed(
            f"release: commit {commit[:12]} is not on main, whose tip is {tip[:12]}", hint="merge it first"
        )


def require_own_registry(image: str | None, tip: str, *, root: Path) -> None:
    """CheckFailed when the image is not of the repository that staging's overlay at `tip` takes images from."""
    pinned = kustomization.pinned_at("staging", tip, root) if image else None
    if image and (pinned is None or image.rpartition("@")[0] != pinned.new_name):
        known = pinned.new_name if pinned else "none: there is no overlay"
        raise CheckFailed(f"release: the image is {image}, limit: one of {known}", hint="slipway image")


def run(params: config.Params, *, push: bool = False, root: Path = Path()) -> str:
    """reports/package.json → a line in releases/staging.jsonl, the image's digest in staging's overlay, their commit.

    Nothing when staging has it already. Without an image the target is this machine, which cannot be pushed to.
    """
    root = root.resolve()
    gitops_commit.require_author(root)
    git.require_clean(root, leave="releases/")
    bento, commit = judged_bento(root), git.commit(root=root)
    bento["image"], built = pushed_image(bento, root)
    if push and bento["image"] is None:
        raise DataError(f"release: {bento['bento']} has no image, so no cluster can run it", hint="slipway image")
    lock = files.sha256(root / "dvc.lock")
    hashes = {"lock_sha256": lock, "data_sha256": files.sha256(root / "data/table.parquet")}
    why: list[str] = []

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        before = ledger.newest(lines)
        if before and is_released(before, bento, root=root):
            why[:] = [f"staging already has {before.bento}: nothing to release"]
        elif said := already_released(lines, root):
            why[:] = [said]
        if why:
            return None
        require_proof(root)
        new = line(env="staging", at=git.now(), bento=bento, commit=commit, before=before,
                   metrics=files.read_json(root / "reports/metrics.json"), verdicts=verdicts(root),
                   run=tracked(lock, root), hashes=hashes, pull_request=git.pull_request(root))  # fmt: skip
        require_verdicts_and_newer(new, lines, root=root)
        require_merged(commit, tip, root=root)
        require_image_of_commit(new.image, built, commit)
        require_own_registry(new.image, tip, root=root)
        return new

    done = gitops_commit.write(
        "staging", make, title=f"Release {bento['bento']} to staging", push=push, params=params, root=root
    )
    if done.commit is None:
        return why[0]
    return f"staging ← {bento['bento']}" + (f"; {done.said}" if done.said else "")


def gate(params: config.Params, *, push: bool = False, root: Path = Path()) -> str:
    """The gate's image, built when what it is made of changed; its pin moves in a commit or pull request of its own."""
    from slipway.packaging import image

    root = root.resolve()
    gitops_commit.require_author(root)
    said = image.run(params, gate=True, root=root)
    digest = kustomization.read((root / GATE).read_text(encoding="utf-8"), "gate", where=GATE.as_posix()).digest
    if GATE.as_posix() not in git.uncommitted_files(root):
        return said
    git.run("checkout", "HEAD", "--", GATE.as_posix(), root=root)  # or a release would find a dirty tree
    done = gitops_commit.pin(
        GATE, "gate", digest, title=f"Pin the gate {digest[7:19]}", push=push, params=params, root=root
    )
    return f"gate ← {digest}; {done.said or 'committed'}"
