"""The chain of links from a running pod back to the data, computed from facts that `sources` collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slipway.core import ledger

LABELS = {
    "slipway.bento_sha256": "bento_sha256",
    "slipway.model_sha256": "model_sha256",
    "slipway.lock_sha256": "lock_sha256",
    "slipway.data_sha256": "data_sha256",
    "org.opencontainers.image.revision": "commit",
    "org.opencontainers.image.title": "bento",
}
"""Each label of an image, with the field of the ledger line that must hold the same value."""
TAGS = ("lock_sha256", "model_sha256", "data_sha256")
"""The tags of an MLflow run that must equal the ledger line's fields of the same name."""
FETCH = "run `dvc fetch`, or `make repro` at the line's commit, then `slipway verify` again"
UNKNOWN = "deploy only with `slipway release`, `slipway promote` and `slipway rollback`"
Word = Literal["ok", "broken", "absent"]


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link of the chain: the result of its comparison as a sentence, and the next step when it is broken."""

    name: str
    word: Word
    message: str
    hint: str = ""


@dataclass(frozen=True)
class Absent:
    """The source cannot be read from this machine; `reason` is a sentence."""

    reason: str


@dataclass(frozen=True)
class Invalid:
    """The source was read and is invalid; `reason` is a sentence."""

    reason: str


@dataclass(frozen=True, kw_only=True)
class PodImages:
    """The image that a pod's specification requests, and the one that its container runs."""

    name: str
    requested: str
    running: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """dvc.lock at the source commit: its SHA-256, the MD5 of each output by path, the SHA-256 of each source by name."""

    sha256: str
    outs: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Everything that a ledger line refers to, as far as it can be read.

    `model` and `table` are the SHA-256 of the lock's outputs in DVC's cache. `sources` are those of params.yaml at the commit.
    """

    labels: Mapping[str, str] | Absent | Invalid
    bento: Mapping[str, str] | Absent
    run: Mapping[str, str] | Absent | Invalid
    lock: Lock | Absent | Invalid
    model: str | Absent | Invalid
    table: str | Absent | Invalid
    sources: Mapping[str, str]
    commit: str | Absent | Invalid
    pull_request: int | None


@dataclass(frozen=True, kw_only=True)
class ChainFacts:
    """All facts of one chain. It starts at `image`, which is None for a release to this machine.

    `added_in` is the commit that added the ledger line. The overlay pinned `pinned_then` at that commit and pins
    `pinned_now`; both must be equal while the line is the newest (`is_newest`). `ledger_fault` describes a change of the
    ledger other than by appending; it is empty when there was none.
    """

    env: str
    image: str | None
    pod: PodImages | None
    line: ledger.Line | None
    is_newest: bool
    added_in: str | None
    pinned_then: str | None
    pinned_now: str | None
    ledger_fault: str
    artifacts: Artifacts | None


def ok(name: str, message: str) -> Link:
    """A link that holds."""
    return Link(name=name, word="ok", message=message)


def absent(name: str, message: str) -> Link:
    """A link whose source is out of reach."""
    return Link(name=name, word="absent", message=message)


def broken(name: str, message: str, hint: str) -> Link:
    """A link that does not hold, and the next step."""
    return Link(name=name, word="broken", message=message, hint=hint)


def without_value(name: str, source: Absent | Invalid, hint: str) -> Link:
    """The link of a source that has no value to compare: broken when the source is invalid, else absent."""
    return broken(name, source.reason, hint) if isinstance(source, Invalid) else absent(name, source.reason)


def compare(name: str, subject: str, pairs: Mapping[str, tuple[str | None, str | None]], hint: str) -> Link:
    """A link over `pairs` of an actual and an expected value; broken at the first pair that differs, or without any pair."""
    for key, (actual, expected) in pairs.items():
        if actual is None or actual != expected:
            return broken(name, f"{subject}: {key} is {short(actual)}; expected: {short(expected)}", hint)
    if not pairs:
        return broken(name, f"{subject}: there is nothing to compare", hint)
    return ok(name, f"{subject}: {', '.join(sorted(pairs))} match")


def digest(image: str) -> str:
    """The digest of an image reference; empty when it has none."""
    return image[image.index("sha256:") :] if "sha256:" in image else ""


def short(value: str | None) -> str:
    """A hash or an image reference, shortened for a message."""
    if value is None:
        return "nothing"
    return digest(value)[:19] or (value[:12] if len(value) >= 40 else value)


def build_chain(facts: ChainFacts) -> list[Link]:
    """The links from the pod or the image to the pull request; the chain ends at the ledger when no line has the image."""
    deployed = [_pod(facts.pod)] if facts.pod else []
    deployed += [_overlay(facts), _ledger(facts)]
    if (line := facts.line) is None or (artifacts := facts.artifacts) is None:
        return deployed
    built = [_image(artifacts.labels, line), _bento(artifacts.bento, line), _run(artifacts.run, line)]
    data = [
        _lock(artifacts.lock, line),
        _model(artifacts.model, line),
        _data(artifacts.table, line),
        _sources(artifacts),
    ]
    return [*deployed, *built, *data, _commit(artifacts.commit), _pull_request(artifacts, line)]


def first_broken(chain: list[Link]) -> Link | None:
    """The first broken link; None when the chain holds."""
    return next((link for link in chain if link.word == "broken"), None)


def _pod(pod: PodImages) -> Link:
    requested, running = (digest(image) for image in (pod.requested, pod.running))
    if not requested:
        return broken("pod", f"pod {pod.name} requests {pod.requested}, which has no digest", UNKNOWN)
    if requested != running:
        message = f"pod {pod.name} requests {short(requested)} but runs {short(running)}"
        return broken(
            "pod",
            message,
            f"kubectl delete pod {pod.name}; then look at the logs of the node and the registry for the change",
        )
    return ok("pod", f"pod {pod.name} requests and runs {short(requested)}")


def _overlay(facts: ChainFacts) -> Link:
    overlay = f"k8s/overlays/{facts.env}"
    if facts.image is None:
        return absent("overlay", "the release has no image, so its bento is compared instead")
    image, restore = (
        short(facts.image),
        f"read `git log -p -- {overlay}`, and restore the image of {ledger.path(facts.env)}",
    )
    if facts.line is None or facts.added_in is None:
        if facts.pinned_now == facts.image:
            return ok("overlay", f"{overlay} pins {image}")
        return broken(
            "overlay", f"{overlay} pins {short(facts.pinned_now)}, and no ledger line is about {image}", UNKNOWN
        )
    at = f"in commit {facts.added_in[:12]}, which added the ledger line,"
    if facts.is_newest and facts.pinned_now != facts.pinned_then:
        then, now = short(facts.pinned_then), short(facts.pinned_now)
        message = f"{overlay} pinned {then} {at} and pins {now} now, without a ledger line"
        return broken("overlay", message, restore)
    if facts.pinned_then != facts.image:
        return broken("overlay", f"{overlay} pinned {short(facts.pinned_then)} {at} instead of {image}", restore)
    later = "and still does" if facts.is_newest else f"and pins {short(facts.pinned_now)} now"
    return ok("overlay", f"{overlay} pinned {image} {at} {later}")


def _ledger(facts: ChainFacts) -> Link:
    name = ledger.path(facts.env).as_posix()
    if facts.ledger_fault:
        return broken("ledger", facts.ledger_fault, f"read `git log -p -- {name}`, and restore the file")
    if facts.line is None:
        return broken("ledger", f"no line of {name} has the image {short(facts.image)}", UNKNOWN)
    if facts.line.image != facts.image:
        message = f"the last line of {name} has {short(facts.line.image)}, but the overlay pins {short(facts.image)}"
        return broken("ledger", message, f"git log -p -- {name}")
    if facts.line.env != facts.env or facts.added_in is None:
        fault = f"belongs to {facts.line.env}" if facts.added_in else "is not committed"
        return broken("ledger", f"the last line of {name} {fault}", f"git log -p -- {name}")
    return ok(
        "ledger",
        f"{name} records the {facts.line.action} of {facts.line.at:%Y-%m-%d %H:%M} UTC, unchanged since {facts.added_in[:12]}",
    )


def _image(labels: Mapping[str, str] | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(labels, Absent | Invalid):
        return without_value("image", labels, "push the image of this commit again, or run `slipway rollback`")
    pairs = {label: (labels.get(label), str(getattr(line, field))) for label, field in LABELS.items()}
    hint = "rebuild the image from the line's commit"
    return compare("image", "labels of the image", pairs, hint)


def _bento(bento: Mapping[str, str] | Absent, line: ledger.Line) -> Link:
    version = line.bento.partition(":")[2]
    if version != line.bento_sha256[:12]:
        message = f"the ledger line names {line.bento}, but its hash begins with {line.bento_sha256[:12]}"
        return broken("bento", message, "release again from the line's commit")
    if isinstance(bento, Absent):
        return absent("bento", bento.reason)
    pairs = {name: (bento[name], str(getattr(line, name))) for name in ("bento_sha256", "model_sha256")}
    hint = "remove its folder, and run `slipway package` at the line's commit"
    return compare("bento", f"files of {line.bento}", pairs, hint)


def _run(run: Mapping[str, str] | Absent | Invalid, line: ledger.Line) -> Link:
    hint = "run `slipway track` at the line's commit"
    if isinstance(run, Absent | Invalid):
        return without_value("run", run, hint)
    pairs = {tag: (run.get(tag), str(getattr(line, tag))) for tag in TAGS}
    return compare("run", f"tags of MLflow run {str(line.mlflow_run)[:8]}", pairs, hint)


def _lock(lock: Lock | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(lock, Absent | Invalid):
        return without_value("lock", lock, "release from a commit that has a dvc.lock")
    pairs = {"sha256": (lock.sha256, line.lock_sha256)}
    hint = "release again from that commit"
    return compare("lock", f"dvc.lock at {line.commit[:12]}", pairs, hint)


def _model(model: str | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(model, Invalid):
        return without_value("model", model, FETCH)
    if model == line.model_sha256:
        return ok("model", f"models/model.onnx of dvc.lock is {model[:12]}, as released")
    if line.verdicts.get("prove") == "pass":  # another processor's model has other bytes, and is the same model
        return ok("model", f"prove passed: models/model.onnx {line.model_sha256[:12]} is the model of dvc.lock")
    if isinstance(model, Absent):
        return absent("model", model.reason)
    message = f"models/model.onnx of dvc.lock is {model[:12]}, but {line.model_sha256[:12]} was released, and prove did not pass"
    return broken("model", message, FETCH)


def _data(table: str | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(table, Absent | Invalid):
        return without_value("data", table, FETCH)
    return compare("data", "data/table.parquet of dvc.lock", {"sha256": (table, line.data_sha256)}, FETCH)


def _sources(artifacts: Artifacts) -> Link:
    if not isinstance(artifacts.lock, Lock):
        return absent("sources", "there is no dvc.lock to compare with")
    locked, in_params = artifacts.lock.sources, artifacts.sources
    pairs = {name: (locked.get(name), in_params.get(name)) for name in {**locked, **in_params}}
    hint = "run `make repro`, commit, and release that commit"
    return compare("sources", "ingest.sources in dvc.lock and in params.yaml", pairs, hint)


def _commit(commit: str | Absent | Invalid) -> Link:
    if isinstance(commit, Absent | Invalid):
        return without_value(
            "commit", commit, "run `git fetch origin main`; if that does not help, release from the tip of main"
        )
    return ok("commit", f"commit {commit[:12]} is on main and older than the ledger line")


def _pull_request(artifacts: Artifacts, line: ledger.Line) -> Link:
    if isinstance(artifacts.commit, Absent | Invalid):
        return absent("pull request", "its number is in the commit, which cannot be read")
    number = artifacts.pull_request
    if number != line.pull_request:
        message = (
            f"the commit's subject names {_number(number)}, but the ledger line names {_number(line.pull_request)}"
        )
        return broken("pull request", message, f"read `git show {line.commit[:12]}`, and release again")
    if line.pull_request is None:
        return absent("pull request", "the commit was pushed without a pull request")
    return ok("pull request", f"the commit and the ledger line name {_number(line.pull_request)}")


def _number(pull_request: int | None) -> str:
    return f"#{pull_request}" if pull_request else "none"
