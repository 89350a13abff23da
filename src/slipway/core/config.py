"""Read params.yaml, which holds every number of the project; no other module reads it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from slipway.core import files
from slipway.core.strict_model import FieldError, StrictModel, describe_errors, describe_syntax_error, parse_yaml
from slipway.errors import ConfigError

Count = Annotated[int, Field(gt=0, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""NumPy and scikit-learn accept no other seeds."""
Days = Annotated[int, Field(gt=0, le=36_500)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
"""The system counts a longer timeout as an overflow."""
Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Data(StrictModel):
    """The two windows: the test window is the `test_days` before `until`, the training window everything before it."""

    until: date
    test_days: Count

    @model_validator(mode="after")
    def _check_windows(self) -> Data:
        if self.test_days >= self.until.toordinal():
            raise FieldError("test_days", f"is {self.test_days}; allowed: at most {self.until.toordinal() - 1}")
        return self

    @property
    def test_from(self) -> date:
        """First day of the test window; the training window ends the day before."""
        return self.until - timedelta(days=self.test_days)


class Ingest(StrictModel):
    """The source files by name, each with the SHA-256 of its bytes."""

    sources: dict[str, Sha256]


class Features(StrictModel):
    """The number of moments that the leak check tries."""

    leak_moments: Count


class Train(StrictModel):
    """The selected estimator, and the options of each estimator of the problem."""

    estimator: str
    estimators: dict[str, dict[str, Any]]

    @model_validator(mode="after")
    def _check_estimator(self) -> Train:
        if self.estimator not in self.estimators:
            names = ", ".join(sorted(self.estimators))
            raise FieldError("estimator", f"is {self.estimator!r}; expected: a key of train.estimators ({names})")
        return self


class Export(StrictModel):
    """Parity tolerance (absolute, on the prediction), number of golden requests, limits of a request."""

    tolerance: Annotated[float, Field(gt=0)]
    golden: Count
    max_rows: Count
    max_body_bytes: Count


class Evaluate(StrictModel):
    """Evaluation: below `min_rows` rows it is inconclusive; intervals come from `resamples` of whole days.

    Each input is summarised in `bins` groups, from about `sample_rows` rows.
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
    """Tolerances for golden answers, metrics and plot data computed on another processor; relative above one."""

    golden: Annotated[float, Field(gt=0)]
    metrics: Annotated[float, Field(gt=0)]
    plots: Annotated[float, Field(gt=0)]


class Judge(StrictModel):
    """Non-inferiority margins in units of mean loss, overall and by slice; minimum sample sizes; floors of metrics.

    `restart_at` names the commit of a champion that can no longer be compared.
    """

    resamples: Count
    confidence: Share
    margin: Annotated[float, Field(gt=0)]
    slice_margin: Annotated[float, Field(gt=0)]
    min_rows: Count
    min_days: Count
    min_slice_rows: Count
    min_slice_days: Count
    floors: dict[str, Floor]
    restart_at: Annotated[str, Field(min_length=1)] | None = None


class Comment(StrictModel):
    """Author of the pull request's comment, size limit of a run's report, retries and timeout of requests to GitHub."""

    author: Annotated[str, Field(min_length=1)]
    max_bytes: Count
    attempts: Count
    timeout_seconds: Seconds


class Track(StrictModel):
    """Names of the experiment and the registered model in MLflow."""

    experiment: str
    model: str


class Package(StrictModel):
    """Largest difference between the running bento's answers to golden requests and the model's."""

    tolerance: Annotated[float, Field(gt=0)]


class Release(StrictModel):
    """The way releases reach main, and the evidence from staging that they need: its greatest age and clock skew.

    Evidence on GitHub is the commit status with the context `status`, written by `creator`.
    """

    mode: Literal["direct", "pull-request"]
    max_evidence_age_days: Days
    max_clock_skew_minutes: Annotated[int, Field(gt=0, le=1440)]
    status: Annotated[str, Field(min_length=1)]
    creator: Annotated[str, Field(min_length=1)]


class Change(StrictModel):
    """A pull request of `make loop`: its title, and new parameters by dotted key."""

    title: str
    set: dict[str, Any]


class Loop(StrictModel):
    """The two pull requests of `make loop`: one that passes, one that is refused."""

    good: Change
    bad: Change


Limit = Annotated[float, Field(gt=0)]


class Jump(StrictModel):
    """Distances from the windows before that are no jump: up to `floor`; up to `early` while the usual ones are unknown."""

    floor: Limit
    early: Limit


class MonitorInputs(StrictModel):
    """Limits of the question whether inputs moved. Distances are in standard deviations, of categories in shares of rows."""

    sample_rows: Count = 20_000
    min_windows: Count = 3
    usual_windows: Count = 8
    jump_factor: Limit = 2.0
    number: Jump = Jump(floor=0.3, early=2.5)
    category: Jump = Jump(floor=0.1, early=0.3)
    reference_floor: Limit = 0.25
    chance: Share = 0.05
    sensor_days: Days = 2
    sensor_rows: Count = 200
    lasting_windows: Annotated[int, Field(ge=0)] = 4
    missing_jump: Share = 0.3
    stopped_share: Share = 0.99
    stuck_share: Share = 0.98
    stuck_exempt_share: Share = 0.5
    unit_floor: Limit = 0.3
    unit_distance: Limit = 2.5
    unit_fit: Share = 0.25
    new_value_share: Share = 0.02
    gone_share: Share = 0.1


class MonitorPredictions(StrictModel):
    """Limits of the question whether predictions moved, in standard deviations; the share that one value may have."""

    jump: Jump = Jump(floor=0.5, early=1.0)
    one_value_share: Share = 0.98


class MonitorPerformance(StrictModel):
    """Limits of the question whether the model got worse.

    Both limits are by the number of newest labelled windows taken together: `skill_drops` for the skill, `loss_rises` for
    the mean loss above the one that the predictions expect, in nats. These windows are compared with up to
    `baseline_windows` before them, and with at least `min_baseline_windows`.
    """

    min_label_share: Share = 0.8
    skill_drops: dict[Annotated[int, Field(ge=1)], Limit] = Field(default={1: 0.095, 2: 0.07, 4: 0.065}, min_length=1)
    loss_rises: dict[Annotated[int, Field(ge=1)], Limit] = Field(default={2: 0.15, 4: 0.1}, min_length=1)
    baseline_windows: Count = 8
    min_baseline_windows: Count = 4


class Monitor(StrictModel):
    """Log, windows and limits of `monitor`. docs/concepts/monitoring.md explains each of them.

    A window is the `window_days` before a moment; up to `history_windows` windows before it are read as well. A label is
    due `label_delay_days` after its row.
    """

    log: Annotated[str, Field(min_length=1)] = ".slipway/log"
    prometheus: str | None = None
    window_days: Days = 7
    history_windows: Annotated[int, Field(ge=0, le=104)] = 16
    label_delay_days: Annotated[int, Field(ge=0, le=36_500)] = 28
    min_rows: Count = 200
    confidence: Share = 0.95
    inputs: MonitorInputs = MonitorInputs()
    predictions: MonitorPredictions = MonitorPredictions()
    performance: MonitorPerformance = MonitorPerformance()


class Params(StrictModel):
    """All of params.yaml."""

    problem: Annotated[str, Field(min_length=1)]
    seed: Seed
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
    monitor: Monitor = Monitor()
    loop: Loop


def load(path: Path = Path("params.yaml")) -> Params:
    """Read `path`; a ConfigError names each wrong key, its value and what is allowed."""
    try:
        raw = parse_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist (the working directory is {Path.cwd()})",
            hint="change to the project's folder and run the command again",
        ) from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}", hint=f"ls -l {path}") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {describe_syntax_error(error)}", hint=f"edit {path}") from None
    if isinstance(raw, dict) and isinstance(raw.get("data"), dict) and isinstance(raw["data"].get("until"), date):
        until = raw["data"]["until"]  # DVC refuses a YAML date as a parameter, with a message that is hard to read
        message, hint = f"{path}: data.until is {until} without quotes", f'write until: "{until}"'
        raise ConfigError(message, expected="the date in quotes", value=until, hint=hint)
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{path}: {describe_errors(error)}", hint=f"edit {path}") from None


def set_values(path: Path, values: Mapping[str, Any] | Mapping[tuple[str, str, str], Any], *, hint: str) -> None:
    """Set values in a YAML file and leave the rest as it was written; ConfigError for a key that it does not have.

    A key is dotted, or the names from the top level down if a name has a dot. Below `ingest.sources`, whose names are
    those of files, a new name is added.
    """
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 4096
    document = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *parents, last = key.split(".") if isinstance(key, str) else key
        section = document
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not isinstance(section, dict) or (last not in section and parents != ["ingest", "sources"]):
            raise ConfigError(f"{path.name} has no key {'.'.join((*parents, last))}", hint=hint)
        section[last] = value
    with files.atomic_write(path) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
