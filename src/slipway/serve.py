"""`serve`: the BentoML service: validate, predict, count.

It runs alone from a bento, on what `requirements/serve.lock` holds; `front` answers HTTP with it.
"""

from __future__ import annotations

import functools
import gc
import importlib
from typing import Any

import bentoml
import orjson
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from pydantic import ValidationError

from slipway import files, openapi
from slipway.errors import DataError
from slipway.front import Front
from slipway.model import FOLDER, Model
from slipway.request import BadRequest, Reader, Row, explain, refusal

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
"""Of the latency histogram in seconds; the limits of loadtests/slo.yaml are among them."""


class Meters:
    """What Prometheus may ask; every label takes few values. A registry of its own, so that two can exist."""

    def __init__(self, contract: dict[str, Any], model_sha256: str) -> None:
        self._own = own = CollectorRegistry()
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}
        self.seconds = Histogram("slipway_request_seconds", "Time to answer", ["route"], buckets=BOUNDS, registry=own)
        self.requests = Counter("slipway_requests", "Requests answered", ["route", "status"], registry=own)
        self.unknown = Counter("slipway_unknown_categories", "Values never trained on", ["column"], registry=own)
        edges = contract["reference"]["edges"]  # of the predictions on the test window, to compare with
        self.predictions = Histogram("slipway_prediction", "Predictions", buckets=sorted(set(edges)), registry=own)
        labels = ["problem", "until", "model_sha256"]
        info = Gauge("slipway_model_info", "The model served", labels, registry=own, multiprocess_mode="max")
        info.labels(contract["problem"], contract["data"]["until"], model_sha256).set(1)
        for column in contract["categories"]:
            self.unknown.labels(column)

    def count(self, route: str, status: int, seconds: float) -> None:
        """One request; the children are kept, for to find one by its labels costs more than to count."""
        found = self._children.get((route, status))
        if found is None:
            found = self.requests.labels(route, str(status)), self.seconds.labels(route)
            self._children[route, status] = found
        found[0].inc()
        found[1].observe(seconds)

    def text(self) -> bytes:
        """All workers' numbers; this process's where it is the only one."""
        try:
            together = CollectorRegistry()
            MultiProcessCollector(together)  # type: ignore[no-untyped-call]  # BentoML tells its workers where, by PROMETHEUS_MULTIPROC_DIR
        except ValueError:
            together = self._own
        found: bytes = generate_latest(together)
        return found


class Engine:
    """The model with all that is needed to answer: bytes of a request in, bytes of the answer out."""

    def __init__(self) -> None:
        self.model = Model()
        self.contract = self.model.contract
        sha = files.sha256(FOLDER / "model.onnx")
        self._meters = Meters(self.contract, sha)
        self.asks = bool(self.contract.get("lookup"))
        self.max_body_bytes: int = self.contract["limits"]["max_body_bytes"]
        self.openapi = orjson.dumps(openapi.document(self.contract, version=sha[:12]))
        self._reader = Reader(self.contract)
        self._known = {name: frozenset(values) for name, values in self.contract["known"].items()}
        self._lookup: Any = importlib.import_module(self.contract["lookup"]) if self.asks else None

    def warm(self) -> None:
        """Answer the example once, so that the first caller finds everything loaded."""
        self.predict(orjson.dumps(self.contract["example"]))

    def predict(self, body: bytes) -> bytes:
        """POST /predict: one row → {"prediction"}, a list → {"predictions"}; BadRequest."""
        rows, single = self._reader.read(body)
        found = self._answers(rows)
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
        return orjson.dumps({"prediction": self._answers([row])[0], "inputs": row})

    def metrics(self) -> bytes:
        """GET /metrics."""
        return self._meters.text()

    def count(self, path: str, status: int, seconds: float) -> None:
        """One request to `path` was answered after `seconds`."""
        self._meters.count(path, status, seconds)

    def _answers(self, rows: list[Row]) -> list[float]:
        for name, known in self._known.items():
            unknown = sum(1 for row in rows if row[name] not in known and row[name] is not None)
            if unknown:
                self._meters.unknown.labels(name).inc(unknown)
        found: list[float] = self.model.rows(rows).tolist()
        for value in found:
            self._meters.predictions.observe(value)
        return found


@functools.cache
def engine() -> Engine:
    """The one Engine of this process, from `models/` in the working directory."""
    return Engine()


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
        engine().warm()
        gc.collect()
        gc.freeze()  # what is loaded stays: the collector need not look at it again

    async def __is_ready__(self) -> bool:
        """Reached only after the model has answered."""
        return True


Predictor.add_asgi_middleware(Front, engine=engine)  # type: ignore[attr-defined]  # it is a Service now
