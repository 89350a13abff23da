"""The check on running services: equal, slower, broken, gone, and with another contract.

One test builds and starts real bentos. All others use a stand-in that starts in a moment (support/latency_samples.py).
Their limits are so wide, and their faults so large, that a busy machine changes neither a pass nor a fail; how a
slowness of a fifth is told from noise is measured by dev/benchmarks/latency.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slipway.core import config, files, git
from slipway.core.verdict import Check, Verdict
from slipway.errors import CheckFailed, ConfigError, Inconclusive
from slipway.judging import latency
from slipway.judging.latency import Measurement
from slipway.judging.latency_services import Side
from slipway.judging.latency_statistics import Limits
from slipway.reporting import report_data
from slipway.reporting.report_model import Gate
from support.committed_project import save
from support.latency_samples import LIMITS, LOOSE, ROWS, SLOW, limited, stand_in, times
from support.packable_project import committed
from support.paths import OBJECTIVE


@pytest.fixture(scope="module")
def repository(packable: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bikes' service, committed, with limits for a test. Read only."""
    folder = committed(packable, tmp_path_factory.mktemp("latency") / "a b é")
    (folder / "loadtests").mkdir()
    shutil.copy(OBJECTIVE, folder / "loadtests")
    limited(folder, LOOSE.model_dump())
    return save(folder)


@pytest.fixture
def copy(repository: Path, tmp_path: Path) -> Path:
    return shutil.copytree(repository, tmp_path / "a b é")


def append(folder: Path, text: str, name: str = "src/slipway/serving/asgi.py") -> Path:
    """Change a file of the service, and commit."""
    with (folder / name).open("a", encoding="utf-8") as file:
        file.write(text)
    return save(folder)


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = files.read_json(folder / latency.VERDICT)
    return record


def check_latency(folder: Path, params: config.Params) -> str:
    return latency.run(params, base="HEAD~1", root=folder)


