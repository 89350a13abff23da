"""The data of a report as one typed model, for records of this checkout and, by `parse_untrusted`, for those of strangers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from slipway.core import text, verdict
from slipway.core.verdict import Word
from slipway.reporting import wording
from slipway.reporting.bounded_model import (
    MAX_NAME,
    MAX_ROWS,
    PAIR,
    UNTRUSTED,
    Computed,
    Day,
    Hash,
    Name,
    Number,
    Part,
    Rows,
    Shown,
    Size,
    Text,
    is_untrusted,
)

GATES = ("repro", "export", "evaluate", "prove", "judge", "manifests", "latency", "policy", "package", "load")
"""The chapters that write a verdict, in the order of the loop."""
COMPARING = ("judge", "latency")
"""The gates whose notes a report shows; those of others have other forms."""

HashName = Literal["lock", "data", "model"]


class CheckRecord(Part):
    """A check of a verdict."""

    if_missing: ClassVar[Mapping[str, Any]] = dict.fromkeys(("name", "value", "limit", "ok"))
    name: Shown[Text]
    value: Shown[Number | Text | None]
    limit: Shown[Text]
    ok: Shown[bool | None]
    low: Shown[Number | None] = None
    high: Shown[Number | None] = None
    text: Shown[Text] = ""


class JudgedSlice(Part):
    """A slice of the comparison."""

    if_missing: ClassVar[Mapping[str, Any]] = {"rows": None, "difference": None}
    slice: Shown[Text]
    value: Shown[Text]
    rows: Shown[Number]
    difference: Shown[Number]
    low: Computed | None = None
    high: Computed | None = None


class Window(Part):
    """A training window."""

    rows: Shown[Number]
    first: Shown[Text]
    last: Shown[Text]


class Shift(Part):
    """The shifts of one input: population stability indexes of training against the base and of test against training."""

    input: Shown[Text]
    train: Computed | None = None
    test: Computed | None = None
    missing: Annotated[list[Computed | None], PAIR] | None = None


class Predictions(Part):
    """Predictions of the same rows: means of champion and challenger, and the shift between them."""

    mean: Annotated[list[Shown[Number | None]], PAIR]
    shift: Shown[Number | None]


class Data(Part):
    """Differences of the data from the base's, as `data_change` records them; `train` are the windows of base and change."""

    if_missing: ClassVar[Mapping[str, Any]] = {"train": [None, None], "inputs": []}
    train: Annotated[list[Window | None], PAIR]
    inputs: Rows[Shift]
    gone: Rows[Shown[Text]] = Field(default=[])
    prediction: Predictions | None = None

    @field_validator("train")
    @classmethod
    def _has_window(cls, windows: list[Window | None], info: ValidationInfo) -> list[Window | None]:
        if windows[1] is None and is_untrusted(info):
            raise ValueError("the window of this change is missing")
        return windows


class MetricChange(Part):
    """A metric's change on the same rows, challenger minus reference, with the ends of its interval."""

    difference: Computed
    low: Computed
    high: Computed


class Metrics(Part):
    """The metrics of the comparison's reference, and by name the changes of those that are paired row by row."""

    champion: Annotated[dict[Name, Shown[Number | None]], Size] | None = None
    changes: Annotated[dict[Name, MetricChange], Size] = Field(default={})


class Notes(Part):
    """The notes of the judge and of the latency check; of other gates only `base` and `bento_sha256` are read."""

    trusted_only: ClassVar[frozenset[str]] = frozenset({"bento_sha256"})
    base: Shown[Text | None] = None
    champion_commit: Shown[Text | None] = None
    champion_refusal: Shown[Text] = ""
    uncompared_rows: Computed = 0
    restart_at: Shown[Text | None] = None
    restart_note: Shown[Text] = ""
    better: Shown[bool | None] = None
    confidence: Computed | None = None
    window: Annotated[list[Shown[Day]], PAIR] | None = None
    metrics: Metrics = Metrics()
    slices: Rows[JudgedSlice] = Field(default=[])
    margin: Computed | None = None
    slice_margin: Computed | None = None
    limits_changed: Rows[Shown[Text]] = Field(default=[])
    params_changed: Rows[Shown[Text]] = Field(default=[])
    data: Data | None = None
    table: Rows[Annotated[list[Shown[Text | Number]], Field(min_length=7, max_length=7)]] = Field(default=[])
    bento_sha256: Shown[str | None] = None


