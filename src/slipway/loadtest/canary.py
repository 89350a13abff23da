"""The canary's judge: a new version beside the stable one, by answers to requests that it sends to both itself.

Runs in the gate's image as a Job of an Argo Rollouts analysis: imports only what `requirements/load.lock` has.
Fast, 200 OK and wrong is a no; nothing measured is unsure, and ends the rollout as well.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from slipway.core import files
from slipway.core.strict_model import StrictModel
from slipway.core.verdict import Check, Verdict, sentence
from slipway.errors import ConfigError, DataError, SlipwayError
from slipway.loadtest import canary_replay, canary_statistics, generator_health
from slipway.loadtest.canary_replay import Side
from slipway.loadtest.generator_health import percentile
from slipway.loadtest.slo import Endpoint, Positive
from slipway.loadtest.slo import read as read_slo

ENDPOINT = "POST /predict"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
CODES = {"pass": 0, "fail": 4, "unsure": 5}
Share = Annotated[float, Field(ge=0, lt=1)]


class Limits(StrictModel):
    """The section `canary` of slo.yaml. Differences of answers are in parts of the range of predictions (1 for a probability)."""

    rate: Positive
    mixed: Annotated[int, Field(ge=0)]
    unusual: Annotated[int, Field(ge=0)]
    warm: Annotated[int, Field(ge=0)]
    min_requests: Annotated[int, Field(gt=0)]
    slower_at_most: Annotated[float, Field(ge=1)]
    slower_ms_at_most: Annotated[float, Field(ge=0)]
    shift_at_most: Positive
    differ_by_at_most: Share
    far: Share
    far_share_at_most: Share
    order_at_least: Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What is known before a request is sent: the limits, and what the canary's image says of its model."""

    limits: Limits
    endpoint: Endpoint
    golden_difference_at_most: float
    generator: generator_health.Limits
    contract: Mapping[str, Any]
    golden: Sequence[Mapping[str, Any]]
    model_sha256: str

    @property
    def realistic(self) -> int:
        """How many of the rows look like real ones: the golden ones come first, then the mixed."""
        return len(self.golden) + (self.limits.mixed if self.golden else 0)

    def rows(self, seed: int = 0) -> list[canary_replay.Row]:
        """All rows that are sent, the same ones every time."""
        rng, golden = random.Random(seed), [each["row"] for each in self.golden]  # noqa: S311  # no secret
        mixed = canary_replay.recombined_rows(golden, self.limits.mixed, rng)
        return [*golden, *mixed, *canary_replay.random_rows(self.contract, self.limits.unusual, rng)]


def judge(given: Given, stable: Side, canary: Side, *, of: str | None = None, seconds: float = 0.0) -> Verdict:
    """Every check of what was replayed; `of` is the digest of the canary's image, kept as evidence. Pure."""
    checks = [*_requests(given, stable, canary)]
    if all(check.ok for check in checks):
        checks += [*_latency(given, stable, canary), *_answers(given, canary), *_differences(given, stable, canary)]
    else:  # what there is may still say no, and it may not say yes
        checks += [check for check in _answers(given, canary) if check.ok is False]
    inputs = {"image": of, "model_sha256": given.model_sha256}
    return Verdict(chapter="canary", checks=checks, rows=len(canary.answers), seconds=seconds, inputs=inputs)


def _requests(given: Given, stable: Side, canary: Side) -> list[Check]:
    """Enough answers from both, and few errors of the canary: those of the stable one make it impossible to tell."""
    least, most = given.limits.min_requests, given.endpoint.errors_at_most
    checks = []
    for name, side in (("stable", stable), ("canary", canary)):
        answered = sum(answer.status is not None for answer in side.answers)
        enough = True if answered >= least else None
        checks.append(Check(name=f"requests answered by the {name}", value=answered, limit=f"≥ {least}", ok=enough))
        errors = sum(answer.status != 200 for answer in side.answers) / max(len(side.answers), 1)
        no = False if name == "canary" and answered else None
        limit = f"≤ {most:g} of the requests"
        checks.append(Check(name=f"errors of the {name}", value=errors, limit=limit, ok=True if errors <= most else no))
    return checks


def _latency(given: Given, stable: Side, canary: Side) -> list[Check]:
    """The canary against the objective, and against the stable one in the same moments; unsure when who asks was late.

    By the p95 alone: the p99 of a few hundred requests is a handful of them, and the load test has judged it.
    """
    asking = generator_health.lag(percentile([*stable.late_ms, *canary.late_ms], 0.99), given.generator)
    limits, beside, own = given.limits, _well(stable), _well(canary)
    usual, value = (percentile([ms for ms in side if ms is not None], 0.95) or 0.0 for side in (beside, own))
    most = given.endpoint.p95_ms_at_most
    ok = True if value <= most else None if usual > most else False  # slow for both is not the canary's doing
    times, most_ms = limits.slower_at_most, limits.slower_ms_at_most
    found = [
        Check(name="p95_ms of the canary", value=value, limit=f"≤ {most:g} ms", ok=ok),
        canary_statistics.check_latency_ratio(beside, own, times=times, most_ms=most_ms),
    ]
    return [asking, *(found if asking.ok else [replace(check, ok=None) for check in found])]


def _well(side: Side) -> list[float | None]:
    """Milliseconds of each request, None where it was not answered well."""
    return [answer.latency_ms if answer.status == 200 else None for answer in side.answers]


