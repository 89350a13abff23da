"""The latency check's error rates: how often it refuses an equal service, and lets one pass that is slower.

    make bench NAME=latency                        a quarter of an hour on a quiet machine: 40 trials of each kind, and
                                                   10 beside programs that take every processor half of the time
    python dev/benchmarks/latency.py --trials 10       fewer

A trial is the check's own way from starting both services to the verdict, with services started anew each time. The
slower service is the same bento with a loop that spins before each answer for a part of what a client of the unchanged
one waits at the median for one row. It measures and judges nothing; the record is dev/figures/latency.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from serving_figures import machine

from slipway.core import config, environment, files
from slipway.core.verdict import Verdict
from slipway.judging import latency, latency_services, latency_statistics
from slipway.judging.latency import Measurement, Rows
from slipway.judging.latency_services import Side
from slipway.judging.latency_statistics import Limits
from slipway.packaging import package

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "dev/figures/latency.json"
EFFECT = 0.2
SPIN = """

import time as _time

_unspun = Front.__call__


async def _spun(self, scope, receive, send):
    until = _time.perf_counter() + {seconds!r} if scope.get("path") == "/predict" else 0.0
    while _time.perf_counter() < until:
        pass
    await _unspun(self, scope, receive, send)


Front.__call__ = _spun
"""
talk = Console(stderr=True, highlight=False)


def slower(bento: Path, to: Path, seconds: float) -> Path:
    """A copy of the bento whose every answer takes `seconds` more."""
    shutil.copytree(bento, to)
    code = to / "src/slipway/serving/asgi.py"
    code.write_text(code.read_text("utf-8") + SPIN.format(seconds=seconds), "utf-8")
    return to


@contextmanager
def busy(count: int) -> Iterator[None]:
    """`count` programs that take a processor each, half of the time in turns of a tenth of a second."""
    programs = [multiprocessing.Process(target=_burn, args=(os.getpid(),), daemon=True) for _ in range(count)]
    for program in programs:
        program.start()
    try:
        yield
    finally:
        for program in programs:
            program.terminate()
            program.join()


def _burn(parent: int) -> None:
    while os.getppid() == parent:
        until = time.monotonic() + 0.1
        while time.monotonic() < until:
            sum(range(1000))
        time.sleep(0.1)


def trials(kind: str, two: list[Side], bentos: list[Path], rows: Rows, limits: Limits, count: int) -> dict[str, Any]:
    """`count` whole checks: the words, what they saw, the seconds they took."""
    seen: list[tuple[str, Measurement, float]] = []
    for number in range(count):
        started = time.monotonic()
        found = latency.measure_until_conclusive(two, bentos, rows, limits, seed=number, root=ROOT)
        assert found.intervals, found.checks  # a service that does not answer is refused for that, which is no trial
        word = Verdict(chapter="latency", checks=found.checks).word
        seen.append((word, found, time.monotonic() - started))
        told = ", ".join(f"{b.name} {b.more:+.1%} [{b.low:+.1%}, {b.high:+.1%}]" for b in found.intervals)
        talk.print(f"{kind} {number + 1}/{count}: {word}, {len(found.times)} starts; {told}", soft_wrap=True)
    words = Counter(word for word, _, _ in seen)
    return {"kind": kind, "trials": count, **{word: words[word] for word in ("pass", "fail", "unsure")},
            "starts": sum(len(found.times) for _, found, _ in seen),
            "seconds": round(statistics.median(took for *_, took in seen), 1) if seen else None,
            "seconds_most": round(max((took for *_, took in seen), default=0.0), 1),
            "others": round(statistics.median(max(f.others, default=0.0) for _, f, _ in seen), 3) if seen else None,
            "percentiles": percentiles([found for _, found, _ in seen])}  # fmt: skip


def percentiles(seen: list[Measurement]) -> list[dict[str, Any]]:
    """Of each percentile: the median of what was found, its extremes, and half of the band's width."""
    rows = []
    for bands in zip(*(found.intervals for found in seen if found.intervals), strict=True):
        more = [band.more for band in bands]
        half = statistics.median((band.high - band.low) / 2 for band in bands)
        rows.append({"name": bands[0].name, "base_ms": round(statistics.median(b.base_ms for b in bands), 4),
                     "more": round(statistics.median(more), 4), "least": round(min(more), 4),
                     "most": round(max(more), 4), "half_band": round(half, 4), "limit": bands[0].most})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=40, help="of each kind")
    parser.add_argument(
        "--busy", type=int, default=10, help="trials of each kind beside programs that take the processors"
    )
    parser.add_argument(
        "--effect", type=float, default=EFFECT, help="part of the median by which the slower one is slower"
    )
    parser.add_argument("--out", type=Path, default=RECORD, help="where the record goes")
    given, params = parser.parse_args(), config.load(ROOT / "params.yaml")
    limits, started = latency_statistics.own_limits(ROOT), time.monotonic()
    with tempfile.TemporaryDirectory(dir=files.make_folder(environment.cache_home(ROOT)), prefix="bench-") as name:
        folder = latency_services.copy_bento_files(ROOT, Path(name) / "files")
        bento = package.build(folder, name=params.track.model, readme="").path
        two = [Side(name=side, tree=ROOT, folder=folder, python=Path(sys.executable)) for side in ("base", "head")]
        rows = Rows.of(two)
        usual = (
            latency.measure_until_conclusive(two, [bento, bento], rows, limits, seed=0, root=ROOT).intervals[0].base_ms
        )
        spun = slower(bento, Path(name) / "slower", given.effect * usual / 1000)
        pairs = {"no change": [bento, bento], f"{given.effect:+.0%}": [bento, spun]}
        found = [trials(kind, two, pair, rows, limits, given.trials) for kind, pair in pairs.items()]
        if given.busy:
            with busy(os.cpu_count() or 1):
                found += [
                    trials(f"{kind}, busy machine", two, pair, rows, limits, given.busy) for kind, pair in pairs.items()
                ]
    record = {"machine": machine(), "seconds": round(time.monotonic() - started), "p50_ms": round(usual, 4),
              "effect": given.effect, "limits": limits.model_dump(), "kinds": found}  # fmt: skip
    files.write_json(given.out, record)
    for row in found:
        talk.print(f"{row['kind']}: {row['pass']} pass, {row['fail']} fail, {row['unsure']} unsure of {row['trials']}")


if __name__ == "__main__":
    main()
