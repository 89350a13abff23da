"""BentoML's own clients, sync and async, which know the service by its schema route. They warn at the end of their process."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException


def show(answer: Any) -> None:
    """One line, as the other programs write it."""
    sys.stdout.write(f"200 {json.dumps(answer)}\n")


def one_by_one(url: str, bodies: list[Any]) -> None:
    """One after another, by the attribute and by the name; then a body that is refused."""
    with bentoml.SyncHTTPClient(url, timeout=30) as client:
        for body in bodies:
            show(client.predict(body))
        for body in bodies:
            show(client.call("predict", body))
        try:
            client.predict(bodies[0] | {"hour": 99})
        except BentoMLException as error:
            sys.stderr.write(str(error))


async def all_at_once(url: str, bodies: list[Any]) -> None:
    """The same bodies at the same time."""
    async with bentoml.AsyncHTTPClient(url, timeout=30) as client:
        for answer in await asyncio.gather(*(client.predict(body) for body in bodies)):
            show(answer)


if __name__ == "__main__":
    address = sys.argv[1].removesuffix("/predict")
    lines = [json.loads(line) for line in Path(sys.argv[2]).read_text("utf-8").splitlines()]
    one_by_one(address, lines)
    asyncio.run(all_at_once(address, lines))
