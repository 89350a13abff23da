"""The gates as a program of their own, in an image that has neither the pipeline nor a token.

    python -m slipway.loadtest.in_cluster load --host http://serve:3000 --of sha256:…
    python -m slipway.loadtest.in_cluster canary …

The last line of stdout is the verdict as one line of JSON, which `promote` and `policy` read from the log as evidence.
All output goes to stdout, because a pod's log does not keep the order of two streams.
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
from slipway.core.verdict import Check, Verdict, describe_check
from slipway.errors import ConfigError, SlipwayError
from slipway.loadtest import load
from slipway.loadtest.slo import read as read_slo
from slipway.serving import golden, http_client

SERVED = re.compile(r'^slipway_model_info\{[^}]*model_sha256="([0-9a-f]{64})"', re.MULTILINE)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}$")
LOOKS = 5
"""Connections on which the served model is read: several pods may share one name."""
READY_SECONDS = 30.0
"""Timeout of one request to /readyz."""
CODES = {"pass": 0, "fail": 4, "unsure": 5}


def run(host: str, *, image: str, slo: Path, models: Path, root: Path) -> Verdict:
    """Judge the service at `host`, which should run `image` (`…@sha256:…`): served model, golden requests, load test.

    `slo` is the objective, `models` holds the models of the image, `root` the locustfile. ConfigError when one of them
    is missing; Inconclusive when Locust measured nothing.
    """
    started = time.monotonic()
    digest = DIGEST.search(image)
    if not digest:
        hint = "name the image by its digest, so that the verdict is about exact bytes"
        raise ConfigError(f"--of is {image!r}", expected="sha256:… or NAME@sha256:…", value=image, hint=hint)
    objective = read_slo(slo)
    contract, rows, sha = read(models)
    wait_ready(host)
    before = [check_served(host, sha), golden.replay(host, rows, tolerance=objective.golden_difference_at_most)]
    schedule = objective.schedules["cluster"]
    measured = load.measure(objective, schedule, host, root=root, contract=contract)
    verdict = load.judge(measured, objective, schedule, seconds=time.monotonic() - started)
    after = check_served(host, sha, name="model served, after the load")
    inputs = {"image": digest[0], "model_sha256": sha}
    return replace(verdict, checks=[*before, *verdict.checks, after], inputs=inputs)


def read(models: Path) -> tuple[Path, list[dict[str, object]], str]:
    """Return the path of the contract, the golden requests and the model's hash; ConfigError names a missing file."""
    contract, model = models / "contract.json", models / "model.onnx"
    for path in (contract, model, models / "golden.json"):
        if not path.is_file():
            raise ConfigError(f"{path} does not exist", hint=f"mount the models of the image under test at {models}")
    return contract, golden.read(models / "golden.json"), files.sha256(model)


def wait_ready(host: str, *, seconds: float = 30.0) -> None:
    """Wait until the service is ready, at most `seconds`; if it is not, the checks that follow report it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not http_client.is_ready(host, timeout_seconds=READY_SECONDS):
        time.sleep(0.2)


def check_served(host: str, sha: str, *, name: str = "model served") -> Check:
    """Check that every connection to `host` reaches a pod whose metrics name the model `sha`."""
    try:
        models = {model for _ in range(LOOKS) for model in (models_of(host) or {"none"})}
    except SlipwayError as error:
        models = {str(error)}
    value = ", ".join(sorted(models))
    text = f"The pods at {host} serve the model {value}"
    return Check(name=name, value=value, limit=f"the model of the image, {sha}", ok=models == {sha}, text=text)


def models_of(host: str) -> set[str]:
    """Return the hashes of the models in one pod's /metrics."""
    return set(SERVED.findall(http_client.fetch(host, "/metrics").body.decode(errors="replace")))


def options(words: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments of `load`; wrong ones end the program with exit code 2."""
    parser = argparse.ArgumentParser(prog="slipway.loadtest.in_cluster", description=(__doc__ or "").splitlines()[0])
    gates = parser.add_subparsers(required=True)
    gates.add_parser("canary", help="compare a new version with the stable one", add_help=False)
    load_parser = gates.add_parser("load", help="load-test a service and compare it with the objective")
    load_parser.add_argument("--host", required=True, help="address of the service, e.g. http://serve:3000")
    load_parser.add_argument("--of", required=True, help="digest of the image under test")
    load_parser.add_argument("--slo", type=Path, default=Path("/slo/slo.yaml"), help="file with the objective")
    load_parser.add_argument(
        "--models", type=Path, default=Path("/models"), help="folder models/ of the image under test"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run a gate and return the exit code: 0 pass, 4 fail, 5 unsure, 2 for a wrong setting, 3 for broken data."""
    if list(words[:1]) == ["canary"]:
        from slipway.loadtest import canary

        return canary.main(words[1:])
    try:
        args = options(words)
        verdict = run(args.host, image=args.of, slo=args.slo, models=args.models, root=Path().resolve())
    except SlipwayError as error:
        print(f"error: {error}\nnext: {error.hint}")  # noqa: T201
        return error.code
    for check in verdict.checks:
        status = {True: "pass  ", False: "fail  ", None: "unsure"}[check.ok]
        print(f"{status} {describe_check(check)}")  # noqa: T201
    print(f"load: {verdict.word}, {verdict.rows:,} requests")  # noqa: T201
    print(json.dumps(verdict.record(), separators=(",", ":"), allow_nan=False), flush=True)  # noqa: T201
    return CODES[verdict.word]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
