"""Canary analysis: compare a new version with the stable one by their answers to the same requests.

Runs in the load gate's image as a Job of an Argo Rollouts analysis, and imports only what `requirements/load.lock` has.
A canary that is fast, answers 200 and predicts wrong values fails. Too few measurements are unsure, which aborts the
rollout as well.
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
from slipway.core.strict_model import StrictModel, describe_errors
from slipway.core.verdict import Check, Verdict, describe_check
from slipway.errors import ConfigError, DataError, SlipwayError
from slipway.loadtest import canary_replay, canary_statistics, generator_health
from slipway.loadtest.canary_replay import Side
from slipway.loadtest.generator_health import percent, percentile
from slipway.loadtest.slo import Endpoint, Positive
from slipway.loadtest.slo import read as read_slo
from slipway.serving import golden

ENDPOINT = "POST /predict"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
CODES = {"pass": 0, "fail": 4, "unsure": 5}
Share = Annotated[float, Field(ge=0, lt=1)]


class Limits(StrictModel):
    """The section `canary` of slo.yaml. Differences of predictions are parts of their range (1 for a probability)."""

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
class Context:
    """The state before the first request: the limits, and the model of the canary's image."""

    limits: Limits
    endpoint: Endpoint
    golden_difference_at_most: float
    generator: generator_health.Limits
    contract: Mapping[str, Any]
    golden: Sequence[Mapping[str, Any]]
    model_sha256: str

    @property
    def realistic(self) -> int:
        """Number of realistic rows: first the golden ones, then recombinations of them."""
        return len(self.golden) + (self.limits.mixed if self.golden else 0)

    def rows(self, seed: int = 0) -> list[canary_replay.Row]:
        """Return all rows to send; the same `seed` gives the same rows."""
        rng, golden = random.Random(seed), [each["row"] for each in self.golden]  # noqa: S311  # no secret
        mixed = canary_replay.recombined_rows(golden, self.limits.mixed, rng)
        return [*golden, *mixed, *canary_replay.random_rows(self.contract, self.limits.unusual, rng)]


def judge(context: Context, stable: Side, canary: Side, *, image: str | None = None, seconds: float = 0.0) -> Verdict:
    """Check the recorded answers of both versions; `image` is the digest of the canary's image, stored as evidence."""
    checks = [*_requests(context, stable, canary)]
    if all(check.ok for check in checks):
        checks += [
            *_latency(context, stable, canary),
            *_answers(context, canary),
            *_differences(context, stable, canary),
        ]
    else:  # too few answers for a pass, but they may still show a failure
        checks += [check for check in _answers(context, canary) if check.ok is False]
    inputs = {"image": image, "model_sha256": context.model_sha256}
    return Verdict(chapter="canary", checks=checks, rows=len(canary.answers), seconds=seconds, inputs=inputs)


def _requests(context: Context, stable: Side, canary: Side) -> list[Check]:
    """Check that both answered often enough, with few errors. Errors of the stable version are unsure, not a failure."""
    min_requests, max_errors = context.limits.min_requests, context.endpoint.errors_at_most
    checks = []
    for name, side in (("stable", stable), ("canary", canary)):
        count = sum(answer.status is not None for answer in side.answers)
        enough = True if count >= min_requests else None
        text = f"The {name} version answered {count:,} requests"
        limit = f"≥ {min_requests:,}"
        checks.append(Check(name=f"requests answered by the {name}", value=count, limit=limit, ok=enough, text=text))
        errors = sum(answer.status != 200 for answer in side.answers) / max(len(side.answers), 1)
        otherwise = False if name == "canary" and count else None
        ok = True if errors <= max_errors else otherwise
        limit, text = (
            f"≤ {percent(max_errors)} of the requests",
            f"{percent(errors)} of the requests to the {name} version failed",
        )
        checks.append(Check(name=f"errors of the {name}", value=errors, limit=limit, ok=ok, text=text))
    return checks


def _latency(context: Context, stable: Side, canary: Side) -> list[Check]:
    """Check the canary's p95 against the objective and against the stable version; unsure when this program was late.

    The p99 is not judged: of a few hundred requests it is a handful, and the load test has judged it.
    """
    lag = generator_health.lag(percentile([*stable.late_ms, *canary.late_ms], 0.99), context.generator)
    limits, stable_ms, canary_ms = context.limits, _latencies(stable), _latencies(canary)
    stable_p95, canary_p95 = (
        percentile([ms for ms in latencies if ms is not None], 0.95) or 0.0 for latencies in (stable_ms, canary_ms)
    )
    limit_ms = context.endpoint.p95_ms_at_most
    ok = (
        True if canary_p95 <= limit_ms else None if stable_p95 > limit_ms else False
    )  # both slow: not the canary's fault
    checks = [
        Check(
            name="p95_ms of the canary",
            value=canary_p95,
            limit=f"≤ {limit_ms:g} ms",
            ok=ok,
            text=f"p95 of the canary is {canary_p95:.4g} ms (stable version: {stable_p95:.4g} ms)",
        ),
        canary_statistics.check_latency_ratio(
            stable_ms, canary_ms, times=limits.slower_at_most, limit_ms=limits.slower_ms_at_most
        ),
    ]
    return [lag, *(checks if lag.ok else [replace(check, ok=None) for check in checks])]


def _latencies(side: Side) -> list[float | None]:
    """Return milliseconds per request, None for a request without status 200."""
    return [answer.latency_ms if answer.status == 200 else None for answer in side.answers]


