"""Evidence: that staging ran and judged exactly one digest; known from this machine, the cluster, or GitHub.

Whatever the source, it is a load verdict about a digest, with the moment and the revision it was reached at. What an
event, a ledger line or a description says about it is never believed: the source is asked.
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
from slipway.github.client import Rest, Row

LOAD = Path("reports/load.json")
JOB = "load-gate"
SOURCES = ("machine", "cluster", "status")
WORDS: dict[str, Word] = {"success": "pass", "failure": "fail"}
"""Of a commit status; `error` and `pending` are unsure."""
MAX_COMMITS = 200
"""How far back along main a status is looked for."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A load verdict about the digest `of`, reached at `at`, told by the source `by` of staging at `commit`."""

    verdict: Word
    of: str
    at: datetime
    by: str
    commit: str | None = None
    p95_ms: float | None = None
    requests: int | None = None

    def record(self) -> dict[str, Any]:
        """As a production line quotes it."""
        return {"load": self.verdict, "p95_ms": self.p95_ms, "requests": self.requests, "of": self.of,
                "at": self.at.astimezone(UTC).isoformat(), "by": self.by, "commit": self.commit}  # fmt: skip


class Told(BaseModel):
    """The part of a load verdict's record that is read."""

    model_config = ConfigDict(frozen=True)

    chapter: Literal["load"]
    verdict: Word
    inputs: dict[str, str | None]
    checks: list[dict[str, Any]]
    rows: int


@contextmanager
def github_client(source: str, params: config.Params, given: Actions | None) -> Iterator[Rest | None]:
    """GitHub's API where the source needs it, as `environment.actions` says (ConfigError when it does not)."""
    if source != "status":
        yield None
        return
    actions, limits = given or environment.actions(), params.comment
    with Rest(actions.api, actions.repository, actions.token,
              attempts=limits.attempts, timeout_seconds=limits.timeout_seconds) as rest:  # fmt: skip
        yield rest


def digest(line: ledger.Line) -> str:
    """What evidence must be about: the image's digest, on this machine the hash of the bento."""
    return line.image.rpartition("@")[2] if line.image else line.bento_sha256


def find(
    source: str, params: config.Params, staged: ledger.Line, *, root: Path, client: Rest | None = None,
    only: str | None = None,
) -> Evidence:  # fmt: skip
    """Ask `source` for its evidence about `staged`; CheckFailed or Inconclusive when it has none.

    `status` needs the `client`, and looks at the commit `only` alone when that is given.
    """
    match source:
        case "machine":
            return from_local_report(root)
        case "cluster":
            return from_argocd(params, staged, root)
        case "status" if client is not None:
            return from_commit_status(params, staged, client, root, only=only)
    raise ConfigError(f"evidence: source {source!r} is not one of {', '.join(SOURCES)}", hint="--source machine")


def require_pass(
    found: Evidence, of: str, *, now: datetime, limits: config.Release, chapter: str = "promote"
) -> Evidence:
    """`found`, when it is a pass about exactly `of`, neither too old nor from the future; else CheckFailed or Inconclusive."""
    if found.of != of:
        raise CheckFailed(
            f"{chapter}: the load verdict is about {found.of[:19]}, staging runs {of[:19]}",
            hint="let staging's gate judge what staging runs, then again",
        )
    if found.verdict != "pass":
        error = CheckFailed if found.verdict == "fail" else Inconclusive
        raise error(
            f"{chapter}: staging's load verdict is {found.verdict}, limit: pass",
            hint="docs/operations.md, section load",
        )
    require_fresh(found.at, now=now, limits=limits, what=f"{chapter}: the evidence")
    return found


def require_fresh(at: datetime, *, now: datetime, limits: config.Release, what: str) -> None:
    """CheckFailed when `at` is older than the limit, or later than now by more than clocks may differ."""
    age, skew = now - at, timedelta(minutes=limits.max_clock_skew_minutes)
    if age < -skew:
        minutes = -age / timedelta(minutes=1)
        raise CheckFailed(
            f"{what} is {minutes:.4g} minutes from the future, limit: {limits.max_clock_skew_minutes}",
            hint="set the clocks of the cluster and of this machine",
        )
    if age > timedelta(days=limits.max_evidence_age_days):
        days = age / timedelta(days=1)
        raise CheckFailed(
            f"{what} is {days:.4g} days old, limit: {limits.max_evidence_age_days}",
            hint="release again: staging's gate judges it anew",
        )


# This machine


def from_local_report(root: Path) -> Evidence:
    """reports/load.json, reached when it was written."""
    told = _told(files.read_json(root / LOAD, hint="slipway load"), str(LOAD))
    at = datetime.fromtimestamp((root / LOAD).stat().st_mtime, UTC).replace(microsecond=0)
    return _evidence(told, at=at, by="machine", commit=None)


# The cluster


