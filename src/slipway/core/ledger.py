"""The ledger: one JSON line per change of an environment, append-only, in the commit that makes the change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.core import files, git, ledger
from slipway.core.verdict import Word
from slipway.errors import ConfigError, DataError

ENVIRONMENTS = ("staging", "production")
ANEW = "take main's file whole, then do it again: the line is made anew on main's tip"
CONFLICT = re.compile(r"(<<<<<<<|>>>>>>>|=======|\|\|\|\|\|\|\|)( |$)")


class Line(BaseModel):
    """What an environment runs since `at`. `commit` is the source commit; `image` is null on this machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: datetime
    env: str
    action: Literal["release", "promote", "rollback"]
    image: str | None
    bento: str
    bento_sha256: str
    model_sha256: str
    lock_sha256: str
    data_sha256: str
    commit: str
    pull_request: int | None
    mlflow_run: str | None
    metrics: dict[str, float]
    verdicts: dict[str, Word]
    evidence: dict[str, Any] | None
    supersedes: str | None

    @property
    def identity(self) -> str:
        """What is compared: the image by digest, on this machine the hash of the bento."""
        return self.image or self.bento_sha256


def path(env: str, root: Path = Path()) -> Path:
    """Where the ledger of an environment is; ConfigError when there is no such environment."""
    if env not in ENVIRONMENTS:
        raise ConfigError(f"environment {env!r} is not one of {', '.join(ENVIRONMENTS)}")
    return root / "releases" / f"{env}.jsonl"


def parse(text: str, *, where: str, env: str | None = None) -> list[Line]:
    """The lines, oldest first; DataError names the line that is no record (of `env`), or does not follow the one before."""
    restore = f"restore the file: git log -p -- {where.rpartition(':')[2]}"
    rows, lines = text.split("\n"), list[Line]()
    for number, row in enumerate(rows, start=1):
        if CONFLICT.match(row):
            said = f"{where}, line {number}: a merge conflict ({row[:30]}); lines are never merged"
            raise DataError(said, hint=ANEW)
    if rows.pop():
        raise DataError(f"{where}: the last line has no end: it was cut off", hint=restore)
    for number, row in enumerate(rows, start=1):
        line, before = _line(row, f"{where}, line {number}", restore), lines[-1].identity if lines else None
        if line.supersedes not in (None, before):
            said = f"supersedes {line.supersedes}, the line before is {before}: a line was lost, or the order changed"
            raise DataError(f"{where}, line {number}: {said}", hint=restore)
        if env not in (None, line.env):
            raise DataError(f"{where}, line {number}: it is of {line.env}, limit: {env}", hint=restore)
        lines.append(line)
    return lines


def _line(row: str, where: str, restore: str) -> Line:
    try:
        return Line.model_validate_json(row)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the line"
        raise DataError(f"{where}: {field}: {first['msg']}", hint=restore) from None


def added_lines(before: str, after: str, where: str) -> list[Line]:
    """The lines that the text `after` adds to `before`; DataError unless the old ones are there byte for byte."""
    new = parse(after, where=where)
    old = parse(before, where=f"{where} before")
    if not after.startswith(before):
        wrong = next((n for n, pair in enumerate(zip(old, new, strict=False), start=1) if pair[0] != pair[1]), 0)
        said = f"line {wrong} is not what it was" if wrong else f"{len(old)} lines were there, now {len(new)}"
        raise DataError(f"{where}: {said}; it only ever grows at its end", hint=ANEW)
    return new[len(old) :]


def read_text(file: Path) -> str:
    """What a ledger says, byte for byte; empty when there is no such file, DataError when it is no text."""
    try:
        return file.read_bytes().decode("utf-8") if file.exists() else ""
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no text: {error}", hint=f"restore the file: git log -p -- {file}") from None


def read(env: str, root: Path = Path()) -> list[Line]:
    """The ledger in the working tree; no file is an empty ledger."""
    file = path(env, root)
    return parse(read_text(file), where=path(env).as_posix(), env=env)


def read_at(env: str, revision: str, root: Path = Path()) -> list[Line]:
    """The ledger as it is at a Git revision; no file is an empty ledger."""
    name = path(env).as_posix()
    if not git.run("ls-tree", "--name-only", revision, "--", name, root=root):
        return []
    return parse(git.run("show", f"{revision}:{name}", root=root, strip=False), where=f"{revision}:{name}",
                 env=env)  # fmt: skip


def append(line: Line, root: Path = Path()) -> Path:
    """Add `line` to its environment's ledger, whole or not at all; the lines before stay byte for byte."""
    file = path(line.env, root)
    before = read_text(file)
    after = before + line.model_dump_json() + "\n"
    for each in (before, after):
        parse(each, where=path(line.env).as_posix(), env=line.env)
    files.write_text(file, after)
    return file


def line_at(env: str, moment: datetime, root: Path = Path()) -> Line | None:
    """What `env` ran at `moment`, by the dates of the first-parent commits; None before the first release.

    What never was stable, as a later line says, did not run: its pods took a canary's share at most.
    """
    if moment.tzinfo is None:
        raise ConfigError(f"--at {moment.isoformat()} has no time zone", hint="write 2026-03-04T12:00Z")
    name = path(env).as_posix()
    commits = git.run("log", "--first-parent", "--format=%H %ct", "HEAD", "--", name, root=root).splitlines()
    never = unstable_positions(read_at(env, "HEAD", root)) if commits else set()
    for commit, seconds in (row.split() for row in commits):
        if int(seconds) <= moment.timestamp():
            return newest([line for n, line in enumerate(read_at(env, commit, root)) if n not in never])
    return None


def unstable_positions(lines: Sequence[Line]) -> set[int]:
    """Positions of the lines whose canary was aborted, as the rollback after each says."""
    return {n for n, new in enumerate(lines[1:]) if new.action == "rollback" and (new.evidence or {}).get("aborted")}


def newest(lines: Sequence[Line]) -> Line | None:
    """The line that holds now."""
    return lines[-1] if lines else None


def withdrawn(lines: Sequence[ledger.Line]) -> list[ledger.Line]:
    """The lines that a rollback took back and no later line brought again, oldest first."""
    found = dict[str, ledger.Line]()
    before: ledger.Line | None = None
    for line in lines:
        if line.action == "rollback" and before is not None:
            found[before.identity] = before
        found.pop(line.identity, None)
        before = line
    return list(found.values())
