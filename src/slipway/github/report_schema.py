"""The shape of facts.json: every type, size and word that `report.markdown` relies on, for facts of strangers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from slipway.core import text, verdict
from slipway.reporting import report_data

MAX_ROWS = 5000
"""Rows of a list and keys of an object."""
MAX_NAME = 80  # characters of a name that becomes a key

Number = Annotated[int, Field(ge=-(10**15), le=10**15)] | Annotated[float, Field(ge=-1e30, le=1e30)]
"""So large that a metric fits and so small that no difference of two overflows."""
Text = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
Day = Annotated[str, Field(pattern=r"^[12]\d{3}-\d\d-\d\d$")]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{7,64}$")]
Pair = Field(min_length=2, max_length=2)
Rows = Field(max_length=MAX_ROWS)
Names = Annotated[list[Text], Rows]


class Part(BaseModel):
    """Types are not converted; keys that no report shows are dropped."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, frozen=True)


class Check(Part):
    """A check of a verdict."""

    name: Text
    value: Number | Text | None
    limit: Text
    ok: bool | None
    low: Number | None = None
    high: Number | None = None


class JudgedSlice(Part):
    """A slice of the comparison."""

    slice: Text
    value: Text
    rows: Number
    difference: Number
    low: Number | None = None
    high: Number | None = None


class Window(Part):
    """A training window."""

    rows: Number
    first: Text
    last: Text


class Shift(Part):
    """How far one input moved."""

    input: Text
    train: Number | None = None
    test: Number | None = None
    missing: Annotated[list[Number | None], Pair] | None = None


class Predictions(Part):
    """Of the same rows: means of champion and challenger, and the shift."""

    mean: Annotated[list[Number | None], Pair]
    shift: Number | None


class Data(Part):
    """What the data is against the base's, as `change.data` says it."""

    train: Annotated[list[Window | None], Pair]
    inputs: Annotated[list[Shift], Rows]
    gone: Annotated[list[Text], Rows] = []
    prediction: Predictions | None = None

    @field_validator("train")
    @classmethod
    def _now(cls, found: list[Window | None]) -> list[Window | None]:
        if found[1] is None:
            raise ValueError("the window of this change is missing")
        return found


class Metrics(Part):
    """The reference of the comparison."""

    champion: Annotated[dict[Name, Number | None], Rows] | None = None


class Notes(Part):
    """The notes of the judge, and of the latency check."""

    base: Text | None = None
    champion_commit: Text | None = None
    better: bool | None = None
    window: Annotated[list[Day], Pair] | None = None
    metrics: Metrics = Metrics()
    slices: Annotated[list[JudgedSlice], Rows] = []
    limits_changed: Annotated[list[Text], Rows] = []
    params_changed: Annotated[list[Text], Rows] = []
    data: Data | None = None
    table: Annotated[list[Annotated[list[Text | Number], Field(min_length=7, max_length=7)]], Rows] = []


class Gate(Part):
    """A verdict."""

    verdict: Literal["pass", "fail", "unsure"]
    checks: Annotated[list[Check], Rows]
    rows: Number = 0
    seconds: Number = 0.0
    inputs: Annotated[dict[Name, Text | None], Rows] = {}
    notes: Notes = Notes()

    @model_validator(mode="after")
    def _computed(self) -> Gate:
        """A word that the checks do not give was written by hand."""
        checks = [verdict.Check(**check.model_dump()) for check in self.checks]
        word = verdict.Verdict(chapter="told", checks=checks).word
        if word != self.verdict:
            raise ValueError(f"verdict is {self.verdict}, its checks say {word}")
        return self


class Slice(Part):
    """A slice of the test window."""

    slice: Text
    value: Text
    rows: Number
    target: Number | None
    loss: Number


class Measured(Part):
    """Metrics by name, with the two objects that stand among them."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Number | None] = Field(init=False)
    intervals: Annotated[dict[Name, dict[Literal["low", "high"], Number | None]], Rows] = {}
    dummy: Annotated[dict[Name, Number | None], Rows] = {}

    @model_validator(mode="before")
    @classmethod
    def _shown(cls, found: Any) -> Any:
        """Without what is neither of the two nor a metric."""
        if not isinstance(found, dict):
            return found
        return {name: value for name, value in found.items()
                if name in cls.model_fields or not isinstance(value, dict | list)}  # fmt: skip

    @model_validator(mode="after")
    def _named(self) -> Measured:
        if len(self.__pydantic_extra__) > MAX_ROWS:
            raise ValueError(f"{len(self.__pydantic_extra__):,} metrics, limit: {MAX_ROWS:,}")
        if (longest := max((len(name) for name in self.__pydantic_extra__), default=0)) > MAX_NAME:
            raise ValueError(f"the name of a metric has {longest} characters, limit: {MAX_NAME}")
        return self


class Fault(Part):
    """A fault of the data."""

    source: Text
    column: Text
    what: Text
    rows: Number
    worst: Number | bool | Text | None
    action: Text


class Quality(Part):
    """What ingest said."""

    rows: Number | None = None
    first: Text | None = None
    last: Text | None = None
    faults: Annotated[list[Fault], Rows] = []


class Labels(Part):
    """Names for readers."""

    title: Text | None = None


class Contract(Part):
    """Of the contract only the title is shown."""

    labels: Labels = Labels()


class Change(Part):
    """An object that differs, as `objects.Change` says it: field, before, after."""

    env: Name
    kind: Text
    name: Text
    what: Literal["added", "removed", "changed"]
    hook: bool
    pods: bool
    fields: Annotated[list[Annotated[list[Text | None], Field(min_length=3, max_length=3)]], Rows] = []


class Delivery(Part):
    """The notes of `manifests`."""

    by: Text | None = None
    files: Number = 0
    local: bool = False
    ships: Names = []
    envs: Names = []
    unknown: Names = []
    hooks: Annotated[dict[Name, Names], Rows] = {}
    changes: Annotated[list[Change], Rows] = []
    objects: Number = 0


class Record(Part):
    """`facts.Facts` as JSON, as far as `report.markdown` reads it."""

    metrics: Measured
    gates: dict[str, Gate]
    quality: Quality
    contract: Contract
    slices: Annotated[list[Slice], Rows]
    hashes: dict[Literal["lock", "data", "model"], Hash]
    commit: Hash | None
    delivery: Delivery = Delivery()

    @field_validator("gates", mode="before")
    @classmethod
    def _known(cls, found: Any) -> Any:
        """Only the notes of judge and latency are read; those of others have other forms."""
        if not isinstance(found, dict):
            return found
        if unknown := [word for word in found if word not in report_data.GATES]:
            raise ValueError(f"gate {text.printable(unknown[0], 40)!r} is none of {', '.join(report_data.GATES)}")
        return {word: {**gate, "notes": {}} if word not in ("judge", "latency") and isinstance(gate, dict) else gate
                for word, gate in found.items()}  # fmt: skip
