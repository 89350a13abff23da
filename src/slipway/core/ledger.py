"""Read and extend a ledger: one JSON line per change of an environment, append-only, in the commit of that change."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, ValidationError

from slipway.core import files, git
from slipway.core.strict_model import StrictModel, describe_errors
from slipway.core.verdict import Word
from slipway.errors import ConfigError, DataError

ENVIRONMENTS = ("staging", "production")
CONFLICT_HINT = "restore the file with `git checkout origin/main -- releases`, then run your command again"
CONFLICT_MARKER = re.compile(r"(<<<<<<<|>>>>>>>|=======|\|\|\|\|\|\|\|)( |$)")


class Line(StrictModel):
    """The release that an environment runs since `at`.

    `commit` is the source commit, `image` is null for a release on this machine. `restart_at` is in a line only where the
    judge did not compare with production, since params.yaml named this commit of production in `judge.restart_at`.
    """

    model_config = ConfigDict(allow_inf_nan=True)  # a line once written must stay readable

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
    restart_at: str | None = Field(default=None, exclude_if=lambda commit: commit is None)

    @property
    def identity(self) -> str:
        """The image with its digest; the hash of the bento for a release on this machine."""
        return self.image or self.bento_sha256


def now() -> datetime:
    """The current time in UTC, to the second, as a line has it."""
    return datetime.now(UTC).replace(microsecond=0)


def path(env: str, root: Path = Path()) -> Path:
    """The file of an environment's ledger; ConfigError for an unknown environment."""
    if env not in ENVIRONMENTS:
        raise ConfigError(f"the environment is {env!r}", expected=" or ".join(ENVIRONMENTS), value=env)
    return root / "releases" / f"{env}.jsonl"


def parse(text: str, *, where: str, env: str | None = None) -> list[Line]:
    """The lines of a ledger, oldest first; `where` names the file in errors.

    DataError names the first line that is not a record, not of `env`, or does not supersede the line before it.
    """
    restore = f"restore the last good version: git log -p -- {where.rpartition(':')[2]}"
    rows, lines = text.split("\n"), list[Line]()
    for number, row in enumerate(rows, start=1):
        if CONFLICT_MARKER.match(row):
            message = f"{where}, line {number}: the merge conflict {row[:30]!r} is not resolved"
            raise DataError(message, hint=CONFLICT_HINT)
    if rows.pop():
        raise DataError(f"{where}: the last line is cut off: it has no line end", hint=restore)
    for number, row in enumerate(rows, start=1):
        place = f"{where}, line {number}"
        line, before = _parse_line(row, place, restore), lines[-1].identity if lines else None
        if line.supersedes not in (None, before):
            message = f"supersedes is {line.supersedes}, but the line before is {before}: a line was lost or the order changed"
            raise DataError(f"{place}: {message}", hint=restore)
        if env is not None and env != line.env:
            raise DataError(f"{place}: env is {line.env}", expected=env, value=line.env, hint=restore)
        lines.append(line)
    return lines


def _parse_line(row: str, where: str, restore: str) -> Line:
    try:
        return Line.model_validate_json(row)
    except ValidationError as error:
        raise DataError(f"{where}: {describe_errors(error, top_level='the line', most=1)}", hint=restore) from None


def added_lines(before: str, after: str, where: str) -> list[Line]:
    """The lines that the text `after` adds to `before`; DataError unless `after` starts with `before`, byte for byte."""
    new = parse(after, where=where)
    old = parse(before, where=f"{where} before")
    if not after.startswith(before):
        pairs = enumerate(zip(old, new, strict=False), start=1)
        changed = next((number for number, (line, other) in pairs if line != other), 0)
        message = f"line {changed} was changed" if changed else f"it had {len(old)} lines and now has {len(new)}"
        raise DataError(f"{where}: {message}", allowed="only new lines at the end", hint=CONFLICT_HINT)
    return new[len(old) :]


def read_text(file: Path) -> str:
    """The text of a ledger; empty if there is no such file, DataError if it is not UTF-8."""
    try:
        return file.read_bytes().decode("utf-8") if file.exists() else ""
    except UnicodeDecodeError as error:
        hint = f"restore the last good version: git log -p -- {file}"
        raise DataError(f"{file} is not UTF-8 text: {error}", hint=hint) from None


def read(env: str, root: Path = Path()) -> list[Line]:
    """The lines of the ledger in the working tree; none if there is no file."""
    file = path(env, root)
    return parse(read_text(file), where=path(env).as_posix(), env=env)


def read_at(env: str, revision: str, root: Path = Path()) -> list[Line]:
    """The lines of the ledger at a Git revision; none if the revision has no such file."""
    name = path(env).as_posix()
    text = git.file_at(revision, name, root=root)
    return [] if text is None else parse(text, where=f"{revision}:{name}", env=env)


def append(line: Line, root: Path = Path()) -> Path:
    """Append `line` atomically to its environment's ledger, whose bytes stay as they are; return the file.

    DataError if the ledger is damaged, or `line` does not follow its last line.
    """
    file = path(line.env, root)
    before = read_text(file)
    after = before + line.model_dump_json() + "\n"
    for text in (before, after):
        parse(text, where=path(line.env).as_posix(), env=line.env)
    files.write_text(file, after)
    return file


def line_at(env: str, moment: datetime, root: Path = Path()) -> Line | None:
    """The release that `env` ran at `moment`, by the dates of first-parent commits; None before the first release.

    A release whose canary was aborted is skipped, since its pods received only the canary's share of requests.
    ConfigError for a `moment` without a time zone.
    """
    if moment.tzinfo is None:
        raise ConfigError(f"--at {moment.isoformat()} has no time zone", hint="add one, e.g. 2026-03-04T12:00Z for UTC")
    name = path(env).as_posix()
    commits = git.commits("HEAD", name, root=root)
    unstable = unstable_positions(read_at(env, "HEAD", root)) if commits else set()
    for commit in commits:
        if commit.at <= moment:
            return newest_line([line for n, line in enumerate(read_at(env, commit.sha, root)) if n not in unstable])
    return None


def unstable_positions(lines: Sequence[Line]) -> set[int]:
    """The positions of lines whose canary was aborted, as the rollback that follows each records."""
    return {n for n, new in enumerate(lines[1:]) if new.action == "rollback" and (new.evidence or {}).get("aborted")}


def newest_line(lines: Sequence[Line]) -> Line | None:
    """The line in effect now; None if there are no lines."""
    return lines[-1] if lines else None


def withdrawn_lines(lines: Sequence[Line]) -> list[Line]:
    """The lines that a rollback withdrew and no later line released again, oldest first."""
    by_identity = dict[str, Line]()
    before: Line | None = None
    for line in lines:
        if line.action == "rollback" and before is not None:
            by_identity[before.identity] = before
        by_identity.pop(line.identity, None)
        before = line
    return list(by_identity.values())