def _answers(context: Context, canary: Side) -> list[Check]:
    """Check the canary's answers against its own image: finite numbers, model, golden predictions, distribution."""
    nulls = sum(answer.status == 200 and answer.prediction is None for answer in canary.answers)
    text = f"{nulls} answers of the canary have status 200 and no number"
    checks = [Check(name="answers without a number", value=nulls, limit="≤ 0", ok=nulls == 0, text=text)]
    served, expected = sorted(canary.models()), context.model_sha256
    names = ", ".join(sha[:12] for sha in served) or None
    ok = served == [expected] if served else None
    text = f"The canary serves the model {names}" if served else "The canary's metrics name no model"
    limit = f"the model of its image, {expected[:12]}"
    checks.append(Check(name="model served by the canary", value=names, limit=limit, ok=ok, text=text))
    stored = (float(each["prediction"]) for each in context.golden)
    pairs = zip(canary.answers, stored, strict=False)
    differences = [abs(a.prediction - s) / max(1.0, abs(s)) for a, s in pairs if a.prediction is not None]
    worst, most = max(differences, default=None), context.golden_difference_at_most
    ok = None if worst is None else worst <= most
    text = (
        ""
        if worst is None
        else f"The canary's answers to its golden requests differ from the stored ones by up to {worst:.2g}"
    )
    checks.append(Check(name="difference to its golden answers", value=worst, limit=f"≤ {most:g}", ok=ok, text=text))
    return [
        *checks,
        canary_statistics.check_prediction_shift(
            context.contract["reference"], canary.counted(), context.realistic, context.limits.shift_at_most
        ),
    ]


def _differences(context: Context, stable: Side, canary: Side) -> list[Check]:
    """Check the differences of the two versions' predictions on the realistic rows, in parts of their range."""
    limits, edges = context.limits, context.contract["reference"]["edges"]
    range_ = float(edges[-1]) - float(edges[0]) or 1.0
    both = zip(stable.answers[: context.realistic], canary.answers, strict=False)
    pairs = [(a.prediction, b.prediction) for a, b in both if a.prediction is not None and b.prediction is not None]
    differences = [abs(a - b) / range_ for a, b in pairs]
    mean = statistics.fmean(differences) if differences else None
    far = sum(difference > limits.far for difference in differences) / len(differences) if differences else None
    return [
        _at_most(
            "mean difference to the stable",
            mean,
            limits.differ_by_at_most,
            text="" if mean is None else f"The predictions of the two versions differ by {mean:.3g} on average",
        ),
        _at_most(
            f"share that differs by more than {limits.far:g}",
            far,
            limits.far_share_at_most,
            text="" if far is None else f"{percent(far)} of the predictions differ by more than {limits.far:g}",
        ),
        canary_statistics.check_rank_correlation(pairs, limits.order_at_least),
    ]


def _at_most(name: str, value: float | None, limit: float, *, text: str) -> Check:
    ok = None if value is None else value <= limit
    return Check(name=name, value=None if value is None else round(value, 4), limit=f"≤ {limit:g}", ok=ok, text=text)


def read_context(models: Path, slo: Path) -> Context:
    """Read the models folder of the canary's image and the objective; ConfigError, DataError."""
    objective = read_slo(slo)
    hint = f"correct the section canary, or the endpoint {ENDPOINT}, in slo.yaml"
    try:
        limits = Limits.model_validate(objective.canary)
    except ValidationError as error:
        problems = describe_errors(error, top_level="the section")
        raise ConfigError(f"{slo}, section canary: {problems}", hint=hint) from None
    if ENDPOINT not in objective.endpoints:
        raise ConfigError(f"{slo}: the section endpoints has no {ENDPOINT}", hint=hint)
    max_rate = 1000 / objective.endpoints[ENDPOINT].p95_ms_at_most
    if limits.rate > max_rate:
        raise ConfigError(
            f"{slo}, section canary: rate is {limits.rate:g} requests/s",
            allowed=f"at most {max_rate:g}, one request per p95_ms_at_most",
            value=limits.rate,
            hint=hint,
        )
    hint = "the Job's init container must copy the models out of the canary's image: see its log"
    contract: dict[str, Any] = files.read_json(models / "contract.json", kind=dict, hint=hint)
    requests = golden.read(models / "golden.json", hint=hint)
    graph = models / "model.onnx"
    if not graph.exists():
        raise DataError(f"{graph} does not exist", hint=hint)
    return Context(
        limits=limits, endpoint=objective.endpoints[ENDPOINT], contract=contract, golden=requests,
        golden_difference_at_most=objective.golden_difference_at_most, generator=objective.generator,
        model_sha256=files.sha256(graph),
    )  # fmt: skip


def run(args: argparse.Namespace) -> Verdict:
    """Replay the rows to both versions and judge the answers."""
    digest = DIGEST.search(args.of)
    if not digest:
        hint = "name the image by its digest, so that the verdict is about exact bytes"
        raise ConfigError(f"--of is {args.of!r}", expected="NAME@sha256:…", value=args.of, hint=hint)
    context, started = read_context(args.models, args.slo), time.monotonic()
    rows, limits = context.rows(), context.limits
    stable, canary = canary_replay.replay_to_both(
        args.stable, args.canary, rows, realistic=context.realistic, rate=limits.rate, warm=limits.warm
    )
    return judge(context, stable, canary, image=digest[0], seconds=time.monotonic() - started)


def main(words: Sequence[str]) -> int:
    """Run `canary --stable URL --canary URL --models FOLDER --slo FILE --of DIGEST` and return the exit code.

    The last line of stdout is the verdict as JSON.
    """
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
        status = {True: "pass  ", False: "fail  ", None: "unsure"}[check.ok]
        sys.stdout.write(
            f"{status} {describe_check(check)}\n"
        )  # stdout alone: a pod's log does not keep the order of two streams
    sys.stdout.write(json.dumps(verdict.record(), ensure_ascii=False, separators=(",", ":")) + "\n")
    return CODES[verdict.word]
