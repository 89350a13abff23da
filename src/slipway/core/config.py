"""params.yaml: this module is its only reader, and every number of the project is there."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core.strict_model import StrictModel, sentence
from slipway.errors import ConfigError

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Data(StrictModel):
    """The windows: train is everything before `test_from`, test the `test_days` before `until`."""

    until: date
    test_days: Count

    @model_validator(mode="after")
    def _possible(self) -> Data:
        if self.test_days >= self.until.toordinal():
            raise ValueError(f"test_days is {self.test_days}: no calendar reaches so far before {self.until}")
        return self

    @property
    def test_from(self) -> date:
        """First day of the test window; training data ends the day before."""
        return self.until - timedelta(days=self.test_days)


class Ingest(StrictModel):
    """The source files by name, each with its SHA-256: other bytes are other data."""

    sources: dict[str, Sha256]


class Features(StrictModel):
    """How many moments the leak check looks at."""

    leak_moments: Count


class Train(StrictModel):
    """Which estimator, and the options of each one the problem knows."""

    estimator: str
    estimators: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _known(self) -> Train:
        if self.estimator not in self.estimators:
            raise ValueError(f"estimator {self.estimator!r} is not one of {sorted(self.estimators)}")
        return self


class Export(StrictModel):
    """Parity tolerance (absolute, on the prediction), golden requests kept, and what a request may weigh."""

    tolerance: Annotated[float, Field(gt=0)]
    golden: Count
    max_rows: Count
    max_body_bytes: Count


class Evaluate(StrictModel):
    """Fewer rows than `min_rows`: unsure. `resamples` of whole days give the intervals.

    Inputs are described in `bins` groups, seen in about `sample_rows` rows.
    """

    min_rows: Count
    resamples: Count
    confidence: Share
    min_slice_rows: Count
    importance_rows: Count
    bins: Annotated[int, Field(ge=2)]
    sample_rows: Count


class Floor(StrictModel):
    """Absolute limits of one metric on the test window."""

    at_least: float | None = None
    at_most: float | None = None


class Prove(StrictModel):
    """What another processor's floating point may change: golden answers, metrics, plot data; relative above one."""

    golden: Annotated[float, Field(gt=0)]
    metrics: Annotated[float, Field(gt=0)]
    plots: Annotated[float, Field(gt=0)]


class Judge(StrictModel):
    """Non-inferiority in units of mean loss, overall and by slice; what is too little to judge; floors."""

    resamples: Count
    confidence: Share
    margin: Annotated[float, Field(gt=0)]
    slice_margin: Annotated[float, Field(gt=0)]
    min_rows: Count
    min_days: Count
    min_slice_rows: Count
    min_slice_days: Count
    floors: dict[str, Floor]


class Comment(StrictModel):
    """Whose comment is ours, the largest report taken from a run, and how patient with the forge."""

    author: Annotated[str, Field(min_length=1)]
    max_bytes: Count
    attempts: Count
    timeout_seconds: Annotated[float, Field(gt=0)]


class Track(StrictModel):
    """Names in MLflow."""

    experiment: str
    model: str


class Package(StrictModel):
    """Golden requests through the running bento must agree with the model to `tolerance`."""

    tolerance: Annotated[float, Field(gt=0)]


class Release(StrictModel):
    """How the overlay is bumped; what counts as evidence from staging, how old it may be, and how wrong a clock.

    Evidence at a forge is the commit status of the context `status`, written by `creator`.
    """

    mode: Literal["direct", "pull-request"]
    max_evidence_age_days: Count
    max_clock_skew_minutes: Count
    status: Annotated[str, Field(min_length=1)]
    creator: Annotated[str, Field(min_length=1)]


class Change(StrictModel):
    """A pull request of `make loop`: a title and new values by dotted key."""

    title: str
    set: dict[str, Any]


class Loop(StrictModel):
    """The two pull requests that `make loop` shows: one to pass, one to be refused."""

    good: Change
    bad: Change


class Params(StrictModel):
    """The whole of params.yaml."""

    problem: Annotated[str, Field(min_length=1)]
    seed: int
    data: Data
    ingest: Ingest
    features: Features
    train: Train
    export: Export
    evaluate: Evaluate
    prove: Prove
    judge: Judge
    comment: Comment
    track: Track
    package: Package
    release: Release
    loop: Loop


def load(path: Path = Path("params.yaml")) -> Params:
    """Read `path`; ConfigError names each wrong key, its value and what is allowed."""
    try:
        raw = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist here ({Path.cwd()})", hint="run this in the project's folder"
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if isinstance(raw, dict) and isinstance(raw.get("data"), dict) and isinstance(raw["data"].get("until"), date):
        until = raw["data"]["until"]  # DVC takes no YAML date as a parameter, and says so less kindly
        raise ConfigError(f"{path}: data.until is a bare date, limit: a text", hint=f'write it in quotes: "{until}"')
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {sentence(error)}", hint=f"edit {path}") from None
