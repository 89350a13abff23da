"""Evidence that staging ran and judged exactly one digest, read from this machine, the cluster or GitHub.

From every source it is a load verdict about a digest, with the time and the revision at which it was reached. Text in an
event, a ledger line or a description is not evidence: the source itself is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from slipway.cluster import argocd, kubectl, kustomization
from slipway.core import config, environment, files, git, ledger
from slipway.core.environment import Actions
from slipway.core.verdict import Word
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.github import api
from slipway.github.client import GitHubClient, Row

LOAD = Path("reports/load.json")
GATE_JOB = "load-gate"
SOURCES = ("machine", "cluster", "status")
STATE_VERDICTS: dict[str, Word] = {"success": "pass", "failure": "fail"}
"""The verdict for the state of a commit status; `error` and `pending` are unsure."""
MAX_COMMITS = 200
"""Commits of main that are searched for a status, newest first."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A load verdict about `digest`, reached at `at`, read from `source`, for staging at `commit`."""

    verdict: Word
    digest: str
    at: datetime
    source: str
    commit: str | None = None
    p95_ms: float | None = None
    requests: int | None = None

    def record(self) -> dict[str, Any]:
        """The evidence as a production line quotes it."""
        return {"load": self.verdict, "p95_ms": self.p95_ms, "requests": self.requests, "of": self.digest,
                "at": self.at.astimezone(UTC).isoformat(), "by": self.source, "commit": self.commit}  # fmt: skip


class LoadRecord(BaseModel):
    """The part of a load verdict's record that is read; further keys are ignored."""

    model_config = ConfigDict(frozen=True)

    chapter: Literal["load"]
    verdict: Word
    inputs: dict[str, str | None]
    checks: list[dict[str, Any]]
    rows: int


@contextmanager
def github_client(source: str, params: config.Params, actions: Actions | None) -> Iterator[GitHubClient | None]:
    """A client of GitHub's API when the source is `status`, else None.

    Without `actions` the environment's are used; ConfigError when they are missing.
    """
    if source != "status":
        yield None
        return
    access, limits = actions or environment.actions(), params.comment
    with GitHubClient(access.api, access.repository, access.token,
              attempts=limits.attempts, timeout_seconds=limits.timeout_seconds) as client:  # fmt: skip
        yield client


def digest(line: ledger.Line) -> str:
    """The digest that evidence about a line must have: the image's; without an image the hash of the bento."""
    return line.image.rpartition("@")[2] if line.image else line.bento_sha256


def find(
    source: str, params: config.Params, staged: ledger.Line, *, root: Path, client: GitHubClient | None = None,
    only: str | None = None,
) -> Evidence:  # fmt: skip
    """Read the evidence about `staged` from `source`; CheckFailed or Inconclusive when it has none.

    `status` needs the `client`; with `only`, it reads the statuses of that commit alone.
    """
    match source:
        case "machine":
            return from_local_report(root)
        case "cluster":
            return from_argocd(params, staged, root)
        case "status" if client is not None:
            return from_commit_status(params, staged, client, root, only=only)
    raise ConfigError(
        f"the source of evidence {source!r} is unknown",
        expected=" or ".join(SOURCES),
        value=source,
        hint="use --source machine, --source cluster or --source status",
    )


def require_pass(
    evidence: Evidence, expected: str, *, now: datetime, limits: config.Release, chapter: str = "promote"
) -> Evidence:
    """Return `evidence` when it is a fresh pass about the digest `expected`; else CheckFailed or Inconclusive."""
    if evidence.digest != expected:
        raise CheckFailed(
            f"{chapter}: the load test was of {evidence.digest[:19]}, but staging runs {expected[:19]}",
            hint="wait until staging's load gate has tested what staging runs, then run it again",
        )
    if evidence.verdict != "pass":
        error = CheckFailed if evidence.verdict == "fail" else Inconclusive
        raise error(
            f"{chapter}: the verdict of staging's load test is {evidence.verdict}",
            expected="pass",
            value=evidence.verdict,
            hint="see docs/fix/load.md",
        )
    require_fresh(evidence.at, now=now, limits=limits, subject=f"{chapter}: the evidence")
    return evidence


def require_fresh(at: datetime, *, now: datetime, limits: config.Release, subject: str) -> None:
    """CheckFailed when `at` is older than the limit, or later than now by more than clocks may differ."""
    age, skew = now - at, timedelta(minutes=limits.max_clock_skew_minutes)
    if age < -skew:
        minutes = -age / timedelta(minutes=1)
        raise CheckFailed(
            f"{subject} is dated {minutes:.4g} minutes in the future",
            allowed=f"at most {limits.max_clock_skew_minutes} minutes",
            value=minutes,
            hint="check the clocks of the cluster and of this machine",
        )
    if age > timedelta(days=limits.max_evidence_age_days):
        days = age / timedelta(days=1)
        raise CheckFailed(
            f"{subject} is {days:.4g} days old",
            allowed=f"at most {limits.max_evidence_age_days} days",
            value=days,
            hint="release again, so that staging's load gate tests it again",
        )


# This machine


def from_local_report(root: Path) -> Evidence:
    """The verdict of reports/load.json; its time is the file's."""
    record = _load_record(files.read_json(root / LOAD, hint="slipway load"), str(LOAD))
    at = datetime.fromtimestamp((root / LOAD).stat().st_mtime, UTC).replace(microsecond=0)
    return _evidence(record, at=at, source="machine", commit=None)


