"""The gate as the program it is in its image: with its own few modules, against a real server of a bento."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from slipway.core import files
from slipway.errors import ConfigError, SlipwayError
from slipway.loadtest import in_cluster
from slipway.packaging import image
from slipway.serving import http_client
from support.paths import ROOT

DIGEST = "sha256:" + "ab" * 32
HOLDS = {
    "errors.py", "core/environment.py", "core/files.py", "core/process.py", "core/strict_model.py", "core/verdict.py",
    "serving/golden.py", "serving/http_client.py", "loadtest/canary.py", "loadtest/canary_replay.py",
    "loadtest/canary_statistics.py", "loadtest/generator_health.py", "loadtest/in_cluster.py", "loadtest/load.py",
    "loadtest/slo.py",
}  # fmt: skip
"""The modules of the gate's image. A new one is a new reason to rebuild it: look whether it has to be."""
Gate = Callable[..., tuple[int, dict[str, Any], str]]


def test_image_holds_these_modules_and_no_others() -> None:
    paths = image.program_files(ROOT, image.GATE)
    package = Path("src/slipway")
    inside = {path.relative_to(package).as_posix() for path in paths if package in path.parents}
    assert {name for name in inside if not name.endswith("__init__.py")} == HOLDS
    assert {path.as_posix() for path in paths} >= {"loadtests/locustfile.py", "requirements/load.lock"}


