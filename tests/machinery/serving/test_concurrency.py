"""Rows that arrive together are answered by one run; bodies that stop arriving are given up. Statuses are tested in test_asgi."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slipway.serving.concurrency import BodyDeadline, MicroBatcher
from slipway.serving.validation import Row


class Model:
    """Answers with the first value; remembers how many rows each run had."""

    def __init__(self) -> None:
        self.runs: list[int] = []

    def __call__(self, rows: list[Row]) -> list[float]:
        self.runs.append(len(rows))
        return [1 / row[0] for row in rows]


async def one(together: MicroBatcher, value: float, turns: int = 0) -> float:
    for _ in range(turns):
        await asyncio.sleep(0)
    return await together((value,))


def test_rows_of_one_turn_are_one_run_and_each_gets_its_own_answer() -> None:
    model = Model()
    together = MicroBatcher(model)

    async def main() -> list[float]:
        return await asyncio.gather(*(one(together, value) for value in (1, 2, 4)), one(together, 8, turns=5))

    assert asyncio.run(main()) == [1, 0.5, 0.25, 0.125]
    assert model.runs == [3, 1]


def test_one_failing_row_fails_alone() -> None:
    model = Model()
    together = MicroBatcher(model)

    async def main() -> list[Any]:
        calls = [one(together, 0), one(together, 2), one(together, 4, turns=5)]
        return await asyncio.gather(*calls, return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert isinstance(first, ZeroDivisionError)
    assert (second, third) == (0.5, 0.25)
    assert model.runs == [2, 1, 1, 1]


def test_error_in_the_place_of_a_prediction_ends_that_request() -> None:
    together = MicroBatcher(lambda rows: [row[0] if row[0] else ValueError("no number") for row in rows])

    async def main() -> list[Any]:
        return await asyncio.gather(*(one(together, value) for value in (1, 0, 2)), return_exceptions=True)

    first, second, third = asyncio.run(main())
    assert (first, str(second), third) == (1, "no number", 2)


def test_every_row_may_fail_with_its_own_error() -> None:
    def fail(rows: list[Row]) -> list[float]:
        raise KeyError(*(row[0] for row in rows))

    async def main() -> list[Any]:
        together = MicroBatcher(fail)
        return await asyncio.gather(*(one(together, value) for value in (1, 2, 3)), return_exceptions=True)

    assert [error.args for error in asyncio.run(main())] == [(1,), (2,), (3,)]


@pytest.mark.parametrize("value", [2, 0])
def test_who_left_meanwhile_does_not_hurt_the_others(value: float) -> None:
    together = MicroBatcher(Model())

    async def main() -> Any:
        left, stays = asyncio.ensure_future(one(together, value)), asyncio.ensure_future(one(together, 4))
        await asyncio.sleep(0)
        left.cancel()
        return await asyncio.gather(stays, return_exceptions=True)

    assert asyncio.run(main()) == [0.25]


def test_one_timer_watches_all_bodies() -> None:
    async def many() -> list[Any]:
        deadline = BodyDeadline(0.1)

        async def slow() -> Any:
            await asyncio.sleep(60)

        async def fast() -> Any:
            return {"type": "http.request", "body": b"x"}

        return await asyncio.gather(*(deadline.body(each, 10) for each in (slow, fast, slow)), return_exceptions=True)

    first, second, third = asyncio.run(many())
    assert (first.status, second, third.status) == (408, b"x", 408)


def test_a_stopping_server_may_cancel() -> None:
    async def stop() -> None:
        task = asyncio.create_task(BodyDeadline(60).body(lambda: asyncio.sleep(60), 10))
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(stop())
