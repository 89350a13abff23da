"""The same model behind other servers, each written as its own documentation does; `uvicorn --factory` runs them.

Every factory imports what it needs and no more: the time until it is ready is one of the figures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MODELS = Path(__file__).resolve().parents[2] / "models"


def empty() -> Any:
    """Starlette with nothing behind it: the price of HTTP."""
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def predict(request: Any) -> Response:
        await request.body()
        return Response(b'{"prediction":0.5}', media_type="application/json")

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])


def starlette() -> Any:
    """Starlette and ONNX Runtime, without any validation: what an expert writes who trusts every caller."""
    import orjson
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    model = _Onnx()

    async def predict(request: Any) -> Response:
        given = orjson.loads(await request.body())
        rows = given if isinstance(given, list) else [given]
        found = model(rows)
        said = {"predictions": found} if isinstance(given, list) else {"prediction": found[0]}
        return Response(orjson.dumps(said), media_type="application/json")

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])


def fastapi() -> Any:
    """FastAPI and ONNX Runtime with our validator, JSON library, event loop and log settings."""
    from typing import Annotated

    import orjson
    from fastapi import APIRouter, FastAPI, Request, Response
    from fastapi.routing import APIRoute
    from pydantic import Field
    from typing_extensions import TypedDict

    class Fast(Request):
        async def json(self) -> Any:
            return orjson.loads(await self.body())

    class Route(APIRoute):
        """FastAPI's documented way to another request class."""

        def get_route_handler(self) -> Any:
            inner = super().get_route_handler()

            async def handler(request: Request) -> Response:
                return await inner(Fast(request.scope, request.receive))

            return handler

    model = _Onnx()
    row: Any = TypedDict("Row", _fields(model.contract))  # type: ignore[operator]
    row.__pydantic_config__ = {"extra": "forbid", "strict": True, "allow_inf_nan": False}
    rows: Any = Annotated[list[row], Field(min_length=1, max_length=model.contract["limits"]["max_rows"])]
    app, router = FastAPI(), APIRouter(route_class=Route)

    @router.post("/predict")
    async def predict(given: row) -> Response:
        return Response(orjson.dumps({"prediction": model([given])[0]}), media_type="application/json")

    @router.post("/batch")
    async def batch(given: rows) -> Response:
        return Response(orjson.dumps({"predictions": model(given)}), media_type="application/json")

    predict.__annotations__, batch.__annotations__ = {"given": row}, {"given": rows}
    app.include_router(router)
    return app


def fastapi_untuned() -> Any:
    """FastAPI and ONNX Runtime as its tutorial writes it: a Pydantic model, a plain function, JSON by default."""
    from fastapi import FastAPI
    from pydantic import create_model

    model = _Onnx()
    row: Any = create_model("Row", **{name: (kind, ...) for name, kind in _fields(model.contract).items()})
    app = FastAPI()

    def predict(given: Any) -> dict[str, float]:
        return {"prediction": model([given.model_dump()])[0]}

    def batch(given: Any) -> dict[str, list[float]]:
        return {"predictions": model([each.model_dump() for each in given])}

    predict.__annotations__["given"], batch.__annotations__["given"] = row, list[row]
    app.post("/predict")(predict)
    app.post("/batch")(batch)
    return app


def fastapi_sklearn() -> Any:
    """FastAPI and the fitted scikit-learn pipeline: what most tutorials end with."""
    import joblib
    import pandas as pd
    from fastapi import FastAPI
    from pydantic import create_model

    contract = json.loads((MODELS / "contract.json").read_text("utf-8"))
    pipeline = joblib.load(MODELS / "model.joblib")
    row: Any = create_model("Row", **{name: (kind, ...) for name, kind in _fields(contract).items()})
    names = [*contract["categories"], *contract["numbers"]]
    app = FastAPI()

    def score(rows: list[Any]) -> list[float]:
        frame = pd.DataFrame([each.model_dump() for each in rows], columns=names)
        frame = frame.astype(dict.fromkeys(contract["numbers"], "float32"))
        found: list[float] = pipeline.predict_proba(frame)[:, 1].tolist()
        return found

    def predict(given: Any) -> dict[str, float]:
        return {"prediction": score([given])[0]}

    def batch(given: Any) -> dict[str, list[float]]:
        return {"predictions": score(given)}

    predict.__annotations__["given"], batch.__annotations__["given"] = row, list[row]
    app.post("/predict")(predict)
    app.post("/batch")(batch)
    return app


def _fields(contract: dict[str, Any]) -> dict[str, Any]:
    """The contract's inputs as annotations that Pydantic checks, with the ranges and lengths that the service checks."""
    from slipway.contract.words import Rule
    from slipway.serving.validation import annotation

    properties = contract["inputs"]["properties"]
    return {name: annotation(Rule.of(properties[name])) for name in [*contract["categories"], *contract["numbers"]]}


class _Onnx:
    """The graph behind two arrays, as quick as they are made by hand."""

    def __init__(self) -> None:
        import numpy as np
        import onnxruntime as ort

        self._np = np
        self.contract = json.loads((MODELS / "contract.json").read_text("utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(MODELS / "model.onnx", options, providers=["CPUExecutionProvider"])

    def __call__(self, rows: list[Any]) -> list[float]:
        np, contract = self._np, self.contract
        texts = np.array([[row[name] or "" for name in contract["categories"]] for row in rows], dtype=object)
        numbers = np.array([[row[name] for name in contract["numbers"]] for row in rows], dtype=np.float32)
        found: list[float] = self._session.run(["prediction"], {"categories": texts, "numbers": numbers})[0].tolist()
        return found
