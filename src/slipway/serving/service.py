"""`serve`: the BentoML service: validate, predict, count.

It runs alone from a bento, on what `requirements/serve.lock` holds; `front` answers HTTP with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib
import multiprocessing
from typing import Any

import bentoml
import orjson
from pydantic import ValidationError

from slipway.core import files
from slipway.errors import ConfigError, DataError
from slipway.serving import openapi
from slipway.serving.asgi import Front, Scope, Send
from slipway.serving.concurrency import Receive
from slipway.serving.onnx_model import FOLDER, Model
from slipway.serving.prometheus import ServiceMetrics
from slipway.serving.validation import BadRequest, Reader, Row, explain, refusal


class Engine:
    """The model with all that is needed to answer: bytes of a request in, bytes of the answer out."""

    def __init__(self) -> None:
        self.model = Model()
        self.contract = self.model.contract
        sha = files.sha256(FOLDER / "model.onnx")
        self._meters = ServiceMetrics(self.contract, sha)
        self.asks = bool(self.contract.get("lookup"))
        self.max_body_bytes: int = self.contract["limits"]["max_body_bytes"]
        self.openapi = orjson.dumps(openapi.document(self.contract, version=sha[:12]))
        self._reader = Reader(self.contract)
        self.read = self._reader.read
        places = {name: at for at, name in enumerate(self.model.categories)}
        self._known = [
            (name, places[name], frozenset([*values, None])) for name, values in self.contract["known"].items()
        ]
        self._lookup: Any = importlib.import_module(self.contract["lookup"]) if self.asks else None

    def warm(self) -> None:
        """Answer the example once, so that the first caller finds everything loaded."""
        self.predict(orjson.dumps(self.contract["example"]))

    def predict(self, body: bytes) -> bytes:
        """POST /predict: one row → {"prediction"}, a list → {"predictions"}; BadRequest."""
        rows, single = self.read(body)
        found = self.answers(rows)
        return orjson.dumps({"prediction": found[0]} if single else {"predictions": found})

    def ask(self, body: bytes) -> bytes:
        """POST /ask: a person's question → {"prediction", "inputs"}; BadRequest."""
        try:
            question = self._lookup.Question.model_validate_json(body)
        except ValidationError as error:
            raise explain(error, self.contract["question"]["properties"], single=True) from None
        try:
            row = self._reader.check(self._lookup.answer(FOLDER / "lookup.sqlite", question))
        except DataError as error:
            raise refusal(404, str(error), limit=error.hint or None) from None
        except BadRequest as error:  # what was looked up breaks the contract: no fault of who asks
            raise BadRequest(404, error.errors) from None
        return orjson.dumps({"prediction": self.answers([self._reader.values(row)])[0], "inputs": row})

    def metrics(self) -> bytes:
        """GET /metrics."""
        return self._meters.text()

    def counts_for_all(self) -> None:
        """ConfigError when /metrics would tell of this worker alone."""
        try:
            self._meters.together()
        except ValueError as error:
            raise ConfigError(f"one of several workers: {error}", hint="set it to an empty folder") from None

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request to `path` was answered after `seconds`."""
        self._meters.count(path, status, seconds)

    def answers(self, rows: list[Row]) -> list[float]:
        """A prediction for each row, counted."""
        for name, at, known in self._known:
            if not known.issuperset([row[at] for row in rows]):
                self._meters.unknown.labels(name).inc(sum(row[at] not in known for row in rows))
        found = self.model.values(rows)
        self._meters.predictions.observe(found)
        answers: list[float] = found.tolist()
        return answers


@functools.cache
def engine() -> Engine:
    """The one Engine of this process, from `models/` in the working directory."""
    return Engine()


def ready() -> None:
    """Answer the example once; what is loaded then stays, so the collector need not look at it again, nor now."""
    engine().warm()
    gc.freeze()


@bentoml.service(
    workers=1,
    tracing={"excluded_urls": [".*"]},  # its middleware costs half the requests per second, even when idle
    metrics={"enabled": False},  # ours are above
    logging={"access": {"enabled": False}},
    traffic={"timeout": 10},  # a timer is kept that long for every request: the default of 60 ruins the p99
)
class Predictor:
    """Answers with the exported model; ready once it has answered its own example."""

    def __init__(self) -> None:
        ready()


Predictor.add_asgi_middleware(Front, engine=engine)  # type: ignore[attr-defined]  # it is a Service now


class LazyBentoApp:
    """BentoML's own ASGI app, made when it is first asked for: making it takes a third of a start.

    What is asked of it is its page and what that loads; the routes of the model are answered before.
    """

    def __init__(self) -> None:
        self._app: Any = None
        self._made = asyncio.Lock()
        self._opened = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        async with self._made:
            if self._app is None:
                made = await asyncio.to_thread(Predictor.to_asgi)  # type: ignore[attr-defined]
                await self._opened.enter_async_context(made.router.lifespan_context(made))
                self._app = made
        await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        ready()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._opened.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def app() -> Front:
    """The service as one process, for `uvicorn --factory`: no supervisor, and none of BentoML's middlewares on the way.

    ConfigError in one of several workers that could not add up their metrics.
    """
    if multiprocessing.parent_process():
        engine().counts_for_all()
    return Front(LazyBentoApp(), engine=engine)
