"""`release`: write the packaged bento as staging's newest ledger line, in one commit; never backwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway.cluster import kustomization
from slipway.core import config, files, git, ledger
from slipway.delivery import gate_records, gitops_commit
from slipway.delivery.policy_rules import REQUIRED_VERDICTS, require_newer_commit
from slipway.errors import CheckFailed, DataError
from slipway.github import step_summary

IMAGE = Path("reports/image.json")
RECIPE = ("Dockerfile", ".dockerignore", "requirements/serve.lock")
"""Files, next to the bento, that an image is built from."""
WRITTEN = (".", ":(exclude)releases", ":(exclude)k8s/overlays", ":(exclude)k8s/components/gate")
"""Pathspecs of all files but those that machines write."""
PROSE = ("*.md", ".github/**/*.md", "docs/**", "dev/docs/**", "dev/figures/**", "LICENSE")
ASIDE = tuple(f":(exclude,glob){name}" for name in ("releases/**", "k8s/overlays/**", "k8s/components/gate/**", *PROSE))
"""Excludes what machines write, and prose: a commit of nothing else gives nothing to release."""


def make_line(
    *, env: str, at: datetime, bento: Mapping[str, Any], commit: str, before: ledger.Line | None,
    metrics: Mapping[str, Any], verdicts: Mapping[str, str], run: str | None, hashes: Mapping[str, str],
    pull_request: int | None = None, restart_at: str | None = None,
) -> ledger.Line:  # fmt: skip
    """The new line of `env`, at the time `at` (UTC)."""
    return ledger.Line.model_validate({
        "at": at, "env": env, "action": "release", "image": bento.get("image"), "bento": bento["bento"],
        "bento_sha256": bento["bento_sha256"], "model_sha256": bento["model_sha256"], **hashes, "commit": commit,
        "pull_request": pull_request, "mlflow_run": run, "verdicts": dict(verdicts), "evidence": None,
        "metrics": {k: v for k, v in metrics.items() if isinstance(v, float)},
        "supersedes": before.identity if before else None, "restart_at": restart_at,
    })  # fmt: skip


def require_verdicts_and_newer(new: ledger.Line, lines: list[ledger.Line], *, root: Path) -> None:
    """CheckFailed when a required verdict is not pass, or the source commit is not newer than all released ones."""
    for chapter in REQUIRED_VERDICTS:
        word = new.verdicts.get(chapter)
        if word != "pass":
            raise CheckFailed(
                f"release: the verdict of {chapter} is {word or 'missing'}",
                expected="pass",
                value=word,
                hint=f"slipway {chapter}",
            )
    require_newer_commit(new.commit, lines, chapter="release", root=root)


def read_verdicts(root: Path) -> dict[str, str]:
    """The required verdicts in reports/, by check; a missing one is left out."""
    words = {}
    for chapter in REQUIRED_VERDICTS:
        path = root / "reports" / f"{chapter}.json"
        if path.exists():
            words[chapter] = str(files.read_json(path, "verdict", hint=f"slipway {chapter}"))
    return words


def read_restart(root: Path) -> str | None:
    """The commit of production with which reports/judge.json was not compared, because of `judge.restart_at`; else None."""
    notes = files.read_json(root / "reports/judge.json", hint="slipway judge").get("notes") or {}
    return notes.get("restart_at")


def judged_bento(root: Path) -> dict[str, Any]:
    """The notes of reports/package.json; DataError unless the packaged and the judged model are that of models/."""
    bento: dict[str, Any] = files.read_json(root / "reports/package.json", "notes", kind=dict, hint="slipway package")
    model = files.sha256(root / "models/model.onnx")
    judged = files.read_json(root / "reports/judge.json", "inputs", "challenger", kind=str, hint="slipway judge")
    with files.parsing(root / "reports/package.json", hint="slipway package"):
        packaged = str({key: bento[key] for key in ("bento", "bento_sha256", "model_sha256")}["model_sha256"])
    for adjective, sha, verb in (("packaged", packaged, "package"), ("judged", judged, "judge")):
        if sha != model:
            raise DataError(
                f"release: the {adjective} model is {sha[:12]}, but models/model.onnx is {model[:12]}",
                hint=f"slipway {verb}",
            )
    return bento


def require_proof(root: Path) -> None:
    """DataError unless reports/prove.json is about HEAD's files; what machines write may differ."""
    commit = str(files.read_json(root / "reports/prove.json", "inputs", kind=dict, hint="slipway prove").get("commit"))
    changed = git.changed_files(commit, "HEAD", *WRITTEN, root=root)
    if changed:
        raise DataError(
            f"release: reports/prove.json is about commit {commit[:12]}, and other files changed since "
            f"({len(changed)}, such as {changed[0]})",
            hint="slipway prove",
        )


