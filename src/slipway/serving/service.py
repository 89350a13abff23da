"""The BentoML service: validates requests, predicts and counts.

It runs from a bento, with the packages of `requirements/serve.lock` only. `asgi` handles HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import gc
import importlib
import math
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any

import bentoml
import orjson
from bentoml.exceptions import InvalidArgument
from pydantic import ValidationError

from slipway.core import environment, files
from slipway.errors import ConfigError, DataError
from slipway.serving import http_protocol
from slipway.serving.api_docs import openapi, service_page
from slipway.serving.asgi import Front, Scope, Send
from slipway.serving.concurrency import Receive
from slipway.serving.onnx_model import CONTRACT_HINT, FOLDER, Model
from slipway.serving.prediction_log import settings
from slipway.serving.prediction_log.writer import PredictionLog
from slipway.serving.prometheus import ServiceMetrics
from slipway.serving.telemetry import json_logs, tracing
from slipway.serving.validation import BadRequest, Reader, Row, explain, refusal


class Engine:
    """The model with its validator and metrics: request bytes in, response bytes out."""

    def __init__(self) -> None:
        self.model = Model()
        self.contract = self.model.contract
        sha = files.sha256(FOLDER / "model.onnx")
        self._metrics = ServiceMetrics(self.contract, sha)
        self.has_ask = bool(self.contract.get("lookup"))
        self.max_body_bytes: int = self.contract["limits"]["max_body_bytes"]
        example = float(self.model.rows([self.contract["example"]])[0])
        if not math.isfinite(example):
            raise DataError(
                f"the model predicts {example} for the contract's example",
                expected="a finite number",
                hint=CONTRACT_HINT,
            )
        self._about: dict[str, Any] = {"version": sha[:12], "prediction": example}
        self.openapi = orjson.dumps(openapi.document(self.contract, **self._about))
        self._reader = Reader(self.contract)
        self.read = self._reader.read
        positions = {name: position for position, name in enumerate(self.model.categories)}
        self._trained = [
            (name, positions[name], frozenset([*values, None])) for name, values in self.contract["known"].items()
        ]
        self._lookup: Any = importlib.import_module(self.contract["lookup"]) if self.has_ask else None
        variables = environment.service_settings()
        json_logs.install(variables, sha[:12])
        self.tracer = tracing.from_variables(variables, problem=self.contract["problem"], model=sha[:12])
        log_settings = settings.read(variables)
        self.log = (
            PredictionLog(log_settings, self.contract, sha[:12], self._metrics.prediction_log())
            if log_settings
            else None
        )

    def warm(self) -> None:
        """Predict the example once, so that the first request finds everything loaded."""
        self.predict(orjson.dumps(self.contract["example"]))

    def predict(self, body: bytes) -> bytes:
        """Handle POST /predict: one row → {"prediction"}, a list → {"predictions"}; BadRequest."""
        rows, single = self.read(body)
        predictions = self.predict_rows(rows)
        return orjson.dumps({"prediction": predictions[0]} if single else {"predictions": predictions})

    def ask(self, body: bytes) -> bytes:
        """Handle POST /ask: a question of the problem's lookup → {"prediction", "inputs"}; BadRequest."""
        try:
            question = self._lookup.Question.model_validate_json(body)
        except ValidationError as error:
            raise explain(error, self.contract["question"]["properties"], single=True) from None
        try:
            row = self._reader.check(self._lookup.answer(FOLDER / "lookup.sqlite", question))
        except DataError as error:
            raise refusal(404, str(error), limit=error.hint or None) from None
        except BadRequest as error:  # the looked-up row breaks the contract: not the caller's fault
            raise BadRequest(404, error.errors) from None
        return orjson.dumps({"prediction": self.predict_rows([self._reader.values(row)])[0], "inputs": row})

    @functools.cached_property
    def _page(self) -> str:
        return service_page.render(self.contract, **self._about)

    def page(self, url: str) -> bytes:
        """Handle GET /: the page, with `url` as the service's address in its examples."""
        return service_page.at(self._page, url).encode()

    def metrics(self) -> bytes:
        """Handle GET /metrics."""
        return self._metrics.text()

    def require_shared_metrics(self) -> None:
        """Raise ConfigError when /metrics would count the requests of this worker only."""
        try:
            self._metrics.over_workers()
        except ValueError as error:
            hint = "set PROMETHEUS_MULTIPROC_DIR to an empty folder, or run one worker"
            raise ConfigError(f"several workers need a folder for their common metrics: {error}", hint=hint) from None

    def count(self, path: str, status: int, seconds: float) -> None:
        """Record a request to `path` that was answered after `seconds`."""
        self._metrics.count(path, status, seconds)

    def predict_rows(self, rows: list[Row]) -> list[float]:
        """Return one prediction per row, and count predictions and unknown categories.

        BadRequest 500 when a prediction is NaN or infinite: JSON has no such number, and `null` would hide the fault.
        """
        predictions, are_finite = self._predict_and_count(rows)
        if not are_finite:
            row = next(number for number, value in enumerate(predictions) if not math.isfinite(value))
            raise not_finite(predictions[row], row)
        return predictions

    def predict_each(self, rows: list[Row]) -> Sequence[float | Exception]:
        """Do the same for rows of different requests: the place of a NaN or infinite prediction has its BadRequest."""
        predictions, are_finite = self._predict_and_count(rows)
        if are_finite:
            return predictions
        return [value if math.isfinite(value) else not_finite(value, 0) for value in predictions]

    def _predict_and_count(self, rows: list[Row]) -> tuple[list[float], bool]:
        """Return the predictions and whether all are finite. Nothing is counted when the model raises an error."""
        values = self.model.values(rows)
        for name, position, trained in self._trained:
            if not trained.issuperset([row[position] for row in rows]):
                self._metrics.unknown.labels(name).inc(sum(row[position] not in trained for row in rows))
        are_finite = self._metrics.predictions.observe(values)
        predictions: list[float] = values.tolist()
        return predictions, are_finite


