"""`promote`: production takes what staging ran and judged, with the evidence, and nothing else."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from slipway import config, files, git, ledger, release
from slipway.errors import Refused, Unsure

LOAD = Path("reports/load.json")


def evidence(record: dict[str, Any], staged: ledger.Line) -> dict[str, Any]:
    """The load verdict of exactly the staged release; Refused for another one's or a fail, Unsure for unsure."""
    of = record["inputs"].get("bento_sha256")
    if of != staged.identity:
        raise Refused(
            f"promote: the load verdict is about {str(of)[:12]}, staging runs {staged.identity[:12]}",
            hint="slipway load",
        )
    if record["verdict"] != "pass":
        error = Refused if record["verdict"] == "fail" else Unsure
        raise error(
            f"promote: staging's load verdict is {record['verdict']}, limit: pass",
            hint="see reports/load.json",
        )
    p95 = max((c["value"] for c in record["checks"] if "p95" in c["name"]), default=None)
    return {"load": record["verdict"], "p95_ms": p95, "requests": record["rows"], "of": of}


def line(staged: ledger.Line, before: ledger.Line | None, *, at: datetime, proof: dict[str, Any]) -> ledger.Line:
    """Staging's line as production's next one."""
    update = {"at": at, "env": "production", "action": "promote", "evidence": proof,
              "supersedes": before.identity if before else None}  # fmt: skip
    return staged.model_copy(update=update)


def refuse(staged: ledger.Line, lines: list[ledger.Line], *, at: datetime, max_age: timedelta, root: Path) -> None:
    """Refused when staging's release is too old, or older than what production runs."""
    if at - staged.at > max_age:
        raise Refused(
            f"promote: staging's release is {(at - staged.at) / timedelta(days=1):.4g} days old, limit: {max_age.days}",
            hint="release again",
        )
    release.forward(staged.commit, lines, chapter="promote", root=root)


def run(params: config.Params, *, root: Path = Path()) -> str:
    """releases/staging.jsonl and reports/load.json → a line in releases/production.jsonl and its commit."""
    root = root.resolve()
    git.identity(root)
    git.clean(root, leave="releases/")
    staged, lines = ledger.newest(ledger.read("staging", root)), ledger.read("production", root)
    if staged is None:
        raise Refused("promote: staging never ran anything", hint="slipway release")
    before = ledger.newest(lines)
    if before and before.identity == staged.identity:
        return f"production already has {before.bento}: nothing to promote"
    at = git.now()
    refuse(staged, lines, at=at, max_age=timedelta(days=params.release.max_evidence_age_days), root=root)
    new = line(staged, before, at=at, proof=evidence(files.read_json(root / LOAD, hint="slipway load"), staged))
    release.write(new, title=f"Promote {new.bento} to production", root=root)
    return f"production ← {new.bento}, load verdict {new.evidence['load'] if new.evidence else '?'}"
