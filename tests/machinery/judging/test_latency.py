"""The check on real services of a small repository: equal, slower, broken, gone, and with another contract.

What a busy test machine does to milliseconds is kept out by wide tolerances and by faults that are far beyond them;
how a slowness of a fifth is told from noise is measured by dev/benchmarks/latency.py.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.core import config, files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.judging import latency, latency_services
from slipway.judging.latency import Measured
from slipway.judging.latency_statistics import Limits
from slipway.reporting import report_data
from support.committed_project import save
from support.latency_samples import LIMITS as BANDS
from support.latency_samples import limited, times
from support.packable_project import committed
from support.paths import OBJECTIVE

LIMITS = BANDS.model_copy(update={
    "warm_seconds": 0.05, "seconds": 0.4, "again_seconds": 0.4, "min_rounds": 3,
    "one_row_p50_at_most": 1.0, "one_row_p95_at_most": 6.0, "all_rows_p50_at_most": 2.0, "band_at_most": 9.0,
})  # fmt: skip
SPIN = """
import time as _time
_unspun = Front.__call__

async def _spun(self, scope, receive, send):
    if scope.get("path") == "/predict":
        until = _time.perf_counter() + 0.003
        while _time.perf_counter() < until:
            pass
    await _unspun(self, scope, receive, send)

Front.__call__ = _spun
"""
GONE = """
_asked, _alive = 0, Front.__call__

async def _dying(self, scope, receive, send):
    global _asked
    _asked += scope.get("path") == "/predict"
    if _asked > 40:
        import os
        os._exit(1)
    await _alive(self, scope, receive, send)

Front.__call__ = _dying
"""
WRONG = """
_right = Front.__call__

async def _wrong(self, scope, receive, send):
    async def other(message):
        await send(message | {"status": 500} if message["type"].endswith("start") else message)
    await _right(self, scope, receive, other if scope.get("path") == "/predict" else send)

Front.__call__ = _wrong
"""


@pytest.fixture(scope="module")
def repository(packable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes' service, committed, with limits for a test. Read only."""
    folder = committed(packable, tmp_path_factory.mktemp("latency") / "a b é")
    (folder / "loadtests").mkdir()
    shutil.copy(OBJECTIVE, folder / "loadtests")
    limited(folder, LIMITS.model_dump())
    return save(folder)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    return shutil.copytree(repository, tmp_path / "a b é")


def append(folder: Path, text: str, name: str = "src/slipway/serving/asgi.py") -> Path:
    """Change a file of the service, and commit."""
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(text)
    return save(folder)


