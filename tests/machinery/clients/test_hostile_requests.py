"""Three thousand hostile connections: none fails, hangs or is answered wrongly; dev/benchmarks/hostile.py sends 100,000."""

from __future__ import annotations

import asyncio
from pathlib import Path

from slipway.core import files
from support.hostile_requests import Exchange, Generator, attack


def test_hostile_requests_neither_fail_nor_hang(served: int, project: Path) -> None:
    generator = Generator(files.read_json(project / "models/golden.json"), seed=14)
    tally = asyncio.run(attack(served, generator.exchanges(3000), connections=48))
    assert tally.faults == []
    assert len(tally.kinds) == 12
    assert {200, 400, 404, 405, 408, 413, 415, 422} <= set(tally.statuses)
    assert tally.statuses[200] > 1000


def test_the_same_seed_draws_the_same_bytes(project: Path) -> None:
    golden = files.read_json(project / "models/golden.json")
    first, second, other = ([*Generator(golden, seed).exchanges(200)] for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_wrong_answer_is_a_fault(served: int) -> None:
    get = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    wrong = [Exchange("a", [get], [400]), Exchange("b", [get], [200], [0.5]), Exchange("c", [get], [200])]
    tally = asyncio.run(attack(served, iter(wrong), connections=2))
    assert [fault[0] for fault in tally.faults] == ["a", "b"]
