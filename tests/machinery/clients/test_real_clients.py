"""The clients that people use, as they come: each gets the golden answers, to the bit, for one row and for a list.

The programs are Client.java, client.go, client.mjs and bentoml_client.py. They are skipped where their
language is not installed; curl must be with CI=true.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import requests

from slipway.core import files
from slipway.serving import local_server
from slipway.serving.local_server import HOST

JSON = {"content-type": "application/json"}
PROGRAMS = {
    "java": (["java", "-XX:TieredStopAtLevel=1", "Client.java"], 2), "go": (["go", "run", "client.go"], 4),
    "node": (["node", "client.mjs"], 3), "bentoml": ([sys.executable, "-W", "ignore", "bentoml_client.py"], 3),
}  # fmt: skip
"""Commands, and how many times each sends everything."""
HERE = Path(__file__).parent


@pytest.fixture(scope="module", params=["uvicorn", "bentoml serve"])
def port(request: pytest.FixtureRequest, bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The service, as the image starts it and as BentoML does."""
    if request.param == "uvicorn":
        yield request.getfixturevalue("served")
        return
    folder, port = tmp_path_factory.mktemp("bentoml"), local_server.find_free_port()
    command = [sys.executable, "-m", "bentoml", "serve", str(bento), "--host", HOST, "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=bento / "src", env=local_server.server_environment(folder, folder), stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    with local_server.Server(process, port, folder, folder / "log") as running:
        local_server.wait_ready(running)
        yield port


@pytest.fixture(scope="module")
def golden(project: Path) -> list[tuple[Any, Any]]:
    """Bodies with their answers: six rows, and all of them as a list."""
    records = files.read_json(project / "models/golden.json")
    one = [(each["row"], {"prediction": each["prediction"]}) for each in records[:6]]
    return [*one, ([each["row"] for each in records], {"predictions": [each["prediction"] for each in records]})]


def url(port: int) -> str:
    return f"http://{HOST}:{port}/predict"


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_in_other_languages(port: int, golden: list[tuple[Any, Any]], name: str, tmp_path: Path) -> None:
    """Go compiles its library once a machine, which takes up to a minute."""
    command, times = PROGRAMS[name]
    if name != "bentoml" and not shutil.which(command[0]):
        pytest.skip(f"{name} is not installed")
    bodies = tmp_path / "bodies.jsonl"
    bodies.write_text("".join(json.dumps(body) + "\n" for body, _ in golden), "utf-8")
    done = subprocess.run([*command, url(port), str(bodies)], cwd=HERE, capture_output=True, text=True, timeout=300)
    answers = [line.partition(" ") for line in done.stdout.splitlines()]
    assert {status for status, _, _ in answers} == {"200"}, done.stdout[-500:] + done.stderr[-2000:]
    assert [json.loads(answer) for _, _, answer in answers] == [answer for _, answer in golden] * times
    assert name != "bentoml" or "hour is 99; expected a number from 0 to 23" in done.stderr


CURL = {
    "plain": [], "http2": ["--http2"], "http1.0": ["--http1.0"],
    "keep-alive of 1.0": ["--http1.0", "-H", "connection: keep-alive"],
    "chunked": ["-H", "transfer-encoding: chunked"], "expect": ["-H", "expect: 100-continue"],
    "chunked http2 that expects": ["--http2", "-H", "transfer-encoding: chunked", "-H", "expect: 100-continue"],
    "compressed answers": ["--compressed"], "another address": ["--path-as-is"], "slow": ["--limit-rate", "2k"],
    "no keep-alive": ["-H", "connection: close"], "raw": ["--tcp-nodelay", "--no-keepalive"],
}  # fmt: skip


@pytest.mark.parametrize("options", CURL.values(), ids=CURL)
def test_curl(port: int, golden: list[tuple[Any, Any]], options: list[str], tmp_path: Path) -> None:
    if not shutil.which("curl") and os.environ.get("CI") != "true":
        pytest.skip("curl is not installed")
    for number, (body, _) in enumerate(golden):
        (tmp_path / str(number)).write_text(json.dumps(body), "utf-8")
    command = ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
    for number in range(len(golden)):
        again = [] if not number else ["--next", "--silent", "--show-error", "--fail-with-body", "--max-time", "30"]
        command += [*again, *options, "-H", "content-type: application/json", "--data-binary", f"@{tmp_path / str(number)}",
                    "-w", "\n", url(port)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert [json.loads(line) for line in done.stdout.splitlines()] == [answer for _, answer in golden], done.stderr


def by_requests(port: int, bodies: list[Any]) -> Iterator[Any]:
    with requests.Session() as session:
        for body in bodies:
            yield session.post(url(port), json=body, timeout=30).json()
            yield session.post(url(port), data=iter([json.dumps(body).encode()]), headers=JSON, timeout=30).json()


def by_httpx(port: int, bodies: list[Any]) -> Iterator[Any]:
    with httpx.Client(timeout=30) as client:
        for body in bodies:
            yield client.post(url(port), json=body).json()
            packed = gzip.compress(json.dumps(body).encode())
            yield client.post(url(port), content=packed, headers=JSON | {"content-encoding": "gzip"}).json()


def by_aiohttp(port: int, bodies: list[Any]) -> Iterator[Any]:
    async def all_at_once() -> list[Any]:
        async with aiohttp.ClientSession() as session:

            async def post(body: Any, **more: Any) -> Any:
                async with session.post(url(port), json=body, **more) as response:
                    return await response.json()

            many = [each for body in bodies for each in (post(body, compress="gzip"), post(body, expect100=True))]
            return await asyncio.gather(*many)

    yield from asyncio.run(all_at_once())


def by_urllib(port: int, bodies: list[Any]) -> Iterator[Any]:
    for body in [each for each in bodies for _ in range(2)]:
        with urllib.request.urlopen(
            urllib.request.Request(url(port), json.dumps(body).encode(), JSON), timeout=30
        ) as said:
            yield json.load(said)


def by_http_client(port: int, bodies: list[Any]) -> Iterator[Any]:
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        for body in [each for each in bodies for _ in range(2)]:
            connection.request("POST", "/predict", json.dumps(body), JSON | {"upgrade": "h2c", "connection": "upgrade"})
            yield json.load(connection.getresponse())


@pytest.mark.parametrize(
    "client",
    [by_requests, by_httpx, by_aiohttp, by_urllib, by_http_client],
    ids=lambda each: each.__name__,
)
def test_clients_of_python(port: int, golden: list[tuple[Any, Any]], client: Callable[..., Iterator[Any]]) -> None:
    assert [*client(port, [body for body, _ in golden])] == [answer for _, answer in golden for _ in range(2)]


def test_a_bare_socket_that_closes_its_half(port: int, golden: list[tuple[Any, Any]]) -> None:
    body = json.dumps(golden[0][0]).encode()
    with socket.create_connection((HOST, port), timeout=30) as connection:
        connection.sendall(b"POST /predict HTTP/1.0\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == golden[0][1]


@pytest.mark.parametrize(
    "path", ["/", "/livez", "/readyz", "/metrics", "/docs.json", "/predict", "/healthz", "/nowhere"]
)
def test_head_is_get_without_a_body(port: int, path: str) -> None:
    with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30) as client:
        head, get = client.head(path), client.get(path)
    assert head.content == b""
    assert head.status_code == get.status_code
