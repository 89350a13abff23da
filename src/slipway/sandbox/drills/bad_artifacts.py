"""What the drills spoil: answers that come late, a model that is wrong, an image that does not start. Texts and graphs, pure."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from ruamel.yaml import YAML

from slipway.core import files
from slipway.errors import ConfigError
from slipway.packaging import image_builder
from slipway.serving import onnx_model

FRONT = Path("src/slipway/serving/asgi.py")
TIMES = 1.6
"""The objective's p95 that late answers take: more than it allows, and little enough that the load test keeps its rate."""
MARK = "# a drill: every answer comes late"
LATE = re.compile(rf"(?m)^ *await asyncio\.sleep\([\d.]+\)  {MARK}\n")
FIRST = re.compile(r"(?m)^    async def _post\(.*\) -> None:\n")
CRASH = 'ENTRYPOINT ["python", "-c", "raise SystemExit(\'drill: it exits at start\')"]'
WRONG = "COPY models /app/bento/src/models"
OTHER = "LABEL slipway.drill=other"
"""As good as before, by another digest."""


def delay_ms(slo: str) -> float:
    """How late an answer must come, by the objective (the text of slo.yaml)."""
    endpoints = YAML(typ="safe").load(slo)["endpoints"].values()
    return TIMES * max(float(endpoint["p95_ms_at_most"]) for endpoint in endpoints)


def slowed(front: str, delay_ms: float) -> str:
    """The service's front whose every answer takes `delay_ms` longer; ConfigError when it has no `_post`."""
    if not (found := FIRST.search(front)):
        raise ConfigError(f"drill: {FRONT} has no method _post to slow down", hint=f"see {FRONT}")
    late = f"        await asyncio.sleep({delay_ms / 1000:g})  {MARK}\n"
    return front[: found.end()] + late + front[found.end() :]


def mended(front: str, what: str) -> str:
    """The front with a comment in the place of what `slowed` put into it: a fix, and other bytes than before the fault.

    The same text when there is nothing to mend.
    """
    return LATE.sub(f"        # {what}\n", front)


def marked(recipe: str, what: str) -> str:
    """A Dockerfile with one more comment: a change that is released, of the same bento, in little time."""
    return f"{recipe.rstrip()}\n# {what}\n"


def mirrored(graph: onnx.ModelProto, edges: list[float]) -> onnx.ModelProto:
    """The model that says the opposite: its prediction mirrored in the range of predictions. As fast, and as well formed."""
    last = graph.graph.node[-1]
    if list(last.output) != ["prediction"]:
        raise ConfigError(f"drill: the model's last node gives {list(last.output)}, limit: prediction")
    last.output[:] = ["honest"]
    both = np.array(edges[0] + edges[-1], dtype=np.float32)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(both, "both"))
    graph.graph.node.append(onnx.helper.make_node("Sub", ["both", "honest"], ["prediction"]))
    onnx.checker.check_model(graph)
    return graph


def wrong(models: Path, folder: Path) -> None:
    """The models of a bento → `folder`, with the mirrored graph, and golden answers that are its own."""
    contract: dict[str, Any] = files.read_json(models / "contract.json")
    golden: list[dict[str, Any]] = files.read_json(models / "golden.json")
    folder.mkdir(parents=True)
    onnx.save(mirrored(onnx.load(models / "model.onnx"), contract["reference"]["edges"]), folder / "model.onnx")
    files.write_json(folder / "contract.json", contract)
    answers = onnx_model.Model(folder).rows([each["row"] for each in golden])
    told = [{**each, "prediction": float(p)} for each, p in zip(golden, answers, strict=True)]
    files.write_json(folder / "golden.json", told)


def recipe(good: str, line: str) -> str:
    """A Dockerfile of the good image with one more line."""
    return f"FROM {good} AS slim\nFROM slim AS spoiled\n{line}\n"


def derived(good: str, name: str, *, line: str, models: Path | None = None) -> str:
    """Build and push the good image with one more line, as `registry/name@sha256:…`; with `models`, the wrong ones of them."""
    with tempfile.TemporaryDirectory(prefix="slipway-drill-") as scratch:
        root, context = Path(scratch), Path(scratch) / "context"
        context.mkdir()
        files.write_text(root / image_builder.DOCKERFILE, recipe(good, line))
        if models is not None:
            wrong(models, context / "models")
        return image_builder.build_image("spoiled", context, f"{good.partition('@')[0]}:drill-{name}", {}, root=root)
