"""What the drills' world has shorter than in earnest, so that a drill takes minutes: the load test, and a deadline. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from slipway.errors import ConfigError

STAGING = Path("k8s/overlays/staging/deployment.yaml")
FILES = (Path("loadtests/slo.yaml"), Path("k8s/base/slo.yaml"), STAGING)
LOAD_SECONDS, DEADLINE_SECONDS = 10, 40
WHAT = f"the load test takes {LOAD_SECONDS} s, staging's deadline is {DEADLINE_SECONDS} s: for the drills alone"


def hastened(path: Path, text: str) -> str:
    """One of FILES, shorter; unchanged when it is that already."""
    return sooner(text) if path == STAGING else shorter(text)


def shorter(slo: str) -> str:
    """The objective with a schedule of the cluster of LOAD_SECONDS; ConfigError when it has none."""
    new, count = re.subn(r"(?m)^(  cluster: \{.*\bseconds: )\d+", rf"\g<1>{LOAD_SECONDS}", slo)
    if count != 1:
        raise ConfigError("drill: slo.yaml has no line `  cluster: {…, seconds: …}`", hint="see loadtests/slo.yaml")
    return new


def sooner(patch: str) -> str:
    """Staging's patch of the deployment with a deadline of DEADLINE_SECONDS; ConfigError when it has no spec."""
    if "progressDeadlineSeconds" in patch:
        return patch
    new, count = re.subn(r"(?m)^spec:$", f"spec:\n  progressDeadlineSeconds: {DEADLINE_SECONDS}", patch)
    if count != 1:
        raise ConfigError(f"drill: {STAGING} has no line `spec:`", hint="see k8s/overlays/staging")
    return new
