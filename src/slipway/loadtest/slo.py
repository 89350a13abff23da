"""The schema of `loadtests/slo.yaml`. Imports only what `requirements/load.lock` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core.strict_model import StrictModel
from slipway.errors import ConfigError
from slipway.loadtest.generator_health import Limits

PATH = Path("loadtests/slo.yaml")


Place = Literal["machine", "cluster"]
"""Where a schedule is for: this machine's short one, or the cluster's."""


Positive = Annotated[float, Field(gt=0)]


class Endpoint(StrictModel):
    """What one endpoint must hold; `share` of the requests go to it."""

    share: Annotated[float, Field(gt=0, le=1)]
    min_requests: Annotated[int, Field(gt=0)]
    errors_at_most: Annotated[float, Field(ge=0, lt=1)]
    p50_ms_at_most: Positive | None = None
    p95_ms_at_most: Positive
    p99_ms_at_most: Positive


class Schedule(StrictModel):
    """How the requests are sent: `rate` a second for `seconds`, by `users` that each have a phase of their own."""

    rate: Positive
    seconds: Positive
    users: Annotated[int, Field(gt=0)]


def _each(schedules: dict[Place, Schedule]) -> dict[Place, Schedule]:
    """Both are asked for: one that is missing would be noticed only in the cluster."""
    if missing := [place for place in get_args(Place) if place not in schedules]:
        raise ValueError(f"schedules has no {', '.join(missing)}, limit: {' and '.join(get_args(Place))}")
    return schedules


class Slo(StrictModel):
    """The whole of slo.yaml; endpoints are named "METHOD /path"; `canary` and `latency` are for others to check."""

    schedules: Annotated[dict[Place, Schedule], AfterValidator(_each)]
    achieved_ratio_at_least: Annotated[float, Field(gt=0, le=1)]
    generator: Limits
    golden_difference_at_most: Annotated[float, Field(ge=0)]
    canary: Any = None
    latency: Any = None
    endpoints: Annotated[dict[Annotated[str, Field(pattern=r"^(GET|POST) /\S*$")], Endpoint], Field(min_length=1)]


def read(path: Path = PATH) -> Slo:
    """Read slo.yaml; ConfigError names each wrong key, its value and what is allowed."""
    try:
        return Slo.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist here ({Path.cwd()})", hint="run this in the project's folder"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    except ValidationError as error:
        text = "; ".join(f"{'.'.join(map(str, e['loc']))} is {e['input']!r}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path}: {text}", hint=f"edit {path}") from None