# The cluster


def from_argocd(params: config.Params, staged: ledger.Line, root: Path) -> Evidence:
    """The gate's verdict from the last full sync of staging's application, at a revision whose overlay pins the digest.

    A failing gate is a verdict, too. Inconclusive while an operation runs, and when the last one ran no gate.
    """
    name, expected = f"{params.track.model}-staging", digest(staged)
    current = argocd.get_app(name)
    app = current.last_full_sync  # a later self-heal ran no gate and hides that sync
    if not app.revision or app.finished is None:
        raise Inconclusive(
            f"promote: Argo CD has not finished a sync of {name} yet: {argocd.describe(app)}",
            hint=f"argocd app get {name}",
        )
    pinned = _pinned_digest(git.commit_hash(app.revision, root=root), root)
    if pinned != expected:
        raise CheckFailed(
            f"promote: Argo CD last synced {name} to commit {app.revision[:12]}, "
            f"whose staging overlay pins {(pinned or 'no image')[:19]}",
            expected=expected[:19],
            hint="wait until Argo CD has synced the release, then run it again",
        )
    phases = [hook.phase for hook in app.hooks if hook.kind == "PostSync"]
    if not phases and app is current:
        raise Inconclusive(
            f"promote: the last sync of {name} did not run the load gate (a self-heal skips it)",
            hint=f"argocd app sync {name}, which runs the gate again",
        )
    record = _last_record(kubectl.hook_log(name, GATE_JOB), f"the log of {name}'s {GATE_JOB}")
    if record.verdict == "pass" and {app.phase, *phases} != {"Succeeded"}:
        raise CheckFailed(
            f"promote: the last sync of {name} is {app.phase}: {app.message}",
            expected="Succeeded",
            value=app.phase,
            hint=f"argocd app get {name}",
        )
    return _evidence(record, at=app.finished, source="cluster", commit=app.revision)


def _last_record(log: str, place: str) -> LoadRecord:
    """The verdict in the last line of a gate's log; Inconclusive when that line is none."""
    lines = [line for line in log.splitlines() if line.strip()]
    try:
        return _load_record(json.loads(lines[-1]) if lines else None, place)
    except json.JSONDecodeError:
        raise Inconclusive(
            f"promote: the last line of {place} is not the result of a load test", hint="run the load test again"
        ) from None


def _load_record(value: Any, place: str) -> LoadRecord:
    try:
        return LoadRecord.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the record"
        raise Inconclusive(
            f"promote: {place} is not the result of a load test: {key}: {first['msg']}", hint="run the load test again"
        ) from None


def _evidence(record: LoadRecord, *, at: datetime, source: str, commit: str | None) -> Evidence:
    values = [check.get("value") for check in record.checks if "p95" in str(check.get("name"))]
    p95_ms = [float(value) for value in values if isinstance(value, int | float)]
    subject = record.inputs.get("image") or record.inputs.get("bento_sha256") or "nothing"
    return Evidence(verdict=record.verdict, digest=subject, at=at, source=source, commit=commit,
                    p95_ms=max(p95_ms, default=None), requests=record.rows)  # fmt: skip


# GitHub


def from_commit_status(
    params: config.Params, staged: ledger.Line, client: GitHubClient, root: Path, *, only: str | None = None
) -> Evidence:
    """The newest status about the digest, of our context and creator, on the newest commit that has one.

    A commit counts when it is on main (first parents) and its staging overlay pins the digest; `only` reads one commit.
    """
    limits, expected = params.release, digest(staged)
    for commit in _commits_that_pin(expected, root):
        if only not in (None, commit):
            continue
        rows = [row for row in api.statuses(client, commit)
                if (row.get("context"), (row.get("creator") or {}).get("login")) == (limits.status, limits.creator)]  # fmt: skip
        if rows:
            row = max(rows, key=lambda row: (str(row["created_at"]), int(row["id"])))
            return Evidence(verdict=STATE_VERDICTS.get(str(row["state"]), "unsure"), digest=expected, at=_created_at(row),
                            source="status", commit=commit)  # fmt: skip
    raise CheckFailed(
        f"promote: GitHub has no status {limits.status} by {limits.creator} "
        f"on a commit whose staging overlay pins {expected[:19]}",
        hint="wait for staging's load gate; docs/fix/promote.md explains each message",
    )


def _commits_that_pin(expected: str, root: Path) -> Iterator[str]:
    """The commits of main, newest first, whose staging overlay pins the digest."""
    tip = git.base_commit(None, root=root)
    log = git.run("log", "--first-parent", f"--max-count={MAX_COMMITS}", "--format=%H", tip, root=root)
    for commit in log.splitlines():
        if _pinned_digest(commit, root) == expected:
            yield commit


def _pinned_digest(commit: str, root: Path) -> str | None:
    """The digest in staging's overlay at a commit; None without an overlay, or with a broken one, which Argo CD refuses."""
    try:
        pinned = kustomization.pinned_at("staging", commit, root)
    except ConfigError:
        return None
    return pinned.digest if pinned else None


def _created_at(row: Row) -> datetime:
    try:
        at = datetime.fromisoformat(str(row["created_at"]))
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise Inconclusive(
            f"promote: the commit status has the time {row['created_at']!r}", expected="a date and time with a time zone",
            hint="run it again",
        )  # fmt: skip
    return at
