"""The links from what runs back to the data, each a pure function of what was found (`chain.Facts`)."""

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
"""What an image says of itself, and the field of the ledger line that must say the same."""
TAGS = ("lock_sha256", "model_sha256", "data_sha256")
FETCH = "`dvc fetch`, or `make repro` at the line's commit, then compare"
UNKNOWN = "deploy only by `slipway release`, `promote` and `rollback`"


def links(facts: Facts) -> list[Link]:
    """The chain, from the pod or the image to the pull request; it ends at the ledger when no line holds the image."""
    found = [_pod(facts.pod)] if facts.pod else []
    found += [_overlay(facts), _ledger(facts)]
    if (line := facts.line) is None or (made := facts.made) is None:
        return found
    built = [_image(made.labels, line), _bento(made.bento, line), _run(made.run, line)]
    data = [_lock(made.lock, line), _model(made.model, line), _data(made.table, line), _sources(made)]
    return [*found, *built, *data, _commit(made.commit), _pull_request(made, line)]


def _pod(pod: Pod) -> Link:
    asked, runs = (digest(image) for image in (pod.asked, pod.runs))
    if not asked:
        return broken("pod", f"{pod.name} was asked for {pod.asked}, not by a digest", UNKNOWN)
    if asked != runs:
        said = f"{pod.name} was asked for {short(asked)} and runs {short(runs)}"
        return broken("pod", said, f"kubectl delete pod {pod.name}; see who touched the node or the registry")
    return ok("pod", f"{pod.name} was asked for, and runs, {short(asked)}")


def _overlay(facts: Facts) -> Link:
    where = f"k8s/overlays/{facts.env}"
    if facts.image is None:
        return absent("overlay", "no image on this machine: the bento is what is compared")
    image, put_back = short(facts.image), f"git log -p -- {where}; put back what {ledger.path(facts.env)} says"
    if facts.line is None or facts.entered is None:
        if facts.now == facts.image:
            return ok("overlay", f"{where} pins {image}")
        return broken("overlay", f"{where} pins {short(facts.now)}, and never pinned {image} by the ledger", UNKNOWN)
    at = f"at {facts.entered[:12]}, which added the ledger line,"
    if facts.newest and facts.now != facts.then:
        said = f"{where} pinned {short(facts.then)} {at} and pins {short(facts.now)} now, without a line"
        return broken("overlay", said, put_back)
    if facts.then != facts.image:
        return broken("overlay", f"{where} pinned {short(facts.then)} {at} not {image}", put_back)
    later = "and still does" if facts.newest else f"and {short(facts.now)} now"
    return ok("overlay", f"{where} pinned {image} {at} {later}")


def _ledger(facts: Facts) -> Link:
    name = ledger.path(facts.env).as_posix()
    if facts.history:
        return broken("ledger", facts.history, f"git log -p -- {name}; restore the file as it was before")
    if facts.line is None:
        return broken("ledger", f"no line of {name} holds {short(facts.image)}", UNKNOWN)
    if facts.line.image != facts.image:
        said = f"the last line of {name} holds {short(facts.line.image)}, the overlay {short(facts.image)}"
        return broken("ledger", said, f"git log -p -- {name}")
    if facts.line.env != facts.env or facts.entered is None:
        said = f"is of {facts.line.env}" if facts.entered else "is not committed"
        return broken("ledger", f"the line of {name} {said}", f"git log -p -- {name}")
    return ok(
        "ledger",
        f"{name}: {facts.line.action} of {facts.line.at:%Y-%m-%d %H:%M} UTC, in {facts.entered[:12]}, unchanged",
    )