def told(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = files.read_json(folder / latency.VERDICT)
    return found


def ok(folder: Path) -> dict[str, bool | None]:
    return {check["name"].split(",")[0]: check["ok"] for check in told(folder)["checks"]}


def asked(folder: Path, params: config.Params) -> str:
    return latency.run(params, base="HEAD~1", root=folder)


def test_an_equal_service_passes_and_its_percentiles_are_told(copy: Path, params: config.Params):
    said = asked(append(copy, "\n# a comment\n"), params)
    assert re.fullmatch(
        r"not slower than the base: p50 of one row \d+\.\d{3} → \d+\.\d{3} ms, [+-][\d.]+% \[[+-][\d.]+%, [+-][\d.]+%\]",
        said,
    )
    record = told(copy)
    assert record["verdict"] == "pass"
    assert record["inputs"] == {"commit": git.commit(root=copy), "base": git.commit("HEAD~1", root=copy)}
    assert record["notes"]["differing"] == ["src/slipway/serving/asgi.py"]
    assert [row[0] for row in record["notes"]["table"]] == ["p50 of one row", "p95 of one row", "p50 of all rows"]
    assert (record["notes"]["starts"], record["notes"]["own_rows"]) == (1, False)
    assert record["rows"] > 2 * record["notes"]["rounds"] > 0
    assert git.uncommitted_files(copy) == []
    assert not (copy / ".slipway/latency").exists()


def changed(bento: Path, to: Path, text: str = "") -> Path:
    """A copy of a bento whose front says something more."""
    shutil.copytree(bento, to, ignore=shutil.ignore_patterns("__pycache__"))
    with (to / "src/slipway/serving/asgi.py").open("a", encoding="utf-8") as file:
        file.write(text)
    return to


def competed(root: Path, base: Path, head: Path, limits: Limits = LIMITS) -> Measured:
    """What the check finds of two bentos, each started by the code of `root`."""
    two = [latency_services.Side(name=name, tree=root, folder=bento / "src", python=Path(sys.executable))
           for name, bento in (("base", base), ("head", head))]  # fmt: skip
    return latency.compete(two, [base, head], latency.Rows.of(two), limits, seed=1, root=root)


def word(found: Measured) -> str:
    return Verdict(chapter="latency", checks=found.checks).word


def test_a_slower_service_is_refused_after_a_second_start(repository: Path, bento: Path, tmp_path: Path):
    longer = {"seconds": 1.0, "again_seconds": 1.5, "starts_at_most": 5, "band_at_most": 0.01}
    found = competed(repository, bento, changed(bento, tmp_path / "slow", SPIN), LIMITS.model_copy(update=longer))
    assert word(found) == "fail"
    assert next(check.name for check in found.checks if check.ok is False) == "p50 of one row, more than the base's"
    assert len(found.times) == len(found.others) >= 2  # more on a machine that is too busy to tell
    assert (found.errors, found.bands[0].head_ms > 3) == ([0, 0], True)


def test_what_cannot_be_told_is_measured_with_more_starts(repository: Path, bento: Path):
    found = competed(repository, bento, bento, LIMITS.model_copy(update={"min_rounds": 10**6}))
    assert (word(found), len(found.times)) == ("unsure", LIMITS.starts_at_most)


@pytest.mark.parametrize(
    ("said", "starts", "enough"),
    [((True, True), 1, True), ((True, False), 1, False), ((True, False), 2, True), ((None, False), 2, True),
     ((True, None), 2, False), ((True, None), 3, False), ((), 1, False)],
)  # fmt: skip
def test_a_yes_is_enough_and_a_no_over_two_starts(said: Sequence[bool | None], starts: int, enough: bool):
    checks = [Check(name="a", value=1, limit="", ok=ok) for ok in said]
    assert latency.told(Measured(times=[times(rounds=5)] * starts, checks=checks)) is enough


@pytest.mark.parametrize(("fault", "said"), [(WRONG, "status 500"), (GONE, "no answer: ")])
def test_a_service_that_answers_badly_or_dies_is_refused(
    repository: Path, bento: Path, tmp_path: Path, fault: str, said: str
):
    found = competed(repository, bento, changed(bento, tmp_path / "bad", fault))
    assert word(found) == "fail"
    assert said in str(next(check.value for check in found.checks if check.name == "errors of the head"))
    assert (found.bands, len(found.times)) == ([], 1)


def test_a_base_that_dies_cannot_be_compared_with(repository: Path, bento: Path, tmp_path: Path):
    found = competed(repository, changed(bento, tmp_path / "bad", GONE), bento)
    assert word(found) == "unsure"
    assert "errors of the base" in [check.name for check in found.checks if check.ok is None]


def test_another_contract_is_asked_its_own_rows(repository: Path, bento: Path, tmp_path: Path):
    other = changed(bento, tmp_path / "other")
    contract, golden = (files.read_json(other / f"src/models/{name}.json") for name in ("contract", "golden"))
    contract["inputs"]["properties"]["hour"]["maximum"] = contract["example"]["hour"] = 13
    few = [row for row in golden if row["row"]["hour"] <= 13]
    (other / "src/models/contract.json").write_text(json.dumps(contract), "utf-8")
    (other / "src/models/golden.json").write_text(json.dumps(few), "utf-8")
    found = competed(repository, bento, other)
    assert (word(found), found.own_rows) == ("pass", True)


def test_a_head_that_is_not_built_is_refused_and_a_base_leaves_it_unsure(copy: Path, params: config.Params):
    listed = (copy / "bentofile.yaml").read_text("utf-8")
    (copy / "bentofile.yaml").write_text(listed.replace("include:", "include:\n  - src/gone.py"), "utf-8")
    with pytest.raises(
        CheckFailed, match=r"service of the head is src/gone\.py, named in bentofile\.yaml, does not exist"
    ):
        asked(save(copy), params)
    (copy / "bentofile.yaml").write_text(listed, "utf-8")
    with pytest.raises(
        Inconclusive, match=r"service of the base is src/gone\.py of \w{12}: not in DVC's cache, and cannot be rebuilt"
    ):
        asked(save(copy), params)


def test_a_service_that_does_not_start_is_named(repository: Path, bento: Path, tmp_path: Path):
    found = competed(repository, bento, changed(bento, tmp_path / "other", "\nraise RuntimeError('no such service')\n"))
    assert word(found) == "fail"
    assert [check.name for check in found.checks] == ["service of the head"]
    assert "no such service" in str(found.checks[0].value)


def test_a_side_that_is_missing_is_a_no_of_the_head_alone(tmp_path: Path):
    two = [
        latency_services.Side(name=name, tree=tmp_path, folder=tmp_path, python=tmp_path) for name in ("base", "head")
    ]
    error = ConfigError("it  is\nnot there")
    checks = latency.missing(two, [error, error])
    assert [(check.ok, check.value) for check in checks] == [(None, "it is not there"), (False, "it is not there")]
    assert latency.missing(two, [tmp_path, tmp_path]) == []


def test_a_base_without_golden_rows_cannot_be_compared_with(copy: Path, params: config.Params):
    (copy / "models/golden.json").write_text("[]", "utf-8")
    save(copy)
    with pytest.raises(Inconclusive, match="golden rows of the base is 0, limit: ≥ 1"):
        asked(append(copy, "# other\n"), params)


def test_equal_files_are_not_measured_and_it_is_said(copy: Path, params: config.Params):
    assert asked(append(copy, "\n# no part of the service\n", "src/slipway/judging/judge.py"), params) == (
        "the same service as the base's: not one file of it differs"
    )
    assert (told(copy)["verdict"], told(copy)["rows"]) == ("pass", 0)
    given = report_data.drop_stale({"latency": told(copy)}, {}, git.commit(root=copy))
    assert given["latency"]["checks"][0]["limit"] == "nothing to compare"


def test_a_base_without_a_service_is_said(copy: Path, params: config.Params):
    kept = (copy / "bentofile.yaml").read_text("utf-8")
    (copy / "bentofile.yaml").unlink()
    save(copy)
    (copy / "bentofile.yaml").write_text(kept, "utf-8")
    assert asked(save(copy), params) == "the base has no service"
    assert told(copy)["verdict"] == "pass"


def measured(*, rounds: int = 60, errors: Sequence[int] = (0, 0), ratio: float = 1.0) -> Measured:
    return Measured(times=[times(ratio, rounds=rounds)], asked=[100, 100], errors=list(errors), said=["a", "b"])


def judged(found: Measured) -> str:
    return word(replace(found, checks=latency.verdicts(found, BANDS, seed=1)[0]))


def test_few_rounds_are_unsure_and_have_no_band():
    checks, bands = latency.verdicts(measured(rounds=4), BANDS, seed=1)
    assert [(check.name, check.ok) for check in checks if not check.ok] == [("rounds", None)]
    assert bands == []
    assert judged(measured(rounds=5)) == "pass"


def test_errors_of_the_head_are_a_no_and_of_the_base_unsure():
    assert judged(measured(errors=(0, 1))) == "fail"
    assert judged(measured(errors=(1, 0))) == "unsure"
    assert judged(measured(errors=(1, 1))) == "fail"
    assert judged(measured(ratio=1.3)) == "fail"


def test_nothing_measured_has_no_band():
    nothing = Measured(asked=[1, 1], errors=[0, 0])
    assert judged(nothing) == "unsure"
    assert latency.sentence(nothing) == ""
    assert latency.hint(nothing) == latency.HINT
    assert latency.hint(replace(nothing, others=[0.1, 0.25])).endswith("others used 25% of the processors meanwhile")


def test_measurements_of_both_starts_count_together():
    found = Measured()
    for _ in range(2):
        found.add(times(rounds=3), [])
    assert found.rounds == 6
    assert np.concatenate([part["one row"] for part in found.times]).shape[0] == 6
