"""The prediction log of a real service, in both ways to run it: nothing is lost at SIGTERM."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from bikes.contract import Inputs
from pydantic import Field

from slipway.contract import reading
from slipway.core.process import poll_until
from slipway.serving import local_server

ROW = {"station": "park", "weekday": 5, "hour": 14, "temp": 16.0, "recent": 21, "yesterday": None}


def post(url: str, body: Any, **headers: str) -> tuple[Any, str]:
    text = json.dumps(body, indent=2).encode()
    named = {"content-type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    with urlopen(Request(f"{url}/predict", text, named), timeout=30) as answer:
        return json.load(answer), answer.headers["x-request-id"]


def records(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "predictions").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def ask_all(url: str) -> dict[str, float]:
    """Ask in turns and at once; return the prediction of each id."""
    answer, own = post(url, [ROW, ROW], x_request_id="mine.1")
    assert own == "mine.1"
    values = {f"mine.1/{number}": value for number, value in enumerate(answer["predictions"])}
    with ThreadPoolExecutor(4) as pool:
        for each, own in pool.map(lambda _: post(url, ROW, x_request_id="not valid"), range(50)):
            values[own] = each["prediction"]
    return values


def check(folder: Path, values: dict[str, float]) -> None:
    lines = records(folder)
    assert lines[0]["problem"] == "bikes" or lines[0]["v"] == 1
    assert {each["id"]: each["prediction"] for each in lines if "id" in each} == values
    assert all(each["inputs"] == ROW for each in lines if "id" in each)


def test_one_process_logs_all_until_sigterm(bento: Path, packable: Path, tmp_path: Path) -> None:
    folder = tmp_path / "log é"
    with local_server.start(
        bento, port=local_server.find_free_port(), home=tmp_path / "home", root=packable, log=tmp_path / "out",
        prediction_log=folder,
    ) as running:  # fmt: skip
        local_server.wait_ready(running)
        values = ask_all(running.url)
    check(folder, values)
    assert len(values) == 52


def test_bentoml_serve_logs_all_until_sigterm(bento: Path, packable: Path, tmp_path: Path) -> None:
    folder, home = tmp_path / "log", tmp_path / "home"
    home.mkdir()
    port = local_server.find_free_port()
    words = [sys.executable, "-m", "bentoml", "serve", str(bento), "--port", str(port), "--host", local_server.HOST]
    with (tmp_path / "out").open("wb") as output:
        process = subprocess.Popen(
            words, cwd=tmp_path, env=local_server.server_environment(home, packable, folder), stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
    with local_server.Server(process, port, home, tmp_path / "out") as running:
        local_server.wait_ready(running, seconds=90)
        values = ask_all(running.url)
    check(folder, values)


def started(
    bento: Path, packable: Path, tmp_path: Path, *words: str, **variables: str
) -> tuple[local_server.Server, Path]:
    """Start a server that logs; `words` go to uvicorn."""
    folder, home, port = tmp_path / "log", tmp_path / "home", local_server.find_free_port()
    home.mkdir()
    process = subprocess.Popen(
        [*local_server.command(bento, port=port), *words], cwd=bento / "src",
        env=local_server.server_environment(home, packable, folder) | variables, stdin=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    running = local_server.Server(process, port, home, tmp_path / "out")
    local_server.wait_ready(running)
    return running, folder


def test_two_workers_write_two_files(bento: Path, packable: Path, tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    counts.mkdir()
    running, folder = started(
        bento, packable, tmp_path, "--workers", "2", PROMETHEUS_MULTIPROC_DIR=str(counts),
    )  # fmt: skip
    with running:
        values: dict[str, float] = {}
        deadline = time.monotonic() + 60
        while len(list((folder / "predictions").glob("*.jsonl"))) < 2 and time.monotonic() < deadline:
            values |= ask_all(running.url)
    assert len(list((folder / "predictions").glob("*.jsonl"))) == 2
    assert {each["id"]: each["prediction"] for each in records(folder) if "id" in each} == values


def test_a_killed_service_loses_one_flush(bento: Path, packable: Path, tmp_path: Path) -> None:
    running, folder = started(bento, packable, tmp_path)
    with running:
        values = ask_all(running.url)
        assert poll_until(lambda: len(records(folder)) == 1 + len(values), seconds=10, every=0.05)
        later = ask_all(running.url)
        running.process.kill()
        running.process.wait()
    lines = {each["id"] for each in records(folder) if "id" in each}
    assert set(values) <= lines <= set(values) | set(later)


def test_sigterm_loses_no_request_in_flight(bento: Path, packable: Path, tmp_path: Path) -> None:
    running, folder = started(bento, packable, tmp_path)
    with running, ThreadPoolExecutor(4) as pool:
        answered: list[str] = []

        def ask_until_refused(thread: int) -> None:
            number = 0
            with suppress(OSError):
                while True:
                    answered.append(post(running.url, [ROW] * 50, x_request_id=f"{thread}.{number}")[1])
                    number += 1

        asking = [pool.submit(ask_until_refused, thread) for thread in range(4)]
        assert poll_until(lambda: len(answered) > 40, seconds=30, every=0.01)
        running.process.terminate()
        running.process.wait()
        for each in asking:
            each.result()
    assert set(answered) <= {each["id"].partition("/")[0] for each in records(folder) if "id" in each}


def test_private_fields_stay_out_of_the_log(bento: Path, packable: Path, tmp_path: Path) -> None:
    class Private(Inputs):
        station: str = Field(min_length=1, max_length=20, examples=["park"], json_schema_extra={"log": "hash"})
        hour: int = Field(ge=0, le=23, examples=[8], json_schema_extra={"log": "drop"})

    private = shutil.copytree(bento, tmp_path / "private")
    document = json.loads((private / "src/models/contract.json").read_text())
    words = {name: node.get("log") for name, node in reading.schema(Private)["properties"].items()}
    for name, word in words.items():
        document["inputs"]["properties"][name] |= {"log": word} if word else {}
    (private / "src/models/contract.json").write_text(json.dumps(document))
    running, folder = started(private, packable, tmp_path, SLIPWAY_LOG_SALT="secret")
    with running:
        post(running.url, ROW)
    head, line = records(folder)
    assert (head["dropped"], head["hashed"]) == (["hour"], ["station"])
    assert "hour" not in line["inputs"]
    assert re.fullmatch("[0-9a-f]{16}", line["inputs"]["station"])


def test_a_wrong_setting_ends_the_start(bento: Path, packable: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    variables = {**local_server.server_environment(home, packable, tmp_path / "log"), "SLIPWAY_LOG_PER_MILLE": "1001"}
    ended = subprocess.run(
        local_server.command(bento, port=local_server.find_free_port()), cwd=bento / "src", env=variables, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode != 0
    assert "SLIPWAY_LOG_PER_MILLE is '1001'; allowed: a whole number from 0 to 1,000" in ended.stderr
