"""The trail: what is found in Git, the registry, the stores and the caches on the way from an image back to the data."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slipway.cluster import kustomization
from slipway.core import base_limits, dvc, environment, files, git, ledger
from slipway.errors import ConfigError, DataError, Inconclusive
from slipway.lineage.links import Absent, Facts, Invalid, Lock, Made, Pod, digest
from slipway.packaging import package, registry
from slipway.pipeline import track

MODEL, TABLE = "models/model.onnx", "data/table.parquet"


@dataclass(frozen=True, kw_only=True)
class Known:
    """A ledger with its history: the lines now, for each the commit that added it (None: not committed), what is wrong."""

    lines: list[ledger.Line]
    entered: list[str | None]
    wrong: str


@dataclass(frozen=True, kw_only=True)
class Start:
    """Where a walk begins: the image (None on this machine), its pod, and the number of the ledger line to go by."""

    env: str
    image: str | None
    pod: Pod | None
    known: Known
    number: int | None


def read(env: str, root: Path) -> Known:
    """The ledger of `env`; it only ever grows, so each commit's is the beginning of the next one's."""
    name = ledger.path(env).as_posix()
    commits = git.run("log", "--first-parent", "--reverse", "--format=%H", "HEAD", "--", name, root=root).split()
    texts: list[tuple[str | None, str]] = [(commit, git.file_at(commit, name, root=root) or "") for commit in commits]
    try:
        texts.append((None, ledger.read_text(ledger.path(env, root))))
        return history(texts, where=name)
    except DataError as error:
        return Known(lines=[], entered=[], wrong=str(error))


def history(texts: list[tuple[str | None, str]], *, where: str) -> Known:
    """What (commit, text) of a ledger tell, oldest first; the last is the working tree's. DataError when that is none."""
    before, wrong = "", ""
    entered: list[str | None] = []
    for commit, text in texts:
        if not text.startswith(before) and not wrong:
            who = f"commit {commit[:12]}" if commit else "the working tree"
            wrong = f"{who} changed what was there: {_grown(before, text, where)}"
        count = text.count("\n")
        entered = (entered + [commit] * count)[:count]
        before = text
    try:
        return Known(lines=ledger.parse(before, where=where), entered=entered, wrong=wrong)
    except DataError as error:
        raise DataError(wrong or str(error), hint=error.hint) from None


def _grown(before: str, after: str, where: str) -> str:
    try:
        ledger.added_lines(before, after, where)
    except DataError as error:
        return str(error)
    return where


def number(known: Known, image: str) -> int | None:
    """The newest line that holds an image, by its digest."""
    found = [n for n, line in enumerate(known.lines) if line.image and digest(line.image) == digest(image)]
    return found[-1] if found else None


def facts(start: Start, *, root: Path) -> Facts:
    """All that can be found, each part by itself: what is out of reach hides nothing else."""
    env, known = start.env, start.known
    line = None if start.number is None else known.lines[start.number]
    entered = None if start.number is None else known.entered[start.number]
    return Facts(
        env=env,
        image=start.image,
        pod=start.pod,
        line=line,
        newest=start.number == len(known.lines) - 1,
        entered=entered,
        then=pinned(env, entered, root),
        now=pinned(env, "HEAD", root),
        history=known.wrong,
        made=collect(line, entered, root) if line else None,
    )


def pinned(env: str, revision: str | None, root: Path) -> str | None:
    """What an overlay pins at a revision; None when there is none, or it is no overlay."""
    try:
        found = kustomization.pinned_at(env, revision, root) if revision else None
    except ConfigError:
        return None
    return found.image if found else None


def collect(line: ledger.Line, entered: str | None, root: Path) -> Made:
    """What is found of what a ledger line speaks of."""
    commit = source(line.commit, entered, root)
    here = isinstance(commit, str)
    lock = at(line.commit, root) if here else Absent("its commit is not here")
    return Made(
        labels=_labels(line),
        bento=_bento(line, root),
        run=_run(line, root),
        lock=lock,
        model=cached(lock, MODEL, root),
        table=cached(lock, TABLE, root),
        sources=_sources(line.commit, root) if here else {},
        commit=commit,
        pull_request=git.pull_request(root, line.commit) if here else None,
    )


