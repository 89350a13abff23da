"""The data contract: the columns of the table (`Flight`) and the inputs of the model (`Inputs`)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


def _number(low: float, high: float, unit: str, description: str, example: float) -> Any:
    return Field(ge=low, le=high, description=description, examples=[example], json_schema_extra={"unit": unit})


def _text(description: str, example: str) -> Any:
    return Field(min_length=1, max_length=16, description=description, examples=[example])


Carrier = Annotated[str, _text("airline, IATA code", "UA")]
Origin = Annotated[str, _text("departure airport, FAA code", "EWR")]
Dest = Annotated[str, _text("arrival airport, FAA code", "ORD")]


class Conditions(BaseModel):
    """Route length, plane and weather of a flight: columns of the table that are inputs of the model as they are."""

    model_config = ConfigDict(extra="forbid")

    distance: Annotated[float, _number(0, 6000, "miles", "great-circle distance", 719)]
    block_minutes: Annotated[float, _number(15, 900, "minutes", "scheduled time from gate to gate", 156)]
    plane_year: Annotated[float | None, _number(1940, 2030, "", "year the plane was built", 2001)]
    seats: Annotated[float | None, _number(1, 600, "seats", "seats in the plane", 149)]
    temp: Annotated[float | None, _number(-40, 130, "°F", "air temperature at the origin", 51.1)]
    dewp: Annotated[float | None, _number(-60, 100, "°F", "dew point at the origin", 39.9)]
    humid: Annotated[float | None, _number(0, 100, "%", "relative humidity at the origin", 65.5)]
    wind_speed: Annotated[float | None, _number(0, 150, "mph", "wind speed at the origin", 9.2)]
    wind_gust: Annotated[float | None, _number(0, 200, "mph", "wind gusts at the origin", 20.7)]
    precip: Annotated[float | None, _number(0, 10, "inches", "precipitation of the hour", 0.0)]
    pressure: Annotated[float | None, _number(900, 1100, "millibar", "sea level pressure", 1018.4)]
    visib: Annotated[float | None, _number(0, 20, "miles", "visibility", 10.0)]


# Pydantic takes fields base by base, the last base first: `Flight` has the columns of `Schedule`, then those of
# `Conditions`, then its own. The order of `Inputs` is the order of the model's inputs.
class Schedule(BaseModel):
    """First columns of the table: the identity of a flight."""

    carrier: Carrier
    flight: Annotated[str, _text("airline and flight number", "UA1545")]
    tailnum: Annotated[str | None, _text("tail number of the plane", "N14228")]
    origin: Origin
    dest: Dest
    sched_dep: Annotated[datetime, Field(description="scheduled departure, UTC")]


class Flight(Conditions, Schedule):
    """One scheduled flight with its plane, the weather two hours before, and its actual times."""

    weather_at: Annotated[datetime | None, Field(description="when that weather was observed, UTC")]
    dep_delay: Annotated[float | None, _number(-120, 2000, "minutes", "delay, negative when early", 12.0)]
    departed_at: Annotated[datetime | None, Field(description="actual departure, UTC; missing when cancelled")]
    settled_at: Annotated[datetime, Field(description="when it is known whether the flight is late, UTC")]
    late: Annotated[float | None, _number(0, 1, "0 or 1", "arrived 15 or more minutes late", 0)]


def _rate(group: str) -> Any:
    return _number(0, 1, "share", f"late arrivals, last 28 complete days, {group}", 0.24)


def _recent(description: str, example: float) -> Any:
    return _number(-120, 2000, "minutes", f"{description}, in the two hours before the prediction", example)


class Departure(BaseModel):
    """First inputs of the model: route and time of departure."""

    carrier: Carrier
    origin: Origin
    dest: Dest
    weekday: Annotated[float, _number(1, 7, "", "day of the week in New York, Monday is 1", 5)]
    minute: Annotated[float, _number(0, 1439, "minutes", "scheduled departure after midnight in New York", 1020)]


class Inputs(Conditions, Departure):
    """The facts about a flight that are known two hours before its scheduled departure."""

    scheduled: Annotated[
        float, _number(0, 500, "flights", "scheduled from the origin in the hour before departure", 25)
    ]
    departed: Annotated[float, _number(0, 500, "flights", "left the origin in the two hours before the prediction", 48)]
    delay: Annotated[float | None, _recent("mean departure delay at the origin", 14.0)]
    delay_carrier: Annotated[float | None, _recent("mean departure delay of the airline at the origin", 11.0)]
    delay_city: Annotated[float | None, _recent("mean departure delay at the three airports", 12.5)]
    late_share: Annotated[
        float | None, _number(0, 1, "share", "left 15 or more minutes late, origin, last two hours", 0.2)
    ]
    waiting: Annotated[
        float, _number(0, 500, "flights", "of the origin due in the last two hours and still not gone", 6)
    ]
    rate_carrier: Annotated[float | None, _rate("of the airline at the origin")]
    rate_dest: Annotated[float | None, _rate("to the destination")]
    rate_hour: Annotated[float | None, _rate("of the hour at the origin")]
    rate_flight: Annotated[float | None, _rate("of the flight number")]
