"""The schema of `loadtests/slo.yaml`.

Imports only what `requirements/load.lock` has: the load gate's image runs it.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml.error import YAMLError

from slipway.core.strict_model import StrictModel, describe_errors, describe_syntax_error, parse_yaml
from slipway.errors import ConfigError
from slipway.loadtest.generator_health import Limits

PATH = Path("loadtests/slo.yaml")

Place = Literal["machine", "cluster"]
"""The place of a schedule: the short one runs on a single machine, the other in the cluster."""

FASTEST_BURN = 14.4
"""The burn rate of the fastest alert: 14.4 times the budget's even pace, which spends 2 % of 30 days' budget in an hour."""

EXAMPLE = """\
objectives:
  window_days: 30
  min_requests_per_hour: 60
  availability: {at_least: 0.999}
  latency: {at_least: 0.99, within_ms: 50}"""
"""The section `objectives` for a slo.yaml that has none yet."""

Positive = Annotated[float, Field(gt=0)]


class Endpoint(StrictModel):
    """The limits of one endpoint; it receives `share` of the requests."""

    share: Annotated[float, Field(gt=0, le=1)]
    min_requests: Annotated[int, Field(gt=0)]
    errors_at_most: Annotated[float, Field(ge=0, lt=1)]
    p50_ms_at_most: Positive | None = None
    p95_ms_at_most: Positive
    p99_ms_at_most: Positive


class Schedule(StrictModel):
    """The schedule of requests: `rate` per second for `seconds`, by `users` with evenly spread, jittered phases."""

    rate: Annotated[float, Field(gt=0, le=1_000_000)]
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    users: Annotated[int, Field(gt=0, le=100_000)]


def _require_both(schedules: dict[Place, Schedule]) -> dict[Place, Schedule]:
    """Require both schedules: a missing one would otherwise be noticed only in the cluster."""
    if missing := [place for place in get_args(Place) if place not in schedules]:
        raise ValueError(f"{' and '.join(missing)} is missing; expected: {' and '.join(get_args(Place))}")
    return schedules


def _require_route(name: str) -> str:
    if not re.fullmatch(r"(GET|POST) /\S*", name):
        raise ValueError("GET or POST and a path, such as POST /predict")
    return name


def _require_alert(at_least: float) -> float:
    """Refuse an objective whose fastest alert would need more failed requests than there are requests."""
    budget = 1 - at_least
    if FASTEST_BURN * budget >= 1:
        lowest = math.ceil((1 - 1 / FASTEST_BURN) * 1000) / 1000
        raise ValueError(
            f"{at_least:g} can never alert: at {FASTEST_BURN:g}× the budget of {budget * 100:.4g} % would need "
            f"{FASTEST_BURN * budget * 100:.4g} % of requests to fail; allowed: at least {lowest:g}"
        )
    return at_least


Share = Annotated[float, Field(gt=0, lt=1), AfterValidator(_require_alert)]
"""A share of the requests that an objective requires; the rest is its budget."""


class Availability(StrictModel):
    """At least this share of the requests is answered without a server error (status below 500)."""

    at_least: Share


class FastEnough(StrictModel):
    """At least this share of the requests is answered within `within_ms` milliseconds."""

    at_least: Share
    within_ms: Positive


class Objectives(StrictModel):
    """The promises to callers over `window_days`; with fewer requests an hour no alert about them fires."""

    window_days: Annotated[int, Field(ge=7, le=90)]
    min_requests_per_hour: Annotated[int, Field(gt=0)]
    availability: Availability
    latency: FastEnough


class Slo(StrictModel):
    """All of slo.yaml. Endpoints are named "METHOD /path"; other modules check the sections `canary` and `latency`."""

    schedules: Annotated[dict[Place, Schedule], AfterValidator(_require_both)]
    achieved_ratio_at_least: Annotated[float, Field(gt=0, le=1)]
    generator: Limits
    golden_difference_at_most: Annotated[float, Field(ge=0)]
    canary: Any = None
    latency: Any = None
    objectives: Objectives | None = None
    endpoints: Annotated[dict[Annotated[str, AfterValidator(_require_route)], Endpoint], Field(min_length=1)]


def read(path: Path = PATH) -> Slo:
    """Read slo.yaml; ConfigError names each wrong key, its value and what is allowed."""
    name = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        return Slo.model_validate(parse_yaml(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"{name} does not exist (the working directory is {Path.cwd()})",
            hint="change to the project's folder and run the command again",
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} is not valid YAML: {describe_syntax_error(error)}", hint=f"edit {name}") from None
    except ValidationError as error:
        raise ConfigError(f"{name}: {describe_errors(error)}", hint=f"edit {name}") from None


def require_objectives(slo: Slo, path: Path = PATH) -> Objectives:
    """Return the section `objectives`; ConfigError with the lines to add if slo.yaml has none."""
    if slo.objectives is None:
        raise ConfigError(f"{path} has no section objectives", hint=f"add to {path}:\n{EXAMPLE}")
    return slo.objectives
