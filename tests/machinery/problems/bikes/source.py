"""Where bikes.csv comes from: `python -m bikes.source` in tests/machinery/problems makes it again, byte for byte."""

from __future__ import annotations

import math
import random
from datetime import datetime, timedelta
from pathlib import Path

CSV = Path(__file__).with_name("bikes.csv")
STATIONS = {"harbour": 14.0, "museum": 22.0, "park": 30.0}
DAYS = 120


def make() -> str:
    """120 days from 2021-03-01 of three stations in six slots a day, with faults that `ingest` must find."""
    rng = random.Random(7)
    lines = ["start,station,temp,hires,counted_after"]
    for day in range(DAYS):
        warmth = 9 + 0.12 * day + 3 * math.sin(day / 5) + rng.uniform(-2, 2)
        for slot in range(8, 20, 2):
            start = datetime(2021, 3, 1, slot) + timedelta(days=day)
            temp = warmth + 6 * math.sin((slot - 8) / 12 * math.pi) + rng.uniform(-1, 1)
            for station, usual in STATIONS.items():
                lines.append(_line(rng, start, station, usual, temp))
    lines.insert(400, lines[399])  # one slot was sent twice
    return "\n".join(lines) + "\n"


def _line(rng: random.Random, start: datetime, station: str, usual: float, temp: float) -> str:
    weekend = start.weekday() >= 5
    rush = {8: 1.3, 10: 0.7, 12: 1.0, 14: 0.9, 16: 1.4, 18: 1.2}[start.hour]
    leisure = (1.6 if station == "park" else 0.7) if weekend else 1.0
    hires = max(0, round(usual * (1.0 if weekend else rush) * leisure * (0.5 + temp / 25) + rng.uniform(-4, 4)))
    shown = "" if rng.random() < 0.05 else "-99.0" if rng.random() < 0.002 else f"{temp:.1f}"
    stuck = rng.random() < 0.002
    counted_after = 120 + rng.randint(5, 20)  # minutes from the start
    return f"{start:%Y-%m-%dT%H:%M},{station},{shown},{9999 if stuck else hires},{counted_after}"


if __name__ == "__main__":
    CSV.write_text(make(), encoding="utf-8", newline="\n")
