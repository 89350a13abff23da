"""The chain from what runs back to the data: what was found at each end, and what a link of it says.

A link is `ok`, `broken`, or `absent` where its source cannot be reached from here; absent is shown, and is not broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from slipway.core import ledger

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
class Wrong:
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

    labels: Mapping[str, str] | Absent | Wrong
    bento: Mapping[str, str] | Absent
    run: Mapping[str, str] | Absent | Wrong
    lock: Lock | Absent | Wrong
    model: str | Absent | Wrong
    table: str | Absent | Wrong
    sources: Mapping[str, str]
    commit: str | Absent | Wrong
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


def none(name: str, why: Absent | Wrong, hint: str) -> Link:
    """The link of a source that gave nothing to compare: broken when that is wrong, else absent."""
    return broken(name, why.why, hint) if isinstance(why, Wrong) else absent(name, why.why)


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