def from_argocd(params: config.Params, staged: ledger.Line, root: Path) -> Evidence:
    """The last operation of staging's application: ended well, at a revision that holds the digest, its gate's verdict.

    A gate that says no is a verdict, too; an operation that runs yet, or ran no gate, is Inconclusive.
    """
    name, of = f"{params.track.model}-staging", digest(staged)
    seen = argocd.get_app(name)
    app = seen.whole  # what Argo CD keeps of the sync that ran the gate, when it has healed something since
    if not app.revision or app.finished is None:
        raise Inconclusive(
            f"promote: {name} has ended no operation: {argocd.describe(app)}", hint=f"argocd app get {name}"
        )
    held = _held(git.commit(app.revision, root=root), root)
    if held != of:
        raise CheckFailed(
            f"promote: {name} last synced {app.revision[:12]}, whose staging overlay holds {(held or 'no image')[:19]}, "
            f"not {of[:19]}",
            hint="wait for Argo CD, then again",
        )
    gates = [hook.phase for hook in app.hooks if hook.kind == "PostSync"]
    if not gates and app is seen:
        raise Inconclusive(
            f"promote: the last operation of {name} ran no gate (one that heals runs none)",
            hint=f"argocd app sync {name}, which runs the gate again",
        )
    told = _last(kubectl.hook_log(name, JOB), f"the log of {name}'s {JOB}")
    if told.verdict == "pass" and {app.phase, *gates} != {"Succeeded"}:
        raise CheckFailed(
            f"promote: the operation of {name} is {app.phase}: {app.message}", hint=f"argocd app get {name}"
        )
    return _evidence(told, at=app.finished, by="cluster", commit=app.revision)


def _last(log: str, what: str) -> Told:
    """The verdict in the last line of a gate's log."""
    rows = [row for row in log.splitlines() if row.strip()]
    try:
        return _told(json.loads(rows[-1]) if rows else None, what)
    except json.JSONDecodeError:
        raise Inconclusive(f"promote: {what} does not end in a verdict", hint="run the gate again") from None


def _told(record: Any, what: str) -> Told:
    try:
        return Told.model_validate(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the record"
        raise Inconclusive(
            f"promote: {what} is no verdict: {where}: {first['msg']}", hint="run the gate again"
        ) from None


def _evidence(told: Told, *, at: datetime, by: str, commit: str | None) -> Evidence:
    found = [check.get("value") for check in told.checks if "p95" in str(check.get("name"))]
    p95 = [float(value) for value in found if isinstance(value, int | float)]
    of = told.inputs.get("image") or told.inputs.get("bento_sha256") or "nothing"
    return Evidence(verdict=told.verdict, of=of, at=at, by=by, commit=commit, p95_ms=max(p95, default=None),
                    requests=told.rows)  # fmt: skip


# GitHub


def from_commit_status(
    params: config.Params, staged: ledger.Line, client: Rest, root: Path, *, only: str | None = None
) -> Evidence:
    """The newest status about the digest: of our context and creator, on the newest such commit that was judged.

    A commit counts when it is on main (first parents) and its staging overlay holds the digest; `only` looks at one.
    """
    limits, of = params.release, digest(staged)
    for commit in _commits(of, root):
        if only not in (None, commit):
            continue
        rows = [row for row in api.statuses(client, commit)
                if (row.get("context"), (row.get("creator") or {}).get("login")) == (limits.status, limits.creator)]  # fmt: skip
        if rows:
            row = max(rows, key=lambda row: (str(row["created_at"]), int(row["id"])))
            return Evidence(verdict=WORDS.get(str(row["state"]), "unsure"), of=of, at=_moment(row), by="status",
                            commit=commit)  # fmt: skip
    raise CheckFailed(
        f"promote: no status {limits.status} by {limits.creator} is on a commit whose staging overlay holds {of[:19]}",
        hint="wait for staging's gate; docs/operations.md, section promote",
    )


def _commits(of: str, root: Path) -> Iterator[str]:
    """Commits of main, the newest first, whose staging overlay holds the digest."""
    tip = git.base_commit(None, root=root)
    log = git.run("log", "--first-parent", f"--max-count={MAX_COMMITS}", "--format=%H", tip, root=root)
    for commit in log.splitlines():
        if _held(commit, root) == of:
            yield commit


def _held(commit: str, root: Path) -> str | None:
    """The digest of staging's overlay at a commit; None without an overlay, or with a broken one, which Argo CD refuses."""
    try:
        pinned = kustomization.pinned_at("staging", commit, root)
    except ConfigError:
        return None
    return pinned.digest if pinned else None


def _moment(row: Row) -> datetime:
    try:
        at = datetime.fromisoformat(str(row["created_at"]))
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise Inconclusive(f"promote: GitHub says the status is of {row['created_at']!r}, which is no moment")
    return at
