"""Base class and field types of records that are either trusted or, from strangers, bounded in type, size and word.

A trusted record is one that this checkout wrote. A value of it that is only shown is shown as it is, a null counts as
missing, and a key that no report shows is kept. Of an untrusted record such a key is dropped, and the rest must have
the type and size that the field declares. The context `UNTRUSTED` of a validation makes the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, WrapValidator, model_validator
from pydantic_core import PydanticKnownError

from slipway.core.strict_model import StrictModel

UNTRUSTED = {"untrusted": True}
"""The context of a validation whose input anybody may have written."""
MAX_ROWS = 5000
"""Rows of a list and keys of an object."""
MAX_NAME = 80
"""Characters of a name that becomes a key."""

T = TypeVar("T")


def is_untrusted(info: ValidationInfo) -> bool:
    """True if the bounds hold."""
    return bool(info.context)


def _bounded_value(value: Any, handler: Any, info: ValidationInfo) -> Any:
    return handler(value) if is_untrusted(info) else value


def _bounded_number(value: Any, handler: Any, info: ValidationInfo) -> Any:
    if is_untrusted(info):
        return handler(value)
    if not isinstance(value, int | float):
        raise ValueError(f"{value!r} is not a number")
    return value


def _bounded_size(value: Any, info: ValidationInfo) -> Any:
    if is_untrusted(info) and isinstance(value, list | dict) and len(value) > MAX_ROWS:
        kind = "List" if isinstance(value, list) else "Dictionary"
        raise PydanticKnownError("too_long", {"field_type": kind, "max_length": MAX_ROWS, "actual_length": len(value)})
    return value


Shown = Annotated[T, WrapValidator(_bounded_value)]
"""A value that is only shown; a trusted record may hold any."""
Number = Annotated[int, Field(ge=-(10**15), le=10**15)] | Annotated[float, Field(ge=-1e30, le=1e30)]
"""So large that a metric fits and so small that no difference of two overflows."""
Computed = Annotated[Number, WrapValidator(_bounded_number)]
"""A number that is computed with; it must be a number in a trusted record too."""
Size = BeforeValidator(_bounded_size)
Rows = Annotated[list[T], Size]
Text = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(max_length=MAX_NAME)]
Day = Annotated[str, Field(pattern=r"^[12]\d{3}-\d\d-\d\d$")]
Hash = Annotated[str, Field(pattern="^[0-9a-f]{7,64}$")]
PAIR = Field(min_length=2, max_length=2)


class Part(StrictModel):
    """A record or a part of one; false when it is empty. Types are not converted.

    `if_missing` is what a trusted record gets for a field that an untrusted one must have; the fields of `trusted_only`
    are not read from strangers.
    """

    model_config = ConfigDict(strict=True, extra="allow")
    if_missing: ClassVar[Mapping[str, Any]] = {}
    trusted_only: ClassVar[frozenset[str]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.model_fields_set)

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, value: Any, info: ValidationInfo) -> Any:
        if not isinstance(value, dict):
            return value
        if is_untrusted(info):
            return {name: part for name, part in value.items() if cls._is_read(name, part)}
        present = {name: part for name, part in value.items() if part is not None or cls._is_null(name)}
        return {**cls.if_missing, **present}

    @classmethod
    def _is_read(cls, name: str, _: Any) -> bool:
        """True if a stranger's key is read."""
        return name in cls.model_fields and name not in cls.trusted_only

    @classmethod
    def _is_null(cls, name: str) -> bool:
        """True if null is a value of a field, not a missing one."""
        if name in cls.if_missing:
            return False
        field = cls.model_fields.get(name)
        return field is None or field.is_required() or field.default is None