def mlflow_run(lock: str, root: Path) -> str | None:
    """The MLflow run that `track` recorded for this dvc.lock (by its SHA-256); None when it was not tracked here."""
    path = root / "reports/track.json"
    record = files.read_json(path, kind=dict, hint="slipway track") if path.exists() else {}
    return str(record.get("run")) if record.get("lock_sha256") == lock else None


def commits_with_same_source(root: Path) -> set[str]:
    """HEAD and its first parents, back to the newest that changes more than prose or files that machines write."""
    last = [commit.sha for commit in git.commits("HEAD", ".", *ASIDE, root=root, at_most=1)]
    since = [commit.sha for sha in last for commit in git.commits(f"{sha}..HEAD", root=root)]
    return {*(last or [git.commit_hash(root=root)]), *since}


def reason_to_skip(root: Path) -> str | None:
    """The reason to build and release nothing at HEAD; None when there is something. Reads only files and Git, so it is cheap."""
    file = kustomization.path("staging", root)
    name = kustomization.read(file.read_text(encoding="utf-8")).new_name if file.exists() else ""
    if name.partition("/")[0].partition(":")[0] in ("", "localhost"):
        source = f"staging's overlay takes images from {name}" if name else "staging has no overlay"
        overlay = kustomization.path("staging").as_posix()
        return f"skipped, because no registry is configured: {source}. Set newName in {overlay} to release images"
    return already_released(ledger.read_at("staging", "HEAD", root), root)


def already_released(lines: Sequence[ledger.Line], root: Path) -> str | None:
    """A message when staging has already run HEAD's source, else None.

    So a bento that was rolled back is not released again by itself, for example by the rollback's own push.
    """
    commits = commits_with_same_source(root)
    if (released := next((old for old in reversed(lines) if old.commit in commits), None)) is None:
        return None
    if released is not lines[-1] and released.identity != lines[-1].identity:
        return (
            f"staging already ran {released.bento} of this source, and runs {lines[-1].bento} now: nothing to release"
        )
    return f"staging already has {released.bento}: nothing to release"


def pushed_image(bento: Mapping[str, Any], root: Path) -> tuple[str | None, str]:
    """The image of reports/image.json and the commit it was built from; None and "" when it does not hold `bento`."""
    path = root / IMAGE
    record = files.read_json(path, kind=dict, hint="slipway image") if path.exists() else {}
    if record.get("bento_sha256") != bento["bento_sha256"]:
        return None, ""
    return files.read_json(path, "image", kind=str, hint="slipway image"), str(record.get("commit"))


def require_image_of_commit(image: str | None, image_commit: str, commit: str) -> None:
    """DataError when the image was built from another commit than the released one: its labels would contradict the line."""
    if image and image_commit != commit:
        raise DataError(
            f"release: the image was built from commit {image_commit[:12]}",
            expected=commit[:12],
            value=image_commit,
            hint="slipway image",
        )


def is_released(before: ledger.Line | None, bento: Mapping[str, Any], *, root: Path) -> bool:
    """Return True if the line `before` has the same bento, and its image was built from the same RECIPE."""
    if before is None or before.bento_sha256 != bento["bento_sha256"]:
        return False
    recipes = [[git.file_at(at, name, root=root) for name in RECIPE] for at in (before.commit, "HEAD")]
    return recipes[0] == recipes[1]


