"""The ledger: one JSON line per change of an environment, append-only, in the commit that makes the change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway import files, git
from slipway.errors import ConfigError, DataError
from slipway.verdict import Word

ENVIRONMENTS = ("staging", "production")


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


def parse(text: str, *, where: str) -> list[Line]:
    """The lines, oldest first; DataError names the line that is no record."""
    lines = []
    for number, row in enumerate(text.splitlines(), start=1):
        try:
            lines.append(Line.model_validate_json(row))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the line"
            raise DataError(
                f"{where}, line {number}: {field}: {first['msg']}",
                hint=f"restore the file: git log -p -- {where}",
            ) from None
    if text and not text.endswith("\n"):
        raise DataError(
            f"{where}: the last line has no end: it was cut off",
            hint=f"restore the file: git log -p -- {where}",
        )
    return lines


def read(env: str, root: Path = Path()) -> list[Line]:
    """The ledger in the working tree; no file is an empty ledger."""
    file = path(env, root)
    return parse(file.read_text(encoding="utf-8"), where=path(env).as_posix()) if file.exists() else []


def read_at(env: str, revision: str, root: Path = Path()) -> list[Line]:
    """The ledger as it is at a Git revision; no file is an empty ledger."""
    name = path(env).as_posix()
    if not git.output("ls-tree", "--name-only", revision, "--", name, root=root):
        return []
    return parse(git.output("show", f"{revision}:{name}", root=root, strip=False), where=f"{revision}:{name}")


def append(line: Line, root: Path = Path()) -> Path:
    """Add `line` to its environment's ledger, whole or not at all; the lines before stay byte for byte."""
    file = path(line.env, root)
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    parse(before, where=path(line.env).as_posix())
    files.write_text(file, before + line.model_dump_json() + "\n")
    return file


def at(env: str, moment: datetime, root: Path = Path()) -> Line | None:
    """What `env` ran at `moment`, by the dates of the first-parent commits; None before the first release."""
    if moment.tzinfo is None:
        raise ConfigError(f"--at {moment.isoformat()} has no time zone", hint="write 2026-03-04T12:00Z")
    name = path(env).as_posix()
    commits = git.output("log", "--first-parent", "--format=%H %ct", "HEAD", "--", name, root=root).splitlines()
    for commit, seconds in (row.split() for row in commits):
        if int(seconds) <= moment.timestamp():
            lines = read_at(env, commit, root)
            return lines[-1] if lines else None
    return None


def newest(lines: Sequence[Line]) -> Line | None:
    """The line that holds now."""
    return lines[-1] if lines else None
