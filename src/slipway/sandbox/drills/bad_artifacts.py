"""Make bad artifacts for the drills: a service with late answers, a wrong model, an image that does not start."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from slipway.core import files
from slipway.core.strict_model import parse_yaml
from slipway.errors import ConfigError
from slipway.packaging import image_builder
from slipway.serving import onnx_model

SERVICE = Path("src/slipway/serving/asgi.py")
DELAY_FACTOR = 1.6
"""Times the objective's p95: more than it allows, and little enough that the load test keeps its rate."""
MARK = "# a drill: every answer comes late"
DELAY = re.compile(rf"(?m)^ *await asyncio\.sleep\([\d.]+\)  {MARK}\n")
POST = re.compile(r"(?m)^    async def _post\(.*\) -> None:\n")
CRASH = 'ENTRYPOINT ["python", "-c", "raise SystemExit(\'drill: it exits at start\')"]'
WRONG = "COPY models /app/bento/src/models"
OTHER = "LABEL slipway.drill=other"
"""The same image with another digest."""


def delay_ms(slo: str) -> float:
    """Milliseconds by which answers must be late to break the objective in slo.yaml's text."""
    endpoints = parse_yaml(slo)["endpoints"].values()
    return DELAY_FACTOR * max(float(endpoint["p95_ms_at_most"]) for endpoint in endpoints)


def with_delay(source: str, delay_ms: float) -> str:
    """The service's source with `delay_ms` before every answer; ConfigError when it has no `_post`."""
    if not (method := POST.search(source)):
        message = f"drill: {SERVICE} has no method _post, which the drill slows down"
        raise ConfigError(
            message, hint="adapt POST in src/slipway/sandbox/drills/bad_artifacts.py to the changed source"
        )
    delay = f"        await asyncio.sleep({delay_ms / 1000:g})  {MARK}\n"
    return source[: method.end()] + delay + source[method.end() :]


def without_delay(source: str, comment: str) -> str:
    """The service's source with a comment in place of the delay, so that its bytes differ from those before the fault.

    The same text when it has no delay.
    """
    return DELAY.sub(f"        # {comment}\n", source)


def with_comment(recipe: str, comment: str) -> str:
    """A Dockerfile with one more comment: a change that is released quickly, with the same bento."""
    return f"{recipe.rstrip()}\n# {comment}\n"


def mirror(graph: onnx.ModelProto, edges: list[float]) -> onnx.ModelProto:
    """The graph with its prediction mirrored in the range of predictions: as fast, well formed, and wrong."""
    last = graph.graph.node[-1]
    if list(last.output) != ["prediction"]:
        message = f"drill: the last node of the ONNX graph has the outputs {list(last.output)}"
        raise ConfigError(message, expected="prediction", hint="run `make repro` to export the model again")
    last.output[:] = ["honest"]
    both = np.array(edges[0] + edges[-1], dtype=np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(both, "both"))
    graph.graph.node.append(onnx.helper.make_node("Sub", ["both", "honest"], ["prediction"]))
    onnx.checker.check_model(graph)
    return graph


def write_wrong_models(models: Path, folder: Path) -> None:
    """Write the models of a bento to `folder`, with the mirrored graph and golden answers of that graph."""
    contract: dict[str, Any] = files.read_json(models / "contract.json")
    golden: list[dict[str, Any]] = files.read_json(models / "golden.json")
    folder.mkdir(parents=True)
    onnx.save(mirror(onnx.load(models / "model.onnx"), contract["reference"]["edges"]), folder / "model.onnx")
    files.write_json(folder / "contract.json", contract)
    answers = onnx_model.Model(folder).rows([each["row"] for each in golden])
    requests = [{**each, "prediction": float(p)} for each, p in zip(golden, answers, strict=True)]
    files.write_json(folder / "golden.json", requests)


def dockerfile(good: str, line: str) -> str:
    """A Dockerfile that adds one line to the good image."""
    return f"FROM {good} AS slim\nFROM slim AS spoiled\n{line}\n"


def build_derived(good: str, name: str, *, line: str, models: Path | None = None) -> str:
    """Build and push the good image with one more line, as `registry/name@sha256:…`; `models` are added as wrong ones."""
    with files.scratch_folder("slipway-drill-") as root:
        context = root / "context"
        context.mkdir()
        files.write_text(root / image_builder.DOCKERFILE, dockerfile(good, line))
        if models is not None:
            write_wrong_models(models, context / "models")
        return image_builder.build_image("spoiled", context, f"{good.partition('@')[0]}:drill-{name}", {}, root=root)
