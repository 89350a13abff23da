"""The prediction log of a real service, in both ways to run it: nothing is lost at SIGTERM."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

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