def _labels(line: ledger.Line) -> Mapping[str, str] | Absent | Invalid:
    if line.image is None:
        return Absent("no image on this machine")
    try:
        return registry.labels(line.image)
    except DataError as error:
        return Invalid(str(error))
    except (ConfigError, Inconclusive) as error:
        return Absent(str(error))


def _bento(line: ledger.Line, root: Path) -> Mapping[str, str] | Absent:
    name, _, version = line.bento.partition(":")
    folder = environment.cache_home(root) / "bentoml" / "bentos" / name / version
    if not re.fullmatch(r"\w[\w.-]*:[0-9a-f]{12}", line.bento, re.ASCII) or not folder.is_dir():
        return Absent(f"{line.bento} is not in this machine's store")
    model = folder / "src" / MODEL
    return {"bento_sha256": package.sha256(folder), "model_sha256": files.sha256(model) if model.is_file() else "none"}


def _run(line: ledger.Line, root: Path) -> Mapping[str, str] | Absent | Invalid:
    if line.mlflow_run is None:
        return Absent("it was not tracked where it was released")
    try:
        found = track.tags(line.mlflow_run, root=root)
    except ConfigError as error:
        return Absent(str(error))
    if found is not None:
        return found
    if environment.tracking_uri(root).startswith("sqlite:"):
        return Absent(f"run {line.mlflow_run[:8]} is not in this machine's MLflow")
    return Invalid(f"the MLflow server has no run {line.mlflow_run[:8]}, or it was deleted")


def at(commit: str, root: Path) -> Lock | Invalid:
    """dvc.lock at a commit."""
    text = git.file_at(commit, dvc.LOCK.name, root=root)
    if text is None:
        return Invalid(f"commit {commit[:12]} has no dvc.lock")
    try:
        stages = dvc.lock_stages(text)
        given: Any = stages["ingest"]["params"]["params.yaml"]["ingest"]["sources"]
        sources = {str(name): str(sha) for name, sha in given.items()}
    except (LookupError, TypeError, AttributeError):
        return Invalid(f"dvc.lock at commit {commit[:12]} is no lock with a stage ingest")
    return Lock(sha256=hashlib.sha256(text.encode()).hexdigest(), outs=dvc.output_hashes(stages), sources=sources)


def cached(lock: Lock | Absent | Invalid, name: str, root: Path) -> str | Absent | Invalid:
    """SHA-256 of an output of the lock, whose bytes DVC's cache has under their MD5."""
    if not isinstance(lock, Lock):
        return Absent("there is no lock to go by")
    if (md5 := lock.outs.get(name)) is None:
        return Invalid(f"dvc.lock has no output {name}")
    path = dvc.cache_folder(root) / "files" / "md5" / md5[:2] / md5[2:]
    if not path.is_file():
        return Absent(f"{name}, md5 {md5[:12]}, is not in DVC's cache: `dvc fetch`")
    raw = path.read_bytes()
    found = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if found != md5:
        return Invalid(f"{name} in DVC's cache is of md5 {found[:12]}, dvc.lock says {md5[:12]}")
    return hashlib.sha256(raw).hexdigest()


def _sources(commit: str, root: Path) -> Mapping[str, str]:
    try:
        found = base_limits.params_at(commit, root=root)["ingest"]["sources"]
        return {str(name): str(sha) for name, sha in found.items()}
    except (ConfigError, LookupError, TypeError, AttributeError):
        return {}


def source(commit: str, entered: str | None, root: Path) -> str | Absent | Invalid:
    """The source commit, when it is on main's first-parent history and no later than the ledger line."""
    try:
        full = git.commit(commit, root=root)
    except ConfigError:
        if git.run("rev-parse", "--is-shallow-repository", root=root) == "true":
            return Absent(f"commit {commit[:12]} is not in this shallow clone: git fetch --unshallow")
        return Invalid(f"commit {commit[:12]} is not in this repository")
    if full != commit:
        return Invalid(f"{commit[:50]!r} is no full hash of a commit")
    if commit not in git.run("rev-list", "--first-parent", _main(root), root=root).split():
        return Invalid(f"commit {commit[:12]} is not in main's own history, only beside it")
    if entered and not git.is_ancestor(commit, entered, root=root):
        return Invalid(f"commit {commit[:12]} is not before {entered[:12]}, which added the ledger line")
    return commit


def _main(root: Path) -> str:
    """Main as the remote has it, else here; HEAD in a clone that knows neither."""
    try:
        return git.base_commit(None, root=root)
    except ConfigError:
        return "HEAD"