def _answers(given: Given, canary: Side) -> list[Check]:
    """What the canary says, against what its own image says of it."""
    nulls = sum(answer.status == 200 and answer.prediction is None for answer in canary.answers)
    checks = [Check(name="answers without a number", value=nulls, limit="≤ 0", ok=nulls == 0)]
    served, wanted = sorted(canary.models()), given.model_sha256
    told = ", ".join(sha[:12] for sha in served) or None
    ok = served == [wanted] if served else None
    checks.append(Check(name="model served by the canary", value=told, limit=f"its image's, {wanted[:12]}", ok=ok))
    pairs = zip(canary.answers, given.golden, strict=False)
    apart = [abs(a.prediction - float(g["prediction"])) for a, g in pairs if a.prediction is not None]
    worst, most = max(apart, default=None), given.golden_difference_at_most
    ok = None if worst is None else worst <= most
    checks.append(Check(name="difference to its golden answers", value=worst, limit=f"≤ {most:g}", ok=ok))
    return [
        *checks,
        canary_statistics.check_prediction_shift(
            given.contract["reference"], canary.counted(), given.realistic, given.limits.shift_at_most
        ),
    ]


def _differences(given: Given, stable: Side, canary: Side) -> list[Check]:
    """How much the two say something else of the same realistic rows, in parts of the range of predictions."""
    limits, edges = given.limits, given.contract["reference"]["edges"]
    range_ = float(edges[-1]) - float(edges[0]) or 1.0
    both = zip(stable.answers[: given.realistic], canary.answers, strict=False)
    pairs = [(a.prediction, b.prediction) for a, b in both if a.prediction is not None and b.prediction is not None]
    apart = [abs(a - b) / range_ for a, b in pairs]
    mean = statistics.fmean(apart) if apart else None
    far = sum(d > limits.far for d in apart) / len(apart) if apart else None
    return [
        _most("mean difference to the stable", mean, limits.differ_by_at_most),
        _most(f"share that differs by more than {limits.far:g}", far, limits.far_share_at_most),
        canary_statistics.check_rank_correlation(pairs, limits.order_at_least),
    ]


def _most(name: str, value: float | None, most: float) -> Check:
    ok = None if value is None else value <= most
    return Check(name=name, value=None if value is None else round(value, 4), limit=f"≤ {most:g}", ok=ok)


def given(models: Path, slo: Path) -> Given:
    """Read the canary's models folder and the objective; ConfigError, DataError."""
    objective = read_slo(slo)
    hint = f"edit the section canary and the endpoint {ENDPOINT} of slo.yaml"
    try:
        limits = Limits.model_validate(objective.canary)
    except ValidationError as error:
        text = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'it'} is {e['input']!r}: {e['msg']}" for e in error.errors()
        )
        raise ConfigError(f"{slo}: canary: {text}", hint=hint) from None
    if ENDPOINT not in objective.endpoints:
        raise ConfigError(f"{slo}: endpoints has no {ENDPOINT}", hint=hint)
    most = 1000 / objective.endpoints[ENDPOINT].p95_ms_at_most
    if limits.rate > most:
        raise ConfigError(
            f"{slo}: canary: rate is {limits.rate:g}, limit: {most:g}, one every p95_ms_at_most", hint=hint
        )
    told = "the Job's init container copies them out of the canary's image"
    contract, golden = (files.read_json(models / name, hint=told) for name in ("contract.json", "golden.json"))
    graph = models / "model.onnx"
    if not graph.exists():
        raise DataError(f"{graph} does not exist", hint=told)
    return Given(
        limits=limits, endpoint=objective.endpoints[ENDPOINT], contract=contract, golden=golden,
        golden_difference_at_most=objective.golden_difference_at_most, generator=objective.generator,
        model_sha256=files.sha256(graph),
    )  # fmt: skip


def run(args: argparse.Namespace) -> Verdict:
    """Replay and judge."""
    digest = DIGEST.search(args.of)
    if not digest:
        raise ConfigError(f"--of {args.of!r} has no digest: a verdict is about exact bytes", hint="--of name@sha256:…")
    known, started = given(args.models, args.slo), time.monotonic()
    rows, limits = known.rows(), known.limits
    stable, canary = canary_replay.replay_to_both(
        args.stable, args.canary, rows, realistic=known.realistic, rate=limits.rate, warm=limits.warm
    )
    return judge(known, stable, canary, of=digest[0], seconds=time.monotonic() - started)


def main(words: Sequence[str]) -> int:
    """`canary --stable URL --canary URL --models FOLDER --slo FILE --of DIGEST`: the exit code; the record is the last line."""
    parser = argparse.ArgumentParser(prog="canary")
    for name in ("stable", "canary", "of"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--models", type=Path, default=Path("/models"))
    parser.add_argument("--slo", type=Path, default=Path("/slo/slo.yaml"))
    try:
        verdict = run(parser.parse_args(words))
    except SlipwayError as error:
        sys.stdout.write(f"error: {error}\nnext: {error.hint}\n")
        return error.code
    for check in verdict.checks:
        word = {True: "ok    ", False: "no    ", None: "unsure"}[check.ok]
        sys.stdout.write(f"{word} {sentence(check)}\n")  # one stream: a pod's log keeps no order of two
    sys.stdout.write(json.dumps(verdict.record(), ensure_ascii=False, separators=(",", ":")) + "\n")
    return CODES[verdict.word]
