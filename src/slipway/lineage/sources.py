"""Collect the facts of a chain from Git, the registry, the bento store, MLflow and DVC's cache."""

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
from slipway.lineage.links import Absent, Artifacts, ChainFacts, Invalid, Lock, PodImages, digest
from slipway.packaging import package, registry
from slipway.pipeline import track

MODEL, TABLE = "models/model.onnx", "data/table.parquet"


@dataclass(frozen=True, kw_only=True)
class LedgerHistory:
    """A ledger's lines, for each the commit that added it (None: not committed), and the first fault of its history."""

    lines: list[ledger.Line]
    added_in: list[str | None]
    fault: str


@dataclass(frozen=True, kw_only=True)
class Start:
    """The start of a chain: the image (None for a release to this machine), its pod, and the ledger line's number."""

    env: str
    image: str | None
    pod: PodImages | None
    history: LedgerHistory
    number: int | None


def read_history(env: str, root: Path) -> LedgerHistory:
    """The ledger of `env` at each commit and in the working tree; without lines when it cannot be read."""
    name = ledger.path(env).as_posix()
    commits = git.run("log", "--first-parent", "--reverse", "--format=%H", "HEAD", "--", name, root=root).split()
    texts: list[tuple[str | None, str]] = [(commit, git.file_at(commit, name, root=root) or "") for commit in commits]
    try:
        texts.append((None, ledger.read_text(ledger.path(env, root))))
        return history_of(texts, file=name)
    except DataError as error:
        return LedgerHistory(lines=[], added_in=[], fault=str(error))


def history_of(texts: list[tuple[str | None, str]], *, file: str) -> LedgerHistory:
    """The history of a ledger from its (commit, text), oldest first; the last is the working tree's.

    A ledger only grows: each text must begin with the one before it. DataError when the last text is not a ledger.
    """
    before, fault = "", ""
    added_in: list[str | None] = []
    for commit, text in texts:
        if not text.startswith(before) and not fault:
            author = f"commit {commit[:12]}" if commit else "the working tree"
            fault = f"{author} changed existing lines: {_describe_change(before, text, file)}"
        count = text.count("\n")
        added_in = (added_in + [commit] * count)[:count]
        before = text
    try:
        return LedgerHistory(lines=ledger.parse(before, where=file), added_in=added_in, fault=fault)
    except DataError as error:
        raise DataError(fault or str(error), hint=error.hint) from None


def _describe_change(before: str, after: str, file: str) -> str:
    try:
        ledger.added_lines(before, after, file)
    except DataError as error:
        return str(error)
    return file


def newest_line(history: LedgerHistory, image: str) -> int | None:
    """The number of the newest line that holds an image, compared by digest; None when there is none."""
    numbers = [n for n, line in enumerate(history.lines) if line.image and digest(line.image) == digest(image)]
    return numbers[-1] if numbers else None


def collect_facts(start: Start, *, root: Path) -> ChainFacts:
    """The facts of a chain, each read by itself: one source that is out of reach does not hide another."""
    env, history = start.env, start.history
    line = None if start.number is None else history.lines[start.number]
    added_in = None if start.number is None else history.added_in[start.number]
    return ChainFacts(
        env=env,
        image=start.image,
        pod=start.pod,
        line=line,
        is_newest=start.number == len(history.lines) - 1,
        added_in=added_in,
        pinned_then=pinned_image(env, added_in, root),
        pinned_now=pinned_image(env, "HEAD", root),
        ledger_fault=history.fault,
        artifacts=collect_artifacts(line, added_in, root) if line else None,
    )


def pinned_image(env: str, revision: str | None, root: Path) -> str | None:
    """The image that an overlay pins at a revision; None without a revision, or when the overlay cannot be read."""
    try:
        pin = kustomization.pinned_at(env, revision, root) if revision else None
    except ConfigError:
        return None
    return pin.image if pin else None


def collect_artifacts(line: ledger.Line, added_in: str | None, root: Path) -> Artifacts:
    """Everything that a ledger line refers to, as far as it can be read."""
    commit = source_commit(line.commit, added_in, root)
    is_here = isinstance(commit, str)
    lock = lock_at(line.commit, root) if is_here else Absent("its source commit is not in this clone")
    return Artifacts(
        labels=_labels(line),
        bento=_bento(line, root),
        run=_run(line, root),
        lock=lock,
        model=cached_sha256(lock, MODEL, root),
        table=cached_sha256(lock, TABLE, root),
        sources=_sources(line.commit, root) if is_here else {},
        commit=commit,
        pull_request=git.pull_request_number(root, line.commit) if is_here else None,
    )