def not_finite(value: float, row: int) -> BadRequest:
    """Return the answer to a request whose row `row` got NaN or infinity; `export` of this version refuses such a model."""
    return BadRequest(
        500,
        [
            {
                "row": row, "field": None, "value": str(value), "limit": "a finite number",
                "message": f"row {row} is valid, but the model predicts {value} for it; expected a finite number. "
                "The fault is the model's, not the request's",
            }
        ],
    )  # fmt: skip


@functools.cache
def engine() -> Engine:
    """Return the one Engine of this process, loaded from `models/` in the working directory."""
    return Engine()


def ready() -> None:
    """Predict the example once, then exclude the loaded objects from garbage collection: they stay until the end."""
    engine().warm()
    gc.freeze()


@dataclass(frozen=True)
class Described:
    """Shows BentoML one of the two JSON schemas of /predict; the contract is read when BentoML asks for it."""

    response: bool

    def __get_pydantic_json_schema__(self, _core: Any, _handler: Any) -> dict[str, Any]:
        """Return the schema, as Pydantic calls it."""
        contract = files.read_json(FOLDER / "contract.json")
        schema: dict[str, Any] = copy.deepcopy(openapi.body_schemas(contract, contract["inputs"])[self.response])
        return schema


BODY, ANSWER = Described(response=False), Described(response=True)


@bentoml.service(
    workers=1,
    tracing={"excluded_urls": [".*"]},  # its middleware costs half the requests per second, even when idle
    metrics={"enabled": False},  # replaced by slipway.serving.prometheus
    logging={"access": {"enabled": False}},
    traffic={"timeout": 10},  # a timer is kept that long for every request: the default of 60 ruins the p99
)
class Predictor:
    """Answers with the exported model; ready once it has answered its own example."""

    def __init__(self) -> None:
        ready()

    @bentoml.api(route="/predict")  # type: ignore[untyped-decorator]
    def predict(self, body: Annotated[Any, BODY], /) -> Annotated[Any, ANSWER]:
        """Predict one row, or each row of a list.

        BentoML's client, schema and tools know the route by this declaration; over HTTP `Front` answers it before.
        """
        try:
            return orjson.loads(engine().predict(orjson.dumps(body)))
        except BadRequest as error:
            refused = InvalidArgument("; ".join(each["message"] for each in error.errors))
            refused.error_code = HTTPStatus(error.status)
            raise refused from None


Predictor.add_asgi_middleware(Front, engine=engine)  # type: ignore[attr-defined]  # it is a Service now
http_protocol.install()  # `bentoml serve` imports this module before it configures uvicorn, and has no option for it


class LazyBentoApp:
    """BentoML's ASGI app, created on its first request, because creating it takes a third of the start.

    It answers its own routes, such as `/healthz`; `Front` answers the model's routes before.
    """

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = asyncio.Lock()
        self._lifespan = contextlib.AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._start_and_stop(receive, send)
            return
        async with self._lock:
            if self._app is None:
                app = await asyncio.to_thread(Predictor.to_asgi)  # type: ignore[attr-defined]
                await self._lifespan.enter_async_context(app.router.lifespan_context(app))
                self._app = app
        await self._app(scope, receive, send)

    async def _start_and_stop(self, receive: Receive, send: Send) -> None:
        await receive()
        ready()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._lifespan.aclose()
        await send({"type": "lifespan.shutdown.complete"})


def app() -> Front:
    """Return the service as one process, for `uvicorn --factory`: without BentoML's supervisor and middlewares.

    ConfigError in one of several workers that cannot add up their metrics.
    """
    if multiprocessing.parent_process():
        engine().require_shared_metrics()
    return Front(LazyBentoApp(), engine=engine)