def test_what_they_import_is_in_their_lock() -> None:
    lock = (ROOT / "requirements/load.lock").read_text("utf-8")
    there = {name.replace("-", "_") for name in re.findall(r"^([a-z0-9._-]+)==", lock, re.M)}
    there |= {"ruamel", "slipway", *sys.stdlib_module_names}
    for path in image.program_files(ROOT, image.GATE):
        if path.suffix == ".py":
            body = ast.parse(
                (ROOT / path).read_text("utf-8")
            ).body  # what is imported in a function is imported with care
            names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
            names += [str(node.module) for node in body if isinstance(node, ast.ImportFrom)]
            assert {name.split(".")[0] for name in names} - there == set(), path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image holds, laid out as there, and an objective."""
    made = tmp_path_factory.mktemp("gate")
    image.copy_program_files(ROOT, image.GATE, made)
    limits = {"share": 1, "min_requests": 40, "errors_at_most": 0.01, "p95_ms_at_most": 9e4, "p99_ms_at_most": 9e4}
    schedule = {"rate": 60, "seconds": 0.7, "users": 4}  # and limits that a busy machine keeps: test_load narrows them
    objective = {"schedules": {"machine": schedule | {"rate": 1}, "cluster": schedule}, "achieved_ratio_at_least": 0.01,
                 "generator": {"lag_ms_at_most": 9e4, "cpu_at_most": 1},
                 "golden_difference_at_most": 1e-4, "endpoints": {"POST /predict": limits}}  # fmt: skip
    files.write_json(made / "slo.yaml", objective)
    return made


@pytest.fixture
def run(folder: Path, bento: Path) -> Gate:
    """`run("--host", …)`: its exit code, the record of its last line, what it said before."""

    def call(*words: str, word: str = "load") -> tuple[int, dict[str, Any], str]:
        given = (
            ["--slo", str(folder / "slo.yaml"), "--models", str(bento / "src/models"), *words]
            if word == "load"
            else words
        )
        done = subprocess.run(
            [sys.executable, "-m", "slipway.loadtest.in_cluster", word, *given], cwd=folder / "src",
            capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(folder / "src"), "PATH": "/usr/bin:/bin"}, timeout=120, check=False,
        )  # fmt: skip
        lines = done.stdout.strip().splitlines()
        return (
            done.returncode,
            json.loads(lines[-1]) if done.returncode in (0, 4, 5) and lines else {},
            done.stdout + done.stderr,
        )

    return call


def test_gate_passes_what_is_right_and_fast(run: Gate, served: int, bento: Path) -> None:
    code, record, said = run("--host", f"http://127.0.0.1:{served}", "--of", f"localhost:5000/bikes@{DIGEST}")
    assert (code, record.get("verdict")) == (0, "pass"), said
    assert (record["chapter"], record["rows"]) == ("load", 42)
    assert record["inputs"] == {"image": DIGEST, "model_sha256": files.sha256(bento / "src/models/model.onnx")}
    names = [check["name"] for check in record["checks"]]
    assert names[:2] == ["model served", "golden requests through the bento"]
    assert names[-1] == "model served, after the load"
    assert "load: pass, 42 requests" in said


def test_gate_says_no_to_another_model(run: Gate, served: int, bento: Path, tmp_path: Path) -> None:
    for name in ("contract.json", "golden.json", "model.onnx"):
        (tmp_path / name).write_bytes((bento / "src/models" / name).read_bytes())
    with (tmp_path / "model.onnx").open("ab") as graph:
        graph.write(b"other")
    golden_rows = files.read_json(tmp_path / "golden.json")
    golden_rows[0]["prediction"] += 1
    files.write_json(tmp_path / "golden.json", golden_rows)
    code, record, said = run("--host", f"http://127.0.0.1:{served}", "--of", DIGEST, "--models", str(tmp_path))
    assert (code, record["verdict"]) == (4, "fail")
    wrong = [check["name"] for check in record["checks"] if check["ok"] is False]
    assert wrong == ["model served", "golden requests through the bento", "model served, after the load"]
    assert "fail   The pods at" in said


def test_gate_that_cannot_measure_is_unsure(run: Gate, served: int, folder: Path, tmp_path: Path) -> None:
    text = (folder / "slo.yaml").read_text("utf-8").replace('"min_requests": 40', '"min_requests": 1000')
    (tmp_path / "slo.yaml").write_text(text, "utf-8")
    host = f"http://127.0.0.1:{served}"
    code, record, _ = run("--host", host, "--of", DIGEST, "--slo", str(tmp_path / "slo.yaml"))
    assert (code, record["verdict"]) == (5, "unsure")


@pytest.mark.parametrize("missing", ["contract.json", "golden.json", "model.onnx"])
def test_gate_names_what_is_not_mounted(bento: Path, tmp_path: Path, missing: str) -> None:
    for path in (bento / "src/models").iterdir():
        if path.name != missing:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(ConfigError, match=f"{missing} does not exist"):
        in_cluster.read(tmp_path)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--host", "http://127.0.0.1:9", "--of", "flights:1"], "--of is 'flights:1'; expected: sha256:"),
        (["--host", "http://127.0.0.1:9", "--of", DIGEST, "--slo", "none.yaml"], "none.yaml does not exist"),
        (["--of", DIGEST], "the following arguments are required: --host"),
    ],
)
def test_gate_without_a_setting_says_which(run: Gate, words: list[str], says: str) -> None:
    code, record, said = run(*words)
    assert (code, record) == (2, {})
    assert says in said


def test_gate_hands_the_canary_on(run: Gate) -> None:
    code, record, said = run("--stable", "http://127.0.0.1:9", word="canary")
    assert (code, record) == (2, {})
    assert "--canary" in said


class Pods(BaseHTTPRequestHandler):
    """Several pods behind one name: each connection meets the next of `models`; /readyz is 200 from the third time on."""

    models: list[str]
    asked: list[str]

    def do_GET(self) -> None:
        """Its metrics, or whether it is ready."""
        self.asked.append(self.path)
        model = self.models[len(self.asked) % len(self.models)]
        label = f'{{model_sha256="{model}",problem="bikes",until="2026-01-01"}}'
        self.send_response(503 if self.path == "/readyz" and len(self.asked) < 3 else 200)
        self.end_headers()
        self.wfile.write(
            f"# HELP slipway_model_info The model\nslipway_model_info{label} 1.0\nother 2\n".encode() if model else b""
        )

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def pods() -> Iterator[Callable[..., str]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Pods,), {"asked": []})) as local:
        thread = threading.Thread(target=local.serve_forever, args=(0.01,))
        thread.start()

        def of(*models: str) -> str:
            local.RequestHandlerClass.models = [*models]  # type: ignore[attr-defined]
            return f"http://127.0.0.1:{local.server_port}"

        yield of
        local.shutdown()
        thread.join()


A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("models", "ok", "value"),
    [([A], True, A), ([B], False, B), ([A, B], False, f"{A}, {B}"), ([A, ""], False, f"{A}, none")],
)
def test_every_pod_must_serve_the_model(pods: Callable[..., str], models: list[str], ok: bool, value: str) -> None:
    check = in_cluster.check_served(pods(*models), A)
    assert (check.ok, check.value, check.limit) == (ok, value, f"the model of the image, {A}")


def test_nobody_serves_no_model() -> None:
    check = in_cluster.check_served("http://127.0.0.1:9", A)
    assert check.ok is False
    assert "no response from" in str(check.value)


def test_gate_waits_until_the_service_is_ready(pods: Callable[..., str]) -> None:
    host = pods(A)
    in_cluster.wait_ready(host, seconds=20)
    assert http_client.fetch(host, "/readyz").ok
    in_cluster.wait_ready("http://127.0.0.1:9", seconds=0.3)  # gives up: the checks tell
    with pytest.raises(SlipwayError):
        in_cluster.models_of("http://127.0.0.1:9")