def require_merged(commit: str, tip: str, *, root: Path) -> None:
    """CheckFailed when the commit is not on main, whose tip is `tip`: only merged commits are released."""
    if not git.is_ancestor(commit, tip, root=root):
        raise CheckFailed(
            f"release: commit {commit[:12]} is not on main, whose tip is {tip[:12]}", hint="merge it into main first"
        )


def require_own_registry(image: str | None, tip: str, *, root: Path) -> None:
    """CheckFailed when the image is not from the repository that staging's overlay at `tip` takes images from."""
    pinned = kustomization.pinned_at("staging", tip, root) if image else None
    if image and (pinned is None or image.rpartition("@")[0] != pinned.new_name):
        repository = (
            f"an image of {pinned.new_name}" if pinned else "an image of staging's overlay, which does not exist"
        )
        raise CheckFailed(f"release: the image is {image}", expected=repository, value=image, hint="slipway image")


def run(params: config.Params, *, push: bool = False, root: Path = Path()) -> str:
    """Write reports/package.json as a line of releases/staging.jsonl and a digest in staging's overlay, in one commit.

    Nothing is written when staging has it already. Without an image only this machine can run it, so nothing is pushed.
    """
    root = root.resolve()
    gitops_commit.require_author(root)
    git.require_clean(root)
    bento, commit = judged_bento(root), git.commit_hash(root=root)
    bento["image"], image_commit = pushed_image(bento, root)
    if push and bento["image"] is None:
        raise DataError(f"release: {bento['bento']} has no image, so no cluster can run it", hint="slipway image")
    lock = files.sha256(root / "dvc.lock")
    hashes = {"lock_sha256": lock, "data_sha256": files.sha256(root / "data/table.parquet")}
    reasons: list[str] = []
    made: list[ledger.Line] = []

    def make(tip: str, lines: list[ledger.Line]) -> ledger.Line | None:
        before = ledger.newest_line(lines)
        if before and is_released(before, bento, root=root):
            reasons[:] = [f"staging already has {before.bento}: nothing to release"]
        elif reason := already_released(lines, root):
            reasons[:] = [reason]
        if reasons:
            return None
        require_proof(root)
        new = make_line(env="staging", at=ledger.now(), bento=bento, commit=commit, before=before,
                        metrics=files.read_json(root / "reports/metrics.json", kind=dict), verdicts=read_verdicts(root),
                        run=mlflow_run(lock, root), hashes=hashes, pull_request=git.pull_request_number(root),
                        restart_at=read_restart(root))  # fmt: skip
        require_verdicts_and_newer(new, lines, root=root)
        require_merged(commit, tip, root=root)
        require_image_of_commit(new.image, image_commit, commit)
        require_own_registry(new.image, tip, root=root)
        return new

    result = gitops_commit.commit_line(
        "staging",
        gate_records.collecting(make, made),
        title=f"Release {bento['bento']} to staging",
        push=push,
        params=params,
        root=root,
    )
    if result.commit is None:
        return step_summary.write(reasons[0])
    gate_records.append(made, push=push, root=root)
    sentence = f"{bento['bento']} to staging: {result.message}"
    step_summary.write(f"release of {sentence}")
    return sentence


def gate(params: config.Params, *, push: bool = False, root: Path = Path()) -> str:
    """Build the gate's image when its inputs changed, and pin it in a commit or pull request of its own."""
    from slipway.packaging import image

    root = root.resolve()
    gitops_commit.require_author(root)
    git.require_clean(root)
    name = image.GATE_KUSTOMIZATION.as_posix()
    try:
        message = image.run(params, program=image.GATE, root=root)
        digest = kustomization.read((root / name).read_text(encoding="utf-8"), "gate", where=name).digest
        if name not in git.uncommitted_files(root):
            return message
    finally:
        git.run("checkout", "HEAD", "--", name, root=root)  # or a release would find a dirty tree
    title = f"Pin the gate {digest[7:19]}"
    result = gitops_commit.pin_image(
        image.GATE_KUSTOMIZATION, "gate", digest, title=title, push=push, params=params, root=root
    )
    return step_summary.write(f"load gate's image pinned to {digest[:19]}: {result.message}")
