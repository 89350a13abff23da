"""What a slot of a hire station is (the table), and what the model is asked with (the inputs)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def _number(low: float, high: float, unit: str, description: str, example: float) -> Any:
    return Field(ge=low, le=high, description=description, examples=[example], json_schema_extra={"unit": unit})


Station = Annotated[str, Field(min_length=1, max_length=16, description="where bikes are hired", examples=["park"])]
Temp = Annotated[float | None, _number(-30, 50, "°C", "air temperature at the start", 17.5)]
Hires = Annotated[float | None, _number(0, 500, "bikes", "bikes hired in the two hours", 24)]


class Slot(BaseModel):
    """Two hours at one station."""

    model_config = ConfigDict(extra="forbid")

    station: Station
    start: Annotated[datetime, Field(description="start of the two hours, UTC")]
    temp: Temp
    hires: Hires
    counted_at: Annotated[datetime, Field(description="when the hires of the slot were known, UTC")]


def _past(what: str) -> Any:
    return _number(0, 500, "bikes", f"bikes hired {what}", 21)


class Inputs(BaseModel):
    """What is known of a slot one hour before it starts."""

    model_config = ConfigDict(extra="forbid")

    station: Station
    weekday: Annotated[float, _number(1, 7, "day", "day of the week, Monday is 1", 5)]
    hour: Annotated[float, _number(0, 23, "hour", "hour of the start", 14)]
    temp: Annotated[float | None, _number(-30, 50, "°C", "last temperature measured before asking", 16.0)]
    recent: Annotated[float | None, _past("in the newest slot that is counted")]
    yesterday: Annotated[float | None, _past("in the same slot of the day before")]
