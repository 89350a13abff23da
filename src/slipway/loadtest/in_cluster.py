"""The gates as a program of their own, in an image that has neither the pipeline nor a token.

    python -m slipway.loadtest.in_cluster load --host http://serve:3000 --of sha256:…
    python -m slipway.loadtest.in_cluster canary …

The last line of stdout is the verdict, as one line of JSON: evidence for who reads the log. All that is said before it
goes there too, for a pod's log does not keep the order of two streams.
Imports only what `requirements/load.lock` has.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slipway.core import files
from slipway.core.verdict import Check, Verdict, sentence
from slipway.errors import ConfigError, SlipwayError
from slipway.loadtest import load
from slipway.loadtest.slo import read as read_slo
from slipway.serving import golden

SERVED = re.compile(r'^slipway_model_info\{[^}]*model_sha256="([0-9a-f]{64})"', re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
LOOKS = 5
"""Connections that ask which model is served: behind one name there may be several pods."""
CODES = {"pass": 0, "fail": 4, "unsure": 5}


def run(host: str, *, of: str, slo: Path, models: Path, root: Path) -> Verdict:
    """The load verdict about the image `of`, whose models lie in `models`: the right model, its answers, its speed.

    `root` holds the locustfile. ConfigError when something is not mounted; Inconclusive when Locust measured nothing.
    """
    started = time.monotonic()
    found = DIGEST.search(of)
    if not found:
        raise ConfigError(f"--of {of!r} has no digest: a verdict is about exact bytes", hint="--of sha256:…")
    objective = read_slo(slo)
    contract, rows, sha = read(models)
    ready(host)
    checks = [served(host, sha), golden.replay(host, rows, tolerance=objective.golden_difference_at_most)]
    schedule = objective.schedules["cluster"]
    measured = load.measure(objective, schedule, host, root=root, contract=contract)
    verdict = load.judge(measured, objective, schedule, seconds=time.monotonic() - started)
    after = replace(served(host, sha), name="model served, after the load")
    return replace(verdict, checks=[*checks, *verdict.checks, after], inputs={"image": found[0], "model_sha256": sha})


def read(models: Path) -> tuple[Path, list[dict[str, object]], str]:
    """Contract, golden requests and the model's hash; ConfigError names what is missing."""
    contract, model = models / "contract.json", models / "model.onnx"
    for path in (contract, model, models / "golden.json"):
        if not path.is_file():
            raise ConfigError(f"{path} does not exist", hint=f"mount the models of the image under test at {models}")
    return contract, files.read_json(models / "golden.json"), files.sha256(model)


def ready(host: str, *, seconds: float = 30.0) -> None:
    """Return when the service is ready, or when `seconds` are over: the checks then say that nobody answers."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not _answers(host):
        time.sleep(0.2)


def _answers(host: str) -> bool:
    try:
        return golden.call(host, "/readyz")[0] == 200
    except SlipwayError:
        return False


def served(host: str, sha: str) -> Check:
    """Whether whoever answers at `host` says that it serves the model `sha`; whoever does not say it, does not."""
    try:
        told = {model for _ in range(LOOKS) for model in (models_of(host) or {"none"})}
    except SlipwayError as error:
        told = {str(error)}
    return Check(name="model served", value=", ".join(sorted(told)), limit=sha, ok=told == {sha})


def models_of(host: str) -> set[str]:
    """The hashes of the models that one pod's /metrics names."""
    return set(SERVED.findall(golden.call(host, "/metrics")[1].decode(errors="replace")))


def options(words: Sequence[str]) -> argparse.Namespace:
    """What was typed; wrong words end the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="slipway.loadtest.in_cluster", description=(__doc__ or "").splitlines()[0])
    gates = parser.add_subparsers(required=True)
    gates.add_parser("canary", help="a new version beside the stable one", add_help=False)
    of = gates.add_parser("load", help="a load test that the objective judges")
    of.add_argument("--host", required=True, help="where the service answers")
    of.add_argument("--of", required=True, help="digest of the image under test")
    of.add_argument("--slo", type=Path, default=Path("/slo/slo.yaml"), help="the objective")
    of.add_argument("--models", type=Path, default=Path("/models"), help="models/ of the image under test")
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run a gate; its exit code: 0 pass, 4 fail, 5 unsure, 2 a wrong setting, 3 broken data."""
    if list(words[:1]) == ["canary"]:
        from slipway.loadtest import canary

        return canary.main(words[1:])
    try:
        given = options(words)
        verdict = run(given.host, of=given.of, slo=given.slo, models=given.models, root=Path().resolve())
    except SlipwayError as error:
        print(f"error: {error}\nnext: {error.hint}")  # noqa: T201
        return error.code
    for check in verdict.checks:
        print(f"{'ok' if check.ok else 'NO' if check.ok is False else '??'}  {sentence(check)}")  # noqa: T201
    print(f"load: {verdict.word}, {verdict.rows:,} requests")  # noqa: T201
    print(json.dumps(verdict.record(), separators=(",", ":"), allow_nan=False), flush=True)  # noqa: T201
    return CODES[verdict.word]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