def test_an_equal_service_passes_and_its_percentiles_are_told(copy: Path, params: config.Params):
    said = check_latency(append(copy, "\n# a comment\n"), params)
    assert re.fullmatch(
        r"not slower than the base: p50 of one row [\d.]+ → [\d.]+ ms, [+-][\d.]+% \(interval [+-][\d.]+% to [+-][\d.]+%\)",
        said,
    )
    record = record_of(copy)
    assert record["verdict"] == "pass"
    assert record["inputs"] == {"commit": git.commit_hash(root=copy), "base": git.commit_hash("HEAD~1", root=copy)}
    assert record["notes"]["differing"] == ["src/slipway/serving/asgi.py"]
    assert [row[0] for row in record["notes"]["table"]] == ["p50 of one row", "p95 of one row", "p50 of all rows"]
    assert record["notes"]["starts"] >= 1  # more on a machine that is too busy for enough rounds
    assert record["notes"]["own_rows"] is False
    assert record["rows"] > 2 * record["notes"]["rounds"] > 0
    assert git.uncommitted_files(copy) == []
    assert not (copy / ".slipway/latency").exists()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder for a check of stand-ins."""
    return files.make_folder(tmp_path / "a b é")


def competed(root: Path, base: Side, head: Side, limits: Limits = LOOSE) -> Measurement:
    """The result of the check of two stand-ins."""
    two = [base, head]
    return latency.measure_until_conclusive(
        two, [side.folder for side in two], latency.Rows.of(two), limits, seed=1, root=root
    )


def word(found: Measurement) -> str:
    return Verdict(chapter="latency", checks=found.checks).word


def test_a_slower_service_is_refused_after_a_second_start(root: Path):
    found = competed(root, stand_in(root, "base"), stand_in(root, "head", **SLOW))
    assert word(found) == "fail"
    assert next(check.name for check in found.checks if check.ok is False) == "p50 of one row, more than the base's"
    assert len(found.times) == len(found.others) >= 2  # more on a machine that is too busy for enough rounds
    assert (found.errors, found.intervals[0].head_ms > 60) == ([0, 0], True)


def test_an_equal_service_passes_within_the_same_limits(root: Path):
    found = competed(root, stand_in(root, "base", ms=5), stand_in(root, "head", ms=5))
    assert (word(found), found.errors, found.own_rows) == ("pass", [0, 0], False)


def test_what_cannot_be_told_is_measured_with_more_starts(root: Path):
    limits = LOOSE.model_copy(update={"min_rounds": 10**6, "starts_at_most": 2, "seconds": 0.1, "again_seconds": 0.1})
    found = competed(root, stand_in(root, "base"), stand_in(root, "head"), limits)
    assert (word(found), len(found.times)) == ("unsure", 2)


@pytest.mark.parametrize(
    ("said", "starts", "enough"),
    [((True, True), 1, True), ((True, False), 1, False), ((True, False), 2, True), ((None, False), 2, True),
     ((True, None), 2, False), ((True, None), 3, False), ((), 1, False)],
)  # fmt: skip
def test_a_yes_is_enough_and_a_no_over_two_starts(said: Sequence[bool | None], starts: int, enough: bool):
    checks = [Check(name="a", value=1, limit="", ok=ok) for ok in said]
    assert latency.is_conclusive(Measurement(times=[times(rounds=5)] * starts, checks=checks)) is enough


@pytest.mark.parametrize(("fault", "said"), [({"status": 500}, "status 500"), ({"lives": 40}, "no response: ")])
def test_a_service_that_answers_badly_or_dies_is_refused(root: Path, fault: dict[str, float], said: str):
    # seconds enough for the busiest machine: the one that dies ends it, the other is judged by its first answer
    limits = LOOSE.model_copy(update={"seconds": 30.0} if "lives" in fault else {})
    found = competed(root, stand_in(root, "base"), stand_in(root, "head", **fault), limits)
    assert word(found) == "fail"
    assert said in str(next(check.value for check in found.checks if check.name == "errors of the head"))
    assert (found.intervals, len(found.times)) == ([], 1)


def test_a_base_that_dies_cannot_be_compared_with(root: Path):
    limits = LOOSE.model_copy(update={"seconds": 30.0})
    found = competed(root, stand_in(root, "base", lives=40), stand_in(root, "head"), limits)
    assert word(found) == "unsure"
    assert "errors of the base" in [check.name for check in found.checks if check.ok is None]


def test_another_contract_is_asked_its_own_rows(root: Path):
    base, head = stand_in(root, "base"), stand_in(root, "head", x_at_most=2, rows=ROWS[:2])
    found = competed(root, base, head)
    assert (word(found), found.own_rows) == ("pass", True)


def test_another_contract_that_takes_the_bases_rows_is_asked_them(root: Path):
    found = competed(root, stand_in(root, "base"), stand_in(root, "head", x_at_most=7))
    assert (word(found), found.own_rows) == ("pass", False)


def test_a_head_that_is_not_built_is_refused_and_a_base_leaves_it_unsure(copy: Path, params: config.Params):
    listed = (copy / "bentofile.yaml").read_text("utf-8")
    (copy / "bentofile.yaml").write_text(listed.replace("include:", "include:\n  - src/gone.py"), "utf-8")
    with pytest.raises(
        CheckFailed,
        match=r"The service of the head could not be built or started: src/gone\.py, named in bentofile\.yaml, does not exist",
    ):
        check_latency(save(copy), params)
    (copy / "bentofile.yaml").write_text(listed, "utf-8")
    with pytest.raises(
        Inconclusive,
        match=r"service of the base could not be built .*: src/gone\.py of commit \w{12}: not in DVC's cache, and cannot",
    ):
        check_latency(save(copy), params)


def test_a_service_that_does_not_start_is_named(root: Path):
    head = stand_in(root, "head", starter="raise RuntimeError('no such service')")
    found = competed(root, stand_in(root, "base"), head)
    assert word(found) == "fail"
    assert [check.name for check in found.checks] == ["service of the head"]
    assert "no such service" in str(found.checks[0].value)


def test_a_side_that_is_missing_is_a_no_of_the_head_alone(tmp_path: Path):
    two = [Side(name=name, tree=tmp_path, folder=tmp_path, python=tmp_path) for name in ("base", "head")]
    error = ConfigError("it  is\nnot there")
    checks = latency.failed_services(two, [error, error])
    assert [(check.ok, check.value) for check in checks] == [(None, "it is not there"), (False, "it is not there")]
    assert latency.failed_services(two, [tmp_path, tmp_path]) == []


def test_a_base_without_golden_rows_cannot_be_compared_with(root: Path):
    two = [stand_in(root, "base", rows=[]), stand_in(root, "head")]
    found = latency.compare_bentos(two, [side.folder for side in two], LOOSE, seed=1, root=root)
    assert [(check.name, check.value, check.limit, check.ok) for check in found.checks] == [
        ("golden rows of the base", 0, "≥ 1", None)
    ]


def test_equal_files_are_not_measured_and_it_is_said(copy: Path, params: config.Params):
    assert check_latency(append(copy, "\n# no part of the service\n", "src/slipway/judging/judge.py"), params) == (
        "the service is the same as the base's: none of its files differ"
    )
    assert (record_of(copy)["verdict"], record_of(copy)["rows"]) == ("pass", 0)
    given = report_data.drop_stale({"latency": Gate(**record_of(copy))}, {}, git.commit_hash(root=copy))
    assert given["latency"].checks[0].limit == "nothing to compare"


def test_a_base_without_a_service_is_said(copy: Path, params: config.Params):
    kept = (copy / "bentofile.yaml").read_text("utf-8")
    (copy / "bentofile.yaml").unlink()
    save(copy)
    (copy / "bentofile.yaml").write_text(kept, "utf-8")
    assert check_latency(save(copy), params) == "the base has no service to compare with"
    assert record_of(copy)["verdict"] == "pass"


def measured(*, rounds: int = 60, errors: Sequence[int] = (0, 0), ratio: float = 1.0) -> Measurement:
    return Measurement(
        times=[times(ratio, rounds=rounds)], requests=[100, 100], errors=list(errors), first_errors=["a", "b"]
    )


def judged(found: Measurement) -> str:
    return word(replace(found, checks=latency.judge(found, LIMITS, seed=1)[0]))


def test_few_rounds_are_unsure_and_have_no_band():
    checks, bands = latency.judge(measured(rounds=4), LIMITS, seed=1)
    assert [(check.name, check.ok) for check in checks if not check.ok] == [("rounds", None)]
    assert bands == []
    assert judged(measured(rounds=5)) == "pass"


def test_errors_of_the_head_are_a_no_and_of_the_base_unsure():
    assert judged(measured(errors=(0, 1))) == "fail"
    assert judged(measured(errors=(1, 0))) == "unsure"
    assert judged(measured(errors=(1, 1))) == "fail"
    assert judged(measured(ratio=1.3)) == "fail"


def test_nothing_measured_has_no_band():
    nothing = Measurement(requests=[1, 1], errors=[0, 0])
    assert judged(nothing) == "unsure"
    assert latency.sentence(nothing) == ""
    assert latency.hint_for(nothing) == latency.HINT
    assert latency.hint_for(replace(nothing, others=[0.1, 0.25])).endswith(
        "other programs used 25% of the processors during the measurement"
    )


def test_measurements_of_both_starts_count_together():
    found = Measurement()
    for _ in range(2):
        found.add(times(rounds=3), [])
    assert found.rounds == 6
    assert np.concatenate([part["one row"] for part in found.times]).shape[0] == 6
