"""The strict base of all models of files that people write, and the sentence about a file that does not fit."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictModel(BaseModel):
    """Frozen; an unknown or missing key, NaN and infinity are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def describe_errors(error: ValidationError, *, top_level: str = "the file") -> str:
    """All errors of a validation in one line: dotted key, value, what is allowed. `top_level` names the top level."""
    return "; ".join(_describe(each, top_level) for each in error.errors())


def _describe(error: Any, top_level: str) -> str:
    key = ".".join(str(part) for part in error["loc"]) or top_level
    match error["type"]:
        case "extra_forbidden":
            return f"unknown key {key} (value {error['input']!r})"
        case "missing":
            return f"key {key} is missing"
        case "value_error":
            return f"{key}: {error['ctx']['error']}"
        case _:
            return f"{key} is {error['input']!r}: {error['msg']}"