def _image(labels: Mapping[str, str] | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(labels, Absent | Invalid):
        return none("image", labels, "push the image of this commit again, or `slipway rollback`")
    pairs = {label: (labels.get(label), str(getattr(line, field))) for label, field in LABELS.items()}
    return same(
        "image", "the image's labels", pairs, "the image is not of this line: rebuild it from the line's commit"
    )


def _bento(bento: Mapping[str, str] | Absent, line: ledger.Line) -> Link:
    version = line.bento.partition(":")[2]
    if version != line.bento_sha256[:12]:
        said = f"the ledger line calls it {line.bento}, its hash begins with {line.bento_sha256[:12]}"
        return broken("bento", said, "release again from the line's commit")
    if isinstance(bento, Absent):
        return absent("bento", bento.why)
    pairs = {name: (bento[name], str(getattr(line, name))) for name in ("bento_sha256", "model_sha256")}
    return same(
        "bento", f"the files of {line.bento}", pairs, "remove its folder and `slipway package` at the line's commit"
    )


def _run(run: Mapping[str, str] | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(run, Absent | Invalid):
        return none("run", run, "`slipway track` at the line's commit")
    pairs = {tag: (run.get(tag), str(getattr(line, tag))) for tag in TAGS}
    return same(
        "run", f"the tags of MLflow run {str(line.mlflow_run)[:8]}", pairs, "`slipway track` at the line's commit"
    )


def _lock(lock: Lock | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(lock, Absent | Invalid):
        return none("lock", lock, "release from a commit that has a dvc.lock")
    pairs = {"sha256": (lock.sha256, line.lock_sha256)}
    hint = "the lock is not the released one: release again from that commit"
    return same("lock", f"dvc.lock at {line.commit[:12]}", pairs, hint)


def _model(model: str | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(model, Invalid):
        return none("model", model, FETCH)
    if model == line.model_sha256:
        return ok("model", f"models/model.onnx of that lock is {model[:12]}, as released")
    if line.verdicts.get("prove") == "pass":
        return ok("model", f"models/model.onnx {line.model_sha256[:12]} was proven to be that lock's (prove: pass)")
    if isinstance(model, Absent):
        return absent("model", model.why)
    said = (
        f"models/model.onnx of that lock is {model[:12]}, released was {line.model_sha256[:12]}, and nothing was proven"
    )
    return broken("model", said, FETCH)


def _data(table: str | Absent | Invalid, line: ledger.Line) -> Link:
    if isinstance(table, Absent | Invalid):
        return none("data", table, FETCH)
    return same("data", "data/table.parquet of that lock", {"sha256": (table, line.data_sha256)}, FETCH)


def _sources(made: Made) -> Link:
    if not isinstance(made.lock, Lock):
        return absent("sources", "there is no lock to compare with")
    locked, stated = made.lock.sources, made.sources
    pairs = {name: (locked.get(name), stated.get(name)) for name in {**locked, **stated}}
    return same(
        "sources", "ingest.sources by dvc.lock, against params.yaml", pairs, "`make repro`, and release that commit"
    )


def _commit(commit: str | Absent | Invalid) -> Link:
    if isinstance(commit, Absent | Invalid):
        return none("commit", commit, "git fetch origin main; else release from the tip of main")
    return ok("commit", f"{commit[:12]} is on main, before the ledger line")


def _pull_request(made: Made, line: ledger.Line) -> Link:
    if isinstance(made.commit, Absent | Invalid):
        return absent("pull request", "it is read from the commit")
    if made.pull_request != line.pull_request:
        said = f"the commit's subject names {_number(made.pull_request)}, the ledger line {_number(line.pull_request)}"
        return broken("pull request", said, f"git show {line.commit[:12]}; release again")
    if line.pull_request is None:
        return absent("pull request", "the commit was pushed without one")
    return ok("pull request", f"{_number(line.pull_request)}, by the commit and by the ledger line")


def _number(pull_request: int | None) -> str:
    return f"#{pull_request}" if pull_request else "none"


Word = Literal["ok", "broken", "absent"]


@dataclass(frozen=True, kw_only=True)
class Link:
    """One link: what was compared with what, and what to do when it is broken."""

    name: str
    word: Word
    said: str
    hint: str = ""


@dataclass(frozen=True)
class Absent:
    """Why something cannot be looked at from here."""

    why: str


@dataclass(frozen=True)
class Invalid:
    """What is wrong with a source, as a sentence."""

    why: str


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A running container: the image it was asked for, and the one it runs."""

    name: str
    asked: str
    runs: str


@dataclass(frozen=True, kw_only=True)
class Lock:
    """dvc.lock at the source commit: its hash, its outputs with their md5, the sources it was made from."""

    sha256: str
    outs: Mapping[str, str]
    sources: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What was found of what a ledger line speaks of.

    `model` and `table` are SHA-256 of the lock's outputs in DVC's cache, `sources` those of params.yaml at the commit.
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
class Facts:
    """What was found, first to last. `image` is what is walked back from, None on this machine.

    `entered` is the commit that added the ledger line; the overlay pinned `then` at it and pins `now`, which must be the
    same while the line is the `newest`. `history` is what is wrong with how the ledger grew, empty when nothing is.
    """

    env: str
    image: str | None
    pod: Pod | None
    line: ledger.Line | None
    newest: bool
    entered: str | None
    then: str | None
    now: str | None
    history: str
    made: Made | None


def first_broken(found: list[Link]) -> Link | None:
    """Where the chain breaks; None when it holds."""
    return next((link for link in found if link.word == "broken"), None)


def same(name: str, what: str, pairs: Mapping[str, tuple[str | None, str | None]], hint: str) -> Link:
    """Ok when each found value is the expected one; else the first that is not, both of them shown."""
    for key, (found, expected) in pairs.items():
        if found is None or found != expected:
            return broken(name, f"{what}: {key} is {short(found)}, expected {short(expected)}", hint)
    if not pairs:
        return broken(name, f"{what}: there are none", hint)
    return ok(name, f"{what}: {', '.join(sorted(pairs))} as expected")


def none(name: str, why: Absent | Invalid, hint: str) -> Link:
    """The link of a source that gave nothing to compare: broken when that is wrong, else absent."""
    return broken(name, why.why, hint) if isinstance(why, Invalid) else absent(name, why.why)


def ok(name: str, said: str) -> Link:
    """A link that holds."""
    return Link(name=name, word="ok", said=said)


def absent(name: str, said: str) -> Link:
    """A link that cannot be looked at from here."""
    return Link(name=name, word="absent", said=said)


def broken(name: str, said: str, hint: str) -> Link:
    """A link that does not hold, and the next step."""
    return Link(name=name, word="broken", said=said, hint=hint)


def digest(image: str) -> str:
    """The digest of a reference; empty when it has none."""
    return image[image.index("sha256:") :] if "sha256:" in image else ""


def short(value: str | None) -> str:
    """A hash or digest as a person reads it."""
    if value is None:
        return "nothing"
    return digest(value)[:19] or (value[:12] if len(value) >= 40 else value)
