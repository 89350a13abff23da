from __future__ import annotations

import pytest

from slipway.core import ledger
from slipway.errors import DataError
from slipway.sandbox.drills import ledger_tampering
from support.release_repository import line

STAGED = line(3)
TEXT = "".join(
    f"{line(n, 'production', supersedes=line(n - 1).identity if n > 1 else None).model_dump_json()}\n" for n in (1, 2)
)


def test_prettier_metrics_change_the_last_line_alone():
    after = ledger_tampering.with_better_metrics(TEXT)
    assert after.splitlines()[0] == TEXT.splitlines()[0]
    assert ledger.parse(after, where="x")[1].metrics["mae"] == pytest.approx(3.5 * 1.02)
    with pytest.raises(DataError, match="line 2 was changed"):
        ledger.added_lines(TEXT, after, "x")


def test_line_that_was_removed_is_gone():
    assert ledger_tampering.without_last_line(TEXT) == TEXT.splitlines(keepends=True)[0]


def test_promotion_without_evidence_looks_like_one():
    (new,) = ledger.added_lines(TEXT, ledger_tampering.with_unproven_promotion(TEXT, STAGED), "x")
    assert (new.action, new.env, new.evidence, new.image) == ("promote", "production", None, STAGED.image)
