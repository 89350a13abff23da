"""The canary's judge: each check red for its own reason, what cannot be told is unsure, and the whole over HTTP."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from slipway.core import files
from slipway.errors import ConfigError, DataError
from slipway.loadtest import canary, slo
from support.fake_service import ENDPOINT, LIMITS, SHA, Twin, context, right
from support.paths import OBJECTIVE

MEAN, FAR, ORDER = (
    "mean difference to the stable",
    "share that differs by more than 0.2",
    "order of the rows as the stable's",
)
GOLDEN, SHIFT, MODEL = "difference to its golden answers", "shift of the predictions", "model served by the canary"
NULLS, SLOWER = "answers without a number", "p95_ms beyond 1.5 × the stable's"
LAG, P95 = "generator lag p99_ms", "p95_ms of the canary"
DRAWN = random.Random(5)
RANDOM = {round(x / 1000, 3): DRAWN.random() for x in range(1001)}


def better(row: Any) -> float:
    """What a good change does: somewhat different answers."""
    return min(1.0, max(0.0, right(row) * 1.05 - 0.01))


def constant(_: Any) -> float:
    return 0.42


def inverted(row: Any) -> float:
    return 1 - right(row)


def shuffled(row: Any) -> float:
    return right({"x": row["y"] or 0.0, "y": row["x"]})


def halved(row: Any) -> float:
    return right(row) / 2


def arbitrary(row: Any) -> float:
    """Answers spread as the right ones, but to other rows."""
    return right({"x": RANDOM[round(float(row["x"]), 3)], "y": RANDOM[round(float(row["y"] or 0.0), 3)]})


def broken(verdict: Any, ok: bool | None = False) -> set[str]:
    return {check.name for check in verdict.checks if check.ok is ok}


def tried(of: canary.Context, **fault: Any) -> Any:
    return canary.judge(of, Twin(of).side(), Twin(of, **fault).side(), image="sha256:1")


def test_the_same_model_passes() -> None:
    verdict = tried(context())
    assert (verdict.word, verdict.chapter, verdict.rows) == ("pass", "canary", 204), broken(verdict)
    assert verdict.inputs == {"image": "sha256:1", "model_sha256": SHA}
    assert len(verdict.checks) == 14


def test_a_somewhat_different_model_passes() -> None:
    verdict = tried(context(better), model=better)
    assert verdict.word == "pass", [check for check in verdict.checks if not check.ok]


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ({"failing": 20}, {"errors of the canary"}),
        ({"slow": 12, "slow_ms": 80.0}, {"p95_ms of the canary", SLOWER}),
        ({"ms": 20.0}, {SLOWER}),
        ({"model": lambda row: None if row["kind"] == "b" else right(row)}, {NULLS}),
        ({"sha": "b" * 64}, {MODEL}),
        ({"model": lambda row: right(row) + 1e-4}, {GOLDEN}),
    ],
)
def test_each_fault_is_refused_by_its_own_check(fault: dict[str, Any], names: set[str]) -> None:
    verdict = tried(context(), **fault)
    assert (verdict.word, broken(verdict), broken(verdict, None)) == ("fail", names, set())


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (constant, {MEAN, FAR, ORDER}),
        (inverted, {MEAN, FAR, ORDER}),
        (shuffled, {MEAN, FAR, ORDER}),
        (arbitrary, {MEAN, FAR, ORDER}),
        (halved, {MEAN, FAR}),
    ],
)
def test_a_wrong_model_is_refused_though_its_own_image_agrees(model: Callable[[Any], float], names: set[str]) -> None:
    verdict = tried(context(model), model=model)  # golden answers and reference were made by the same wrong model
    assert (verdict.word, broken(verdict), broken(verdict, None)) == ("fail", names, set())


@pytest.mark.parametrize("model", [constant, inverted, shuffled, arbitrary, halved])
def test_a_wrong_model_is_refused_by_its_golden_answers(model: Callable[[Any], float]) -> None:
    assert {GOLDEN, MEAN, FAR} <= broken(tried(context(), model=model))


@pytest.mark.parametrize("model", [constant, inverted, halved])
def test_predictions_that_shift_are_refused(model: Callable[[Any], float]) -> None:
    assert SHIFT in broken(tried(context(model, reference=right), model=model))


def test_answers_outside_of_the_usual_range_are_far_apart() -> None:
    assert {SHIFT, MEAN} <= broken(tried(context(), model=lambda row: right(row) + 3))


@pytest.mark.parametrize(
    ("stable", "fault", "names"),
    [
        ({}, {"silent": True}, {"requests answered by the canary", "errors of the canary"}),
        ({"silent": True}, {}, {"requests answered by the stable", "errors of the stable"}),
        ({"failing": 20}, {}, {"errors of the stable"}),
        ({"slow": 10, "slow_ms": 80.0}, {"slow": 10, "slow_ms": 80.0}, {"p95_ms of the canary"}),
        ({}, {"slow": 20, "slow_ms": 40.0}, {SLOWER}),
        ({}, {"counts": False}, {SHIFT}),
        ({"model": constant}, {}, {ORDER}),
    ],
)
def test_what_cannot_be_told_is_unsure(stable: dict[str, Any], fault: dict[str, Any], names: set[str]) -> None:
    of = context(far_share_at_most=0.99, differ_by_at_most=0.9)
    verdict = canary.judge(of, Twin(of, **stable).side(), Twin(of, **fault).side())
    assert (verdict.word, broken(verdict), broken(verdict, None)) == ("unsure", set(), names)


def test_a_few_slow_requests_are_no_reason() -> None:
    assert tried(context(), slow=60, slow_ms=500.0).word == "pass"  # the load test has judged the p99


@pytest.mark.parametrize(
    ("fault", "word", "names"),
    [
        ({"slow": 12, "slow_ms": 80.0}, "unsure", set()),
        ({"model": inverted}, "fail", {GOLDEN, SHIFT, MEAN, FAR, ORDER}),
        ({}, "unsure", set()),
    ],
)
def test_who_asks_too_late_knows_no_latency(fault: dict[str, Any], word: str, names: set[str]) -> None:
    of = context()
    stable, new = Twin(of).side(), Twin(of, **fault).side()
    new.late_ms[:20] = [30.0] * 20
    verdict = canary.judge(of, stable, new)
    assert (verdict.word, broken(verdict)) == (word, names)
    assert broken(verdict, None) == {"generator lag p99_ms", "p95_ms of the canary", SLOWER}


def test_too_few_requests_are_unsure() -> None:
    verdict = tried(context(min_requests=205))
    assert verdict.word == "unsure"
    assert broken(verdict, None) == {"requests answered by the stable", "requests answered by the canary"}


def test_an_image_without_golden_rows_is_unsure() -> None:
    verdict = tried(replace(context(min_requests=20), golden=[]))
    assert verdict.word == "unsure"
    assert broken(verdict, None) == {GOLDEN, SHIFT, MEAN, FAR, ORDER}


def test_metrics_that_name_no_model_are_unsure() -> None:
    of = context()
    side = Twin(of).side()
    side.metrics = [text.replace("slipway_model_info", "other") for text in side.metrics]
    assert broken(canary.judge(of, Twin(of).side(), side), None) == {MODEL}


def test_a_canary_that_dies_on_the_way_is_refused() -> None:
    of = context()
    side = Twin(of).side()
    side.answers[20:] = [answer._replace(status=None, prediction=None) for answer in side.answers[20:]]
    verdict = canary.judge(of, Twin(of).side(), side)
    assert (verdict.word, broken(verdict)) == ("fail", {"errors of the canary"})


def test_what_is_wrong_is_said_beside_the_errors() -> None:
    verdict = tried(context(), failing=20, sha="b" * 64)
    assert broken(verdict) == {"errors of the canary", MODEL}


# The whole, over HTTP


def folder(tmp_path: Path, of: canary.Context) -> list[str]:
    """The models of an image and an objective that needs few requests; the words of the command line."""
    models = tmp_path / "models"
    models.mkdir()
    (models / "model.onnx").write_bytes(b"a graph")
    files.write_json(models / "contract.json", of.contract)
    files.write_json(models / "golden.json", of.golden[:12])
    objective = YAML(typ="safe").load(OBJECTIVE.read_text("utf-8"))
    endpoint = ENDPOINT.model_dump(exclude_none=True) | {"p95_ms_at_most": 100}
    short = {"rate": 10, "mixed": 4, "unusual": 1, "min_requests": 17, "slower_ms_at_most": 1000, "shift_at_most": 3}
    own = {"generator": {"lag_ms_at_most": 1000, "cpu_at_most": 1}}
    objective |= {"endpoints": {"POST /predict": endpoint}, "canary": LIMITS.model_dump() | short} | own
    files.write_json(tmp_path / "slo.yaml", objective)
    return ["--models", str(models), "--slo", str(tmp_path / "slo.yaml"), "--of", "localhost:5000/x@sha256:" + "1" * 64]


@pytest.mark.parametrize(("model", "code"), [(right, 0), (inverted, 4)])
def test_main_replays_to_both_and_judges(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: Any, code: int
) -> None:
    of, words = context(model), folder(tmp_path, context(model))
    sha = files.sha256(tmp_path / "models/model.onnx")
    for _ in range(4):  # a busy machine may be slow, once or twice
        with Twin(of) as stable, Twin(of, model=model, sha=sha) as new:
            ended = canary.main(["--stable", stable.url, "--canary", new.url, *words])
            assert len(new.asked) == len(stable.asked) == 2 + 17
            assert new.asked == stable.asked
        out = capsys.readouterr().out
        record = json.loads(out.splitlines()[-1])
        if all(check["ok"] for check in record["checks"] if check["name"] in (LAG, P95, SLOWER)):
            break
    assert ended == code, out
    assert (record["chapter"], record["verdict"]) == ("canary", {0: "pass", 4: "fail"}[code])
    assert record["inputs"] == {"image": "sha256:" + "1" * 64, "model_sha256": sha}
    assert ("fail   The predictions of the two versions differ by 0." in out) == bool(code)


def test_nobody_there_is_never_a_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = folder(tmp_path, context())
    with Twin(context()) as stable:
        assert canary.main(["--stable", stable.url, "--canary", "http://127.0.0.1:9", *words]) == 5
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["verdict"] == "unsure"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"canary": None}, ConfigError, "section canary: the section is None; expected: a section"),
        ({"canary": {**LIMITS.model_dump(), "far": 2}}, ConfigError, "section canary: far is 2; allowed: less than 1"),
        (
            {"canary": {**LIMITS.model_dump(), "rate": 30}},
            ConfigError,
            "rate is 30 requests/s; allowed: at most 10, one request per p95_ms_at_most",
        ),
        ({"endpoints": {"POST /ask": ENDPOINT.model_dump(exclude_none=True)}}, ConfigError, "no POST /predict"),
        ("model.onnx", DataError, "model.onnx does not exist"),
        ("golden.json", DataError, "golden.json does not exist"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change: Any, error: type[Exception], says: str) -> None:
    folder(tmp_path, context())
    if isinstance(change, str):
        (tmp_path / "models" / change).unlink()
    else:
        files.write_json(tmp_path / "slo.yaml", files.read_json(tmp_path / "slo.yaml") | change)
    with pytest.raises(error) as caught:
        canary.read_context(tmp_path / "models", tmp_path / "slo.yaml")
    assert says in str(caught.value)


def test_main_ends_with_the_code_of_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--stable", "http://127.0.0.1:9", "--canary", "http://127.0.0.1:9", *folder(tmp_path, context())]
    (tmp_path / "models/contract.json").write_text("broken", "utf-8")
    assert canary.main(words) == 3
    assert "contract.json is not valid JSON" in capsys.readouterr().out
    (tmp_path / "slo.yaml").unlink()
    assert canary.main(words) == 2


def test_a_digest_is_needed(tmp_path: Path) -> None:
    words = [*folder(tmp_path, context())[:-1], "localhost:5000/x:latest"]
    assert canary.main(["--stable", "http://127.0.0.1:9", "--canary", "http://127.0.0.1:9", *words]) == 2


def test_limits_are_the_section_of_the_objective() -> None:
    assert canary.Limits.model_validate(slo.read(OBJECTIVE).canary).order_at_least == 0.5
