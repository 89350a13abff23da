"""Hostile requests: 100,000 connections of bytes that no client should send, to a service that must neither fail, hang nor grow.

    make bench NAME=hostile                         100,000 exchanges with the model in models/, some minutes
    make bench NAME=hostile ARGS="5000 7"           so many, drawn with another seed

The short run is tests/machinery/clients/test_hostile_requests.py.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

from pipeline import ROOT, at_most, closing, guarded, talk
from slipway.serving import local_server

sys.path.append(str(ROOT / "tests/machinery"))
from support.hostile_requests import Generator, Tally, attack

GROWTH_MB = 20
"""Allowed growth of the service's memory after the first tenth of the run."""


def run(count: int, seed: int) -> tuple[Tally, list[float]]:
    """Attack in ten parts; the tally of all, and the service's memory in MB after each part."""
    golden = json.loads((ROOT / "models/golden.json").read_text("utf-8"))
    exchanges, total, memory = Generator(golden, seed), Tally(), []
    with tempfile.TemporaryDirectory(prefix="slipway-hostile-") as scratch:
        folder = Path(scratch) / "bento"
        (folder / "src").mkdir(parents=True)
        for name in ("slipway", "flights"):
            (folder / "src" / name).symlink_to(ROOT / "src" / name)
        (folder / "src/models").symlink_to(ROOT / "models")
        port, home = local_server.find_free_port(), Path(scratch)
        with local_server.start(folder, port=port, home=home / "home", root=ROOT, log=home / "log") as server:
            local_server.wait_ready(server)
            process = psutil.Process(server.process.pid)
            for part in range(10):
                tally = asyncio.run(attack(port, exchanges.exchanges(count // 10), connections=64))
                memory.append(process.memory_info().rss / 2**20)
                total.kinds.update(tally.kinds)
                total.statuses.update(tally.statuses)
                total.faults += tally.faults
                talk.print(
                    f"{(part + 1) * 10} %: {memory[-1]:.1f} MB, {len(total.faults)} faults, {process.num_fds()} files"
                )
    return total, memory


def main(count: int = 100_000, seed: int = 1) -> None:
    """Run, print, and exit 4 unless all went well."""
    began = time.monotonic()
    tally, memory = run(count, seed)
    talk.print(f"exchanges {dict(tally.kinds)}", f"answers {dict(sorted(tally.statuses.items()))}", sep="\n")
    for fault in tally.faults[:20]:
        talk.print(fault, markup=False)
    growth = memory[-1] - memory[0]
    closing(
        "hostile",
        [
            at_most("faults: a status from 500, a wrong answer or none", len(tally.faults), 0),
            at_most("growth of the service's memory after the first tenth, MB", growth, GROWTH_MB),
        ],
        time.monotonic() - began,
    )


if __name__ == "__main__":
    guarded(lambda: main(*(int(word) for word in sys.argv[1:])))
