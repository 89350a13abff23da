"""`release`: what was packaged becomes staging's newest ledger line, in one commit; never backwards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slipway import config, files, git, ledger
from slipway.errors import DataError, Refused

VERDICTS = ("export", "evaluate", "prove", "judge", "package")


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


def refuse(new: ledger.Line, lines: list[ledger.Line], *, root: Path) -> None:
    """Refused when a verdict is missing or no pass, or the source commit is older than one already released."""
    for chapter in VERDICTS:
        word = new.verdicts.get(chapter)
        if word != "pass":
            raise Refused(
                f"release: the verdict of {chapter} is {word or 'missing'}, limit: pass",
                hint=f"slipway {chapter}",
            )
    forward(new.commit, lines, chapter="release", root=root)


def forward(commit: str, lines: list[ledger.Line], *, chapter: str, root: Path) -> None:
    """Refused when `commit` is older than, or beside, one that the environment of `lines` already ran."""
    for old in lines:
        if not git.contains(commit, old.commit, root=root):
            raise Refused(
                f"{chapter}: commit {commit[:12]} is no descendant of {old.commit[:12]}, which {old.env} already ran",
                hint="release from the tip of main",
            )


def verdicts(root: Path) -> dict[str, str]:
    """The words of the verdicts in reports/, by chapter."""
    found = {}
    for chapter in VERDICTS:
        path = root / "reports" / f"{chapter}.json"
        if path.exists():
            found[chapter] = str(files.read_json(path)["verdict"])
    return found


def same_bytes(root: Path) -> dict[str, Any]:
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


def proven(root: Path) -> None:
    """DataError unless reports/prove.json is about HEAD's files, the ledgers aside: another commit's lock proves nothing."""
    commit = str(files.read_json(root / "reports/prove.json", hint="slipway prove")["inputs"].get("commit"))
    changed = git.output("diff", "--name-only", commit, "HEAD", "--", ".", ":(exclude)releases", root=root).splitlines()
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
    """Append and commit; the seam where the overlay's digest is bumped in the same commit. Returns the commit."""
    changed = [ledger.append(new, root)]
    names = [path.relative_to(root).as_posix() for path in changed]
    git.output("add", "--", *names, root=root)
    git.output("commit", "-q", "-m", title, "--", *names, root=root)
    return git.commit(root=root)


def run(_: config.Params, *, root: Path = Path()) -> str:
    """reports/package.json → a line in releases/staging.jsonl and its commit; nothing when staging has it already."""
    root = root.resolve()
    git.identity(root)
    git.clean(root, leave="releases/")
    bento, lines = same_bytes(root), ledger.read("staging", root)
    before = ledger.newest(lines)
    if before and before.bento_sha256 == bento["bento_sha256"]:
        return f"staging already has {before.bento}: nothing to release"
    proven(root)
    lock = files.sha256(root / "dvc.lock")
    hashes = {"lock_sha256": lock, "data_sha256": files.sha256(root / "data/table.parquet")}
    new = line(env="staging", at=git.now(), bento=bento, commit=git.commit(root=root), before=before,
               metrics=files.read_json(root / "reports/metrics.json"), verdicts=verdicts(root),
               run=tracked(lock, root), hashes=hashes, pull_request=git.pull_request(root))  # fmt: skip
    refuse(new, lines, root=root)
    write(new, title=f"Release {new.bento} to staging", root=root)
    return f"staging ← {new.bento}"