class Gate(Part):
    """A verdict."""

    if_missing: ClassVar[Mapping[str, Any]] = {"verdict": None, "checks": []}
    verdict: Shown[Word]
    checks: Rows[CheckRecord]
    rows: Shown[Number] = None  # type: ignore[assignment] # shown as a dash where a record lacks it
    seconds: Computed = 0.0
    inputs: Annotated[dict[Name, Shown[Text | None]], Size] = Field(default={})
    notes: Notes = Notes()

    @property
    def has_verdict(self) -> bool:
        """True if the record has a verdict: one of this checkout may lack it."""
        return bool(self.verdict)

    @model_validator(mode="after")
    def _computed(self, info: ValidationInfo) -> Gate:
        """Refuse a stranger's verdict that does not follow from its checks: it was written by hand."""
        if is_untrusted(info):
            checks = [verdict.Check(**check.model_dump()) for check in self.checks]
            word = verdict.Verdict(chapter="", checks=checks).word
            if word != self.verdict:
                raise ValueError(f"verdict is {self.verdict}, its checks say {word}")
        return self


class Slice(Part):
    """A slice of the test window."""

    slice: Shown[Text]
    value: Shown[Text]
    rows: Shown[Number]
    target: Shown[Number | None]
    loss: Computed


class Measured(Part):
    """reports/metrics.json: metrics by name, counts, intervals and the dummy model's metrics."""

    __pydantic_extra__: dict[str, Shown[Number | None]] = Field(init=False)
    intervals: Annotated[dict[Name, Shown[dict[Literal["low", "high"], Number | None]]], Size] = Field(default={})
    dummy: Annotated[dict[Name, Shown[Number | None]], Size] = Field(default={})
    rows: Shown[Number | None] = None
    days: Shown[Number | None] = None
    base_rate: Shown[Number | None] = None
    train: Window | None = None

    @property
    def by_name(self) -> Mapping[str, Any]:
        """The metrics of the model."""
        return self.__pydantic_extra__

    @classmethod
    def _is_read(cls, name: str, part: Any) -> bool:
        return name in ("intervals", "dummy") or (name != "train" and not isinstance(part, dict | list))

    @model_validator(mode="after")
    def _few_and_short(self, info: ValidationInfo) -> Measured:
        if not is_untrusted(info):
            return self
        if len(self.by_name) > MAX_ROWS:
            raise ValueError(f"{len(self.by_name):,} metrics; allowed: {MAX_ROWS:,}")
        if (longest := max(map(len, self.by_name), default=0)) > MAX_NAME:
            raise ValueError(f"the name of a metric has {longest} characters; allowed: {MAX_NAME}")
        return self


class Fault(Part):
    """A fault of the data."""

    source: Shown[Text]
    column: Shown[Text]
    what: Shown[Text]
    rows: Shown[Number]
    worst: Shown[Number | bool | Text | None]
    action: Shown[Text]


class Column(Part):
    """A column of the table; `missing` is a share."""

    name: Shown[str]
    kind: Shown[str] = ""
    unit: Shown[str] = ""
    description: Shown[str] = ""
    missing: Computed = 0.0
    distinct: Shown[int | None] = None
    low: Shown[float | None] = None
    high: Shown[float | None] = None
    quantiles: list[Shown[float]] = Field(default=[])
    counts: list[Computed] | None = None
    top: dict[str, Computed] = Field(default={})
    first: Shown[str | None] = None
    last: Shown[str | None] = None


class Quality(Part):
    """reports/quality.json: the table, and the faults of its sources."""

    trusted_only: ClassVar[frozenset[str]] = frozenset({"columns", "days"})
    rows: Shown[Number | None] = None
    first: Shown[Text | None] = None
    last: Shown[Text | None] = None
    faults: Rows[Fault] = Field(default=[])
    columns: list[Column] = Field(default=[])
    days: dict[str, Any] = Field(default={})


class CalibrationGroup(Part):
    """A group of predictions, of reports/plots/reliability.json."""

    predicted: Computed
    observed: Computed
    rows: Shown[Number | None] = None


class Labels(Part):
    """Names for readers."""

    title: Shown[Text | None] = None


class Inputs(Part):
    """The JSON schema of the model's inputs."""

    properties: dict[str, dict[str, Any]] = Field(default={})


class Contract(Part):
    """models/contract.json: of a stranger's only the title is read."""

    trusted_only: ClassVar[frozenset[str]] = frozenset({"problem", "inputs", "known"})
    labels: Labels = Labels()
    problem: Shown[str | None] = None
    inputs: Inputs = Inputs()
    known: dict[str, list[Any]] = Field(default={})