def _labels(line: ledger.Line) -> Mapping[str, str] | Absent | Invalid:
    if line.image is None:
        return Absent("the release has no image")
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
        return Absent(f"{line.bento} is not in this machine's bento store")
    model = folder / "src" / MODEL
    return {"bento_sha256": package.sha256(folder), "model_sha256": files.sha256(model) if model.is_file() else "none"}


def _run(line: ledger.Line, root: Path) -> Mapping[str, str] | Absent | Invalid:
    if line.mlflow_run is None:
        return Absent("the release recorded no MLflow run")
    try:
        tags = track.run_tags(line.mlflow_run, root=root)
    except ConfigError as error:
        return Absent(str(error))
    if tags is not None:
        return tags
    if environment.tracking_uri(root).startswith("sqlite:"):
        return Absent(f"run {line.mlflow_run[:8]} is not in this machine's MLflow")
    return Invalid(f"the MLflow server has no run {line.mlflow_run[:8]}, or it was deleted")


def lock_at(commit: str, root: Path) -> Lock | Invalid:
    """The dvc.lock of a commit."""
    text = git.file_at(commit, dvc.LOCK.name, root=root)
    if text is None:
        return Invalid(f"commit {commit[:12]} has no dvc.lock")
    try:
        stages = dvc.lock_stages(text)
        locked: Any = stages["ingest"]["params"]["params.yaml"]["ingest"]["sources"]
        sources = {str(name): str(sha) for name, sha in locked.items()}
    except (LookupError, TypeError, AttributeError):
        return Invalid(f"dvc.lock at commit {commit[:12]} has no stage ingest that can be read")
    return Lock(sha256=hashlib.sha256(text.encode()).hexdigest(), outs=dvc.output_hashes(stages), sources=sources)


def cached_sha256(lock: Lock | Absent | Invalid, name: str, root: Path) -> str | Absent | Invalid:
    """The SHA-256 of an output of the lock, from its bytes in DVC's cache; Invalid when their MD5 is not the lock's."""
    if not isinstance(lock, Lock):
        return Absent("there is no dvc.lock that names its hash")
    if (md5 := lock.outs.get(name)) is None:
        return Invalid(f"dvc.lock has no output {name}")
    path = dvc.cache_path(dvc.cache_folder(root), md5)
    if not path.is_file():
        return Absent(f"{name} (md5 {md5[:12]}) is not in DVC's cache; run `dvc fetch`")
    raw = path.read_bytes()
    actual = hashlib.md5(raw, usedforsecurity=False).hexdigest()
    if actual != md5:
        return Invalid(f"{name} in DVC's cache has md5 {actual[:12]}; expected: {md5[:12]}, from dvc.lock")
    return hashlib.sha256(raw).hexdigest()


def _sources(commit: str, root: Path) -> Mapping[str, str]:
    try:
        in_params = base_limits.params_at(commit, root=root)["ingest"]["sources"]
        return {str(name): str(sha) for name, sha in in_params.items()}
    except (ConfigError, LookupError, TypeError, AttributeError):
        return {}


def source_commit(commit: str, added_in: str | None, root: Path) -> str | Absent | Invalid:
    """The source commit, if it is on main's first-parent history and not after `added_in`, the ledger line's commit."""
    try:
        full = git.commit_hash(commit, root=root)
    except ConfigError:
        if git.run("rev-parse", "--is-shallow-repository", root=root) == "true":
            return Absent(f"commit {commit[:12]} is not in this shallow clone; run `git fetch --unshallow`")
        return Invalid(f"commit {commit[:12]} is not in this repository")
    if full != commit:
        return Invalid(f"{commit[:50]!r} is not the full hash of a commit")
    if commit not in git.run("rev-list", "--first-parent", _main(root), root=root).split():
        return Invalid(f"commit {commit[:12]} is not on main itself (main's first-parent history)")
    if added_in and not git.is_ancestor(commit, added_in, root=root):
        return Invalid(f"commit {commit[:12]} is not older than {added_in[:12]}, which added the ledger line")
    return commit


def _main(root: Path) -> str:
    """The remote's main, else the local one; HEAD in a clone that has neither."""
    try:
        return git.base_commit(None, root=root)
    except ConfigError:
        return "HEAD"
