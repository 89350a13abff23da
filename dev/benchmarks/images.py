"""The images' figures: the size of ours against what `bentoml containerize` makes, and how soon each is ready.

    make bench NAME=images      about five minutes; needs a cluster, its registry and a builder, and `slipway package` before

All are built here, over the same base, from the bento that `slipway package` made. Sizes are unpacked bytes, as on a
node's disk; what a node pulls is stated beside it. Ready is from the container's start to the first 200 of /readyz,
taken inside of it, in turns with a FastAPI service of the same model.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import statistics
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from pipeline import ROOT, at_most, closing, guarded, talk
from slipway.cluster import kubectl
from slipway.core import environment
from slipway.core.verdict import Check
from slipway.packaging import image_builder, package, registry
from slipway.serving import local_server

STARTS = 5
SPACE = "bench-images"
SIZE_AT_MOST = 0.42
FAST = """\
import json
import numpy as np, onnxruntime as ort
from fastapi import FastAPI, Response
from pydantic import create_model

contract = json.load(open("models/contract.json"))
names = [*contract["categories"], *contract["numbers"]]
Row = create_model("Row", **{name: (str | None if name in contract["categories"] else float | None, ...) for name in names})
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession("models/model.onnx", options)
app = FastAPI()

@app.post("/predict")
async def predict(row: Row) -> dict[str, float]:
    given = row.model_dump()
    texts = np.array([[given[name] or "" for name in contract["categories"]]], dtype=object)
    numbers = np.array([[given[name] for name in contract["numbers"]]], dtype=np.float32)
    found = session.run(None, dict(zip([one.name for one in session.get_inputs()], (texts, numbers))))
    return {"prediction": float(found[0][0])}

@app.get("/readyz")
async def ready() -> Response:
    return Response()
"""
RECIPE = """\
ARG BASE=slim
FROM python:3.11-slim AS slim
FROM ${BASE} AS fast
RUN python -m venv --without-pip /app/venv
COPY pins.txt /tmp/pins.txt
RUN python -m pip --python /app/venv/bin/python install --no-cache-dir --no-compile --only-binary :all: \\
      fastapi uvicorn uvloop httptools onnxruntime numpy -c /tmp/pins.txt
COPY . /app/code
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash /app/venv/lib /app/code
ENV PATH=/app/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
USER 10001:10001
WORKDIR /app/code
"""
WATCH = """\
import http.client, subprocess, sys, time
started = time.monotonic()
service = subprocess.Popen(sys.argv[1:])
while True:
    try:
        asked = http.client.HTTPConnection("127.0.0.1", 3000, timeout=1)
        asked.request("GET", "/readyz")
        if asked.getresponse().status == 200:
            break
    except OSError:
        time.sleep(0.01)
took = time.monotonic() - started
print("READY", took, flush=True)
service.terminate()
service.wait()
"""
SERVICES = {
    "serve": ["python", *local_server.command(Path("/app/bento"), host="0.0.0.0", port=3000)[1:]],  # noqa: S104
    "fast": ["uvicorn", "app:app", "--host", "0.0.0.0", "--port", "3000", "--loop", "uvloop", "--no-access-log"],  # noqa: S104
}  # fmt: skip


def unpacked(name: str) -> Counter[str]:
    """Bytes of an image by where they lie: each layer's files, added up by their first folders."""
    where = registry.parse_reference(name)
    found: Counter[str] = Counter()
    with httpx.Client(timeout=60) as client:
        accept = ", ".join(registry.MANIFESTS)
        manifest = client.get(f"{where.url}/manifests/{where.ref}", headers={"accept": accept}).json()
        for number, layer in enumerate(manifest["layers"]):
            raw = io.BytesIO(client.get(f"{where.url}/blobs/{layer['digest']}").content)
            with tarfile.open(fileobj=raw) as tar:
                for member in tar:
                    if member.isreg():
                        found[place(member.name, number)] += member.size
    return found


def place(path: str, layer: int) -> str:
    """The part of an image that a file belongs to: its base, a package of an environment, or a folder."""
    if layer == 0:
        return "base"
    if "/site-packages/" in path or "/dist-packages/" in path:
        return path.split("-packages/")[1].split("/")[0].removesuffix(".libs").split("-")[0]
    parts = path.strip("./").split("/")
    return "/".join(parts[:2]) if parts[0] in ("usr", "app", "var", "home", "root") else parts[0]