class Change(Part):
    """An object that differs, as `object_diff` records it; each of `fields` is name, before, after."""

    env: Shown[Name]
    kind: Shown[Text]
    name: Shown[Text]
    what: Shown[Literal["added", "removed", "changed"]]
    hook: Shown[bool]
    pods: Shown[bool]
    fields: Rows[Annotated[list[Shown[Text | None]], Field(min_length=3, max_length=3)]] = Field(default=[])


class Delivery(Part):
    """The notes of `manifests`."""

    by: Shown[Text | None] = None
    files: Shown[Number] = 0
    local: Shown[bool] = False
    ships: Rows[Shown[Text]] = Field(default=[])
    envs: Rows[Shown[Text]] = Field(default=[])
    unknown: Rows[Shown[Text]] = Field(default=[])
    hooks: Annotated[dict[Name, Rows[Shown[Text]]], Size] = Field(default={})
    changes: Rows[Change] = Field(default=[])
    objects: Computed = 0


class Facts(Part):
    """The records of one challenger; what does not exist is empty.

    `gates` holds the verdict records by step, `slices` the plot data of that name, `hashes` the SHA-256 of lock, data
    and model, `delivery` the notes of `manifests`, `changes` the changed parameters where no judge noted them.
    """

    if_missing: ClassVar[Mapping[str, Any]] = {
        "metrics": {}, "gates": {}, "quality": {}, "contract": {}, "slices": [], "hashes": {}, "commit": None,
    }  # fmt: skip
    metrics: Measured
    gates: dict[str, Gate]
    quality: Quality
    contract: Contract
    slices: Rows[Slice]
    hashes: dict[HashName, Shown[Hash]]
    commit: Shown[Hash | None]
    delivery: Delivery = Delivery()
    changes: Notes = Notes()

    @field_validator("gates", mode="before")
    @classmethod
    def _known_gates(cls, gates: Any, info: ValidationInfo) -> Any:
        if not isinstance(gates, dict):
            return gates
        if is_untrusted(info) and (unknown := [word for word in gates if word not in GATES]):
            raise ValueError(f"gate {text.printable(unknown[0], 40)!r} is none of {', '.join(GATES)}")
        return {word: readable_gate(word, record, untrusted=is_untrusted(info)) for word, record in gates.items()}

    def record(self) -> dict[str, Any]:
        """The facts as JSON holds them: all their own keys, and of each part those that its record has."""
        empty: dict[str, dict[str, Any]] = {name: {} for name in ("delivery", "changes") if not getattr(self, name)}
        return self.model_dump(exclude_unset=True, warnings=False) | empty

    @property
    def judge(self) -> Notes:
        """The judge's notes."""
        return self.gates["judge"].notes if "judge" in self.gates else Notes()

    @property
    def latency(self) -> Notes:
        """The notes of the latency check."""
        return self.gates["latency"].notes if "latency" in self.gates else Notes()

    @property
    def limits_changed(self) -> list[str]:
        """Limits that the change moves; it was judged by those of its base."""
        return [str(row) for notes in (self.judge, self.latency, self.changes) for row in notes.limits_changed]

    @property
    def foreign_model(self) -> str:
        """The hash of the model that was judged when it is another than this one; else empty."""
        judged = self.gates["judge"].inputs.get("challenger") if "judge" in self.gates else None
        model = str(judged or "").removeprefix("sha256:")
        return model if model != self.hashes.get("model", model) else ""

    @property
    def window(self) -> str:
        """The first and the last day of the test window; empty when no record has it."""
        try:
            first, until = self.judge.window or ("", "")
            return f"{date.fromisoformat(first)} to {date.fromisoformat(until) - timedelta(days=1)}"
        except (TypeError, ValueError):
            return ""

    @property
    def against(self) -> str:
        """The name of the challenger's reference on a page."""
        return wording.REFERENCES["champion" if self.reference else "dummy"]

    @property
    def reference(self) -> Mapping[str, Any]:
        """The champion's metrics; empty when there is none, or none was measured."""
        return self.judge.metrics.champion or {}


def readable_gate(word: str, record: Any, *, untrusted: bool = False) -> Any:
    """The record of a gate, without notes of another form than `Notes`."""
    if word in COMPARING or not isinstance(record, dict):
        return record
    notes = {} if untrusted else record.get("notes")
    if not isinstance(notes, dict):
        return {name: part for name, part in record.items() if name != "notes"}
    clashing = Notes.model_fields.keys() - {"base", "bento_sha256"}
    return {**record, "notes": {name: part for name, part in notes.items() if name not in clashing}}


def parse_untrusted(value: Any) -> Facts:
    """Facts of JSON that anybody may have written; pydantic's ValidationError when any part of it is out of bounds."""
    return Facts.model_validate(value, context=UNTRUSTED)
