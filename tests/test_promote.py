from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from slipway import git, promote
from slipway.errors import Refused, Unsure
from test_ledger import line, repository  # noqa: F401

NOW = datetime(2026, 3, 8, tzinfo=UTC)


def record(**changes: object) -> dict[str, object]:
    checks = [{"name": "POST /predict p95_ms", "value": 7.1}]
    return {
        "verdict": "pass",
        "inputs": {"bento_sha256": f"{5:064x}"},
        "rows": 2400,
        "checks": checks,
    } | changes


def test_evidence_quotes_the_load_verdict():
    proof = promote.evidence(record(), line(5))
    assert proof == {"load": "pass", "p95_ms": 7.1, "requests": 2400, "of": f"{5:064x}"}


def test_evidence_about_another_bento_is_refused():
    with pytest.raises(Refused, match="is about 000000000000"):
        promote.evidence(record(), line(7, bento_sha256="ff"))


@pytest.mark.parametrize(("word", "error"), [("fail", Refused), ("unsure", Unsure)])
def test_only_a_pass_is_evidence(word, error):
    with pytest.raises(error, match=f"load verdict is {word}"):
        promote.evidence(record(verdict=word), line(5))


def test_production_line_is_stagings_with_evidence():
    new = promote.line(line(5, env="staging"), line(1), at=NOW, proof={"load": "pass"})
    assert (new.env, new.action, new.bento, new.supersedes) == (
        "production",
        "promote",
        "bikes:5",
        f"{1:064x}",
    )


def test_old_release_is_not_promoted(repository):  # noqa: F811
    with pytest.raises(Refused, match="is 7 days old, limit: 3"):
        promote.refuse(line(1), [], at=NOW, max_age=timedelta(days=3), root=repository)


def test_older_commit_than_productions_is_refused(repository):  # noqa: F811
    new, old = git.commit("HEAD", root=repository), git.commit("HEAD~1", root=repository)
    with pytest.raises(Refused, match="is no descendant of"):
        promote.refuse(line(7, commit=old), [line(1, commit=new)], at=NOW, max_age=timedelta(days=3), root=repository)
    promote.refuse(line(7, commit=new), [line(1, commit=old)], at=NOW, max_age=timedelta(days=3), root=repository)
