"""For tests of the latency check: made-up response times, limits, and a small service that starts in a moment."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from slipway.judging import latency_statistics
from slipway.judging.latency_client import ALL, ONE, Times
from slipway.judging.latency_services import Side
from slipway.loadtest import slo

LIMITS = latency_statistics.Limits(
    warm_seconds=0.1, seconds=1, again_seconds=1, starts_at_most=3, block_ms=5, min_rounds=5, resamples=200, confidence=0.95,
    one_row_p50_at_most=0.1, one_row_p95_at_most=0.15, all_rows_p50_at_most=0.2, band_at_most=0.05,
)  # fmt: skip

LOOSE = LIMITS.model_copy(update={
    "warm_seconds": 0.05, "seconds": 0.5, "again_seconds": 0.5, "starts_at_most": 9, "block_ms": 0.01, "min_rounds": 2,
    "one_row_p50_at_most": 3.0, "one_row_p95_at_most": 100.0, "all_rows_p50_at_most": 3.0, "band_at_most": 1e6,
})  # fmt: skip
"""Limits that a busy machine cannot break: an equal service is never four times as slow, and too few rounds are measured
again, up to nine starts. `SLOW` is far beyond them."""
SLOW = {"ms": 2.0, "pauses": 30}
ROWS = ({"x": 1}, {"x": 2}, {"x": 3})
STARTER = """
import subprocess, sys
from pathlib import Path
from types import SimpleNamespace

def start(bento, *, port, home, root, log):
    service = Path(__file__).with_name("stand_in.py")
    return SimpleNamespace(process=subprocess.Popen([sys.executable, str(service), str(bento), str(port)]))
"""
SERVICE = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

settings = json.loads((Path(sys.argv[1]) / "settings.json").read_text("utf-8"))
answered = 0

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self):
        self.answer(200)

    def do_POST(self):
        global answered
        rows = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answered += 1
        if answered > settings["lives"]:
            os._exit(1)
        for _ in range(settings["pauses"]):  # a busy machine lengthens each pause, so the slow one stays slower
            time.sleep(settings["ms"] / 1000)
        rows = rows if isinstance(rows, list) else [rows]
        self.answer(422 if any(row["x"] > settings["x_at_most"] for row in rows) else settings["status"])

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"[]")

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever(0.02)
"""
SETTINGS = {"ms": 0.0, "pauses": 1, "status": 200, "lives": 10**9, "x_at_most": 10**9}


def stand_in(
    folder: Path, name: str, *, rows: Sequence[Mapping[str, Any]] = ROWS, starter: str = STARTER,
    module: str = "serving/local_server.py", **settings: float,
) -> Side:  # fmt: skip
    """One side whose code in `folder` starts a small service in place of a bento; `side.folder` is its bento too.

    `settings` are its faults: the pauses before an answer and their milliseconds, a status, the requests until it dies, and the
    largest `x` that its contract allows.
    """
    side = Side(name=name, tree=folder / name, folder=folder / name / "bento", python=Path(sys.executable))
    code = side.tree / "src/slipway" / module
    for place in (code.parent, side.folder / "models"):
        place.mkdir(parents=True)
    for place in {code.parent, side.tree / "src/slipway"}:
        (place / "__init__.py").touch()
    code.write_text(starter, "utf-8")
    (code.parent / "stand_in.py").write_text(SERVICE, "utf-8")
    (side.folder / "settings.json").write_text(json.dumps(SETTINGS | settings), "utf-8")
    (side.folder / "models/golden.json").write_text(
        json.dumps([{"row": row, "prediction": 0.5} for row in rows]), "utf-8"
    )
    contract = {"inputs": {"x": {"maximum": settings.get("x_at_most", SETTINGS["x_at_most"])}}}
    (side.folder / "models/contract.json").write_text(json.dumps(contract), "utf-8")
    return side


def times(ratio: float = 1.0, *, rounds: int = 60, noise: float = 0.05, seed: int = 1, tail: float = 1.0,
          size: int = 60) -> Times:  # fmt: skip
    """Rounds that each have a speed of their own, for both sides; the head is `ratio` times as slow, one in ten `tail` times."""
    rng = np.random.default_rng(seed)

    def kind(median: float, size: int) -> np.ndarray:
        speed = rng.lognormal(0, 0.3, (rounds, 1, 1)) * rng.lognormal(0, noise, (rounds, 2, 1))
        milliseconds = median * speed * rng.lognormal(0, 0.1, (rounds, 2, size))
        milliseconds[:, 1] *= ratio * np.where(rng.random((rounds, size)) < 0.1, tail, 1.0)
        return milliseconds

    return {ONE: kind(0.2, size), ALL: kind(1.0, 4)}


def limited(folder: Path, section: Any) -> None:
    """Write the section of slo.yaml; None removes it."""
    path, yaml = folder / slo.PATH, YAML()
    content = yaml.load(path.read_text("utf-8"))
    content.pop("latency", None)
    if section is not None:
        content["latency"] = section
    with path.open("w", encoding="utf-8") as file:
        yaml.dump(content, file)