def theirs(bento: Path, tag: str, scratch: Path) -> str:
    """The image of the Dockerfile that BentoML wrote into the bento, with the same pins as ours to install."""
    context = shutil.copytree(bento, scratch / "theirs")
    context.chmod(0o755)
    shutil.copy(bento / "src/requirements/serve.lock", context / "env/python/requirements.txt")
    recipe = context / "env/docker/Dockerfile"
    lines = recipe.read_text("utf-8").replace("AS base-container", "AS theirs")
    # its installer reads no certificates of the machine that a builder hands in; this adds nothing to the image
    recipe.write_text(
        lines.replace("ENV LANG", "ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt\nENV LANG", 1), "utf-8"
    )
    return image_builder.build_image("theirs", context, tag, {}, root=ROOT, recipe=recipe)


def fast(bento: Path, tag: str, scratch: Path) -> str:
    """FastAPI and ONNX Runtime with the same model, at the versions of requirements/dev.lock."""
    context = scratch / "fast"
    shutil.copytree(bento / "src/models", context / "models")
    (context / "app.py").write_text(FAST, "utf-8")
    lock = (ROOT / "requirements/dev.lock").read_text("utf-8").splitlines()
    pins = [line.rstrip(" \\") for line in lock if re.match(r"[\w.-]+==", line)]  # with their markers, without hashes
    (context / "pins.txt").write_text("\n".join(pins), "utf-8")
    (context / "Recipe").write_text(RECIPE, "utf-8")
    return image_builder.build_image("fast", context, tag, {}, root=ROOT, recipe=context / "Recipe")


def starts(images: dict[str, str]) -> dict[str, list[float]]:
    """Seconds from start to ready of each image, in turns."""
    found: dict[str, list[float]] = {name: [] for name in images}
    for number in range(STARTS + 1):  # the first of each only pulls
        for name, of in images.items():
            seconds = once(f"{name}-{number}", of, SERVICES[name])
            if number:
                found[name].append(seconds)
    return found


def once(pod: str, of: str, service: list[str]) -> float:
    container = {"name": "main", "image": of, "command": ["python", "-c", WATCH, *service],
                 "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108  # the pod's own
                 "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}}  # fmt: skip
    spec = {"containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}], "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1}  # fmt: skip
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": SPACE}, "spec": spec}
    kubectl.run("create", "-f", "-", stdin=json.dumps(made))
    kubectl.run(
        "-n", SPACE, "wait", f"pod/{pod}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s", timeout=130
    )
    said = kubectl.run("-n", SPACE, "logs", pod)
    return float(next(line.split()[1] for line in said.splitlines() if line.startswith("READY")))


def sizes(ours: str, other: str) -> list[Check]:
    """Ours ÷ theirs, and what each is made of."""
    mine, his = unpacked(ours), unpacked(other)
    for name, parts in (("ours", mine), ("bentoml's", his)):
        whole = sum(parts.values())
        told = ", ".join(f"{part} {100 * size / whole:.0f} %" for part, size in parts.most_common(12))
        talk.print(f"{name}, {whole / 1e6:.0f} MB: {told}", soft_wrap=True)
    packed = [pulled(of) for of in (ours, other)]
    base, archives = mine["base"], his["var/cache"]  # what apt downloaded; the official base throws it away
    return [
        at_most("image ÷ bentoml containerize's", sum(mine.values()) / sum(his.values()), SIZE_AT_MOST),
        at_most("the same without their base", (sum(mine.values()) - base) / (sum(his.values()) - base), None),
        at_most("the same without apt's archives", sum(mine.values()) / (sum(his.values()) - archives), None),
        at_most("what a node pulls, the same ratio", packed[0] / packed[1], None),
    ]


def pulled(of: str) -> int:
    """Bytes of its layers as they travel."""
    return registry.inspect_image(of).bytes


def main() -> None:
    started, address = time.monotonic(), environment.registry_host()
    assert address, "REGISTRY is not set"
    bento, _ = package.packaged_bento(ROOT)
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        tags = {name: f"{address}/bench-{name}:1" for name in ("serve", "theirs", "fast")}
        with talk.status("building …"):
            ours = image_builder.build_image("serve", bento, tags["serve"], {}, root=ROOT)
            quick = fast(bento, tags["fast"], Path(folder))
            other = theirs(bento, tags["theirs"], Path(folder))
    checks = sizes(ours, other)
    kubectl.run("create", "namespace", SPACE)
    try:
        with talk.status("starting …"):
            found = starts({"serve": ours, "fast": quick})
    finally:
        kubectl.run("delete", "namespace", SPACE, "--wait=false")
    for name, seconds in found.items():
        talk.print(f"{name} ready after {', '.join(f'{one:.2f}' for one in seconds)} s")
    ratio = statistics.median(found["serve"]) / statistics.median(found["fast"])
    closing("images", [*checks, at_most("start → ready ÷ FastAPI's", ratio, None)], time.monotonic() - started)


if __name__ == "__main__":
    guarded(main)
