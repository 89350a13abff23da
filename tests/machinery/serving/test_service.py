"""The real service from a real bento, over HTTP."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway.core import environment, files
from slipway.core.process import poll_until
from slipway.serving import local_server
from slipway.serving.http_client import is_ready
from slipway.serving.local_server import HOST
from support import faulty_graph

ROW = {"station": "park", "weekday": 5, "hour": 14, "temp": 16.0, "recent": 21, "yesterday": None}
HEAVY = ("sklearn", "pandas", "skl2onnx", "joblib", "polars", "onnx", "pandera", "ruamel", "mlflow")


def send(port: int, body: Any, path: str = "/predict", method: str = "POST", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    given = {"content-type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
    connection.request(method, path, body if isinstance(body, bytes | None) else json.dumps(body), given)
    response = connection.getresponse()
    text = response.read()
    connection.close()
    return response.status, json.loads(text) if "json" in response.headers["content-type"] else text.decode()


def metric(port: int, line: str) -> float:
    found = re.search(rf"(?m)^{re.escape(line)} (\S+)$", send(port, None, "/metrics", "GET")[1])
    return float(found[1]) if found else 0.0


def test_one_row_and_many_are_answered_alike(served: int) -> None:
    status, one = send(served, ROW)
    assert (status, list(one)) == (200, ["prediction"])
    assert send(served, [ROW, ROW]) == (200, {"predictions": [one["prediction"]] * 2})


def test_golden_answers_come_back_to_the_bit(served: int, project: Path) -> None:
    golden = files.read_json(project / "models/golden.json")
    answer = send(served, [each["row"] for each in golden])[1]
    assert answer["predictions"] == [each["prediction"] for each in golden]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"not json", 400), (b'{"a":', 400), (b"\xff", 400), (b"[" * 100_000, 400),
        (b"3", 422), (b"[]", 422), ({}, 422), (ROW | {"hour": "14"}, 422), (ROW | {"more": 1}, 422),
        (ROW | {"hour": None}, 422), (ROW | {"temp": None}, 200), (ROW | {"hour": 10**400}, 422),
        (ROW | {"temp": float("nan")}, 422), (ROW | {"temp": float("-inf")}, 422), (ROW | {"temp": 1e308}, 422),
        ([ROW] * 500, 200), ([ROW] * 501, 422), ([ROW] * 10_000, 413), (b"[" + b" " * 20_000_000 + b"]", 413),
    ],
    ids=lambda given: repr(given)[:24],
)  # fmt: skip
def test_bad_input_is_refused_in_words(served: int, body: Any, status: int) -> None:
    found, answer = send(served, body)
    assert found == status
    if status != 200:
        assert answer["errors"][0]["message"]


def test_a_body_in_chunks_over_the_limit_is_refused(served: int) -> None:
    connection = http.client.HTTPConnection(HOST, served, timeout=60)
    connection.request("POST", "/predict", iter([b" " * 50_000] * 8), {"content-type": "application/json"})
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "GET"}, 405), ({"method": "DELETE", "path": "/ask"}, 405),
        ({"method": "POST", "path": "/metrics"}, 405), ({"content_type": "text/csv"}, 415),
    ],
)  # fmt: skip
def test_method_and_content_type_are_checked(served: int, request_: dict[str, Any], status: int) -> None:
    found, answer = send(served, b"{}", **request_)
    assert (found, len(answer["errors"])) == (status, 1)


def test_an_unknown_category_is_answered_and_counted(served: int) -> None:
    line = 'slipway_unknown_categories_total{column="station"}'
    before = metric(served, line)
    assert send(served, [ROW, ROW | {"station": "moon"}])[0] == 200
    assert metric(served, line) == before + 1


def test_metrics_count_statuses_latencies_and_predictions(served: int) -> None:
    lines = (
        'slipway_requests_total{route="/predict",status="200"}',
        'slipway_request_seconds_count{route="/predict"}',
        "slipway_prediction_count",
    )
    before = [metric(served, line) for line in lines]
    send(served, [ROW] * 3)
    assert [metric(served, line) for line in lines] == [before[0] + 1, before[1] + 1, before[2] + 3]
    assert 'slipway_model_info{model_sha256="' in send(served, None, "/metrics", "GET")[1]


def test_unknown_paths_make_no_labels(served: int) -> None:
    assert send(served, None, "/no/such/path", "GET")[0] == 404
    assert "such" not in send(served, None, "/metrics", "GET")[1]


def test_probes_answer(served: int) -> None:
    assert [send(served, None, path, "GET")[0] for path in ("/livez", "/readyz", "/")] == [200, 200, 200]


def test_the_examples_of_the_document_work(served: int) -> None:
    document = send(served, None, "/docs.json", "GET")[1]
    for path, answers in (("/predict", 2), ("/ask", 1)):
        given = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert [send(served, each["value"], path)[0] for each in given.values()] == [200] * answers


def test_a_question_is_answered_with_the_inputs_used(served: int) -> None:
    status, answer = send(served, {"station": "park", "hour": 14}, "/ask")
    assert (status, answer["inputs"]["recent"]) == (200, 21)
    assert answer["prediction"] == send(served, answer["inputs"])[1]["prediction"]


@pytest.mark.parametrize(
    ("question", "code", "says"),
    [
        ({"station": "park", "hour": 99}, 422, "hour is 99; expected a whole number from 0 to 23"),
        ({"station": "park"}, 422, "hour is missing; expected a whole number from 0 to 23"),
        ({"station": "park", "hour": 3}, 404, "nothing is known of 3 o'clock"),
        ({"station": "park", "hour": 0}, 404, "recent is 999; expected a number from 0 to 500 (bikes), or null"),
    ],
)
def test_a_question_without_an_answer_is_refused(served: int, question: dict[str, Any], code: int, says: str) -> None:
    status, answer = send(served, question, "/ask")
    assert (status, answer["errors"][0]["message"]) == (code, says)


@contextmanager
def run(bento: Path, folder: Path, command: list[str], **more: str) -> Iterator[local_server.Server]:
    """The bento served by another command than ours."""
    (folder / "home").mkdir()
    env = local_server.server_environment(folder / "home", folder) | more
    port = int(command[command.index("--port") + 1])
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=bento / "src", env=env, stdout=log, stderr=log, start_new_session=True)
        with local_server.Server(process, port, folder / "home", folder / "log") as running:
            yield running


def stopped_body(port: int) -> socket.socket:
    """A connection whose body stops arriving."""
    connection = socket.create_connection((HOST, port), timeout=60)
    connection.sendall(b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
    return connection


def test_bentoml_serve_answers_as_uvicorn_does_and_both_give_up_a_body_that_stops(
    served: int, bento: Path, tmp_path: Path, project: Path
) -> None:
    golden = [each["row"] for each in files.read_json(project / "models/golden.json")]
    requests: list[dict[str, Any]] = [
        {"body": golden[0]}, {"body": golden}, {"body": ROW | {"hour": 99}}, {"body": b"no"}, {"body": b""},
        {"body": [ROW] * 501}, {"body": [ROW] * 10_000}, {"body": None, "method": "GET"}, {"body": b"1", "content_type": "a/b"},
        {"body": {"station": "park", "hour": 14}, "path": "/ask"}, {"body": {"station": "park", "hour": 3}, "path": "/ask"},
        {"body": None, "path": "/docs.json", "method": "GET"}, {"body": None, "path": "/livez", "method": "GET"},
        {"body": None, "path": "/readyz", "method": "GET"}, {"body": None, "path": "/", "method": "GET", "host": "bikes.example"},
        {"body": golden[0], "connection": "upgrade", "upgrade": "h2c"},
        {"body": gzip.compress(b"{}"), "content_encoding": "gzip"},
    ]  # fmt: skip
    port = local_server.find_free_port()
    command = [sys.executable, "-m", "bentoml", "serve", str(bento), "--host", HOST, "--port", str(port)]
    with run(bento, tmp_path, command) as running, closing(stopped_body(served)) as own:
        local_server.wait_ready(running)
        with closing(stopped_body(port)) as other:
            for each in requests:
                assert send(port, **each) == send(served, **each), each
            for connection in (own, other):
                assert read_status(connection) == 408
        names = [
            set(re.findall(r"(?m)^# TYPE (\S+)", send(each, None, "/metrics", "GET")[1])) for each in (served, port)
        ]
        assert names[0] == names[1]
        assert metric(port, 'slipway_requests_total{route="/predict",status="200"}') == 3


def test_bentomls_own_route_gives_the_answers_of_the_fast_one(served: int, bento: Path, project: Path) -> None:
    golden = files.read_json(project / "models/golden.json")
    bodies = [golden[0]["row"], [each["row"] for each in golden], ROW | {"hour": 99}, [], {}, 3, [ROW] * 501]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BEHIND], cwd=bento / "src", input=json.dumps(bodies), text=True,
        env=local_server.server_environment(bento.parent, bento), capture_output=True, check=True,
    )  # fmt: skip
    *answers, schema = json.loads(done.stdout)
    for body, (status, answer) in zip(bodies, answers, strict=True):
        fast_status, fast = send(served, body)
        assert status == fast_status
        assert (
            answer == fast if status == 200 else answer[0]["error"] == "; ".join(e["message"] for e in fast["errors"])
        )
    assert schema["routes"][0]["route"] == "/predict"
    assert schema["routes"][0]["input"]["anyOf"][0]["properties"].keys() == golden[0]["row"].keys()


BEHIND = """
import json, sys
from slipway.serving.service import Predictor
from starlette.testclient import TestClient
Predictor.middlewares.clear()  # without the front
with TestClient(Predictor.to_asgi()) as client:
    answers = [client.post("/predict", json=body) for body in json.load(sys.stdin)]
    print(json.dumps([*([each.status_code, each.json()] for each in answers), client.get("/schema.json").json()]))
"""


def test_several_workers_add_up_their_metrics(bento: Path, tmp_path: Path) -> None:
    command = [*local_server.command(bento, port=local_server.find_free_port()), "--workers", "2"]
    with run(bento, tmp_path, command, PROMETHEUS_MULTIPROC_DIR=str(tmp_path)) as running:
        local_server.wait_ready(running)
        assert all(send(running.port, ROW)[0] == 200 for _ in range(12))
        line = 'slipway_requests_total{route="/predict",status="200"}'
        assert poll_until(
            lambda: metric(running.port, line) == 12.0, seconds=10, every=0.05
        )  # counted after the answer
        assert {metric(running.port, line) for _ in range(6)} == {12.0}


def test_several_workers_that_could_not_add_up_do_not_start(bento: Path, tmp_path: Path) -> None:
    command = [*local_server.command(bento, port=local_server.find_free_port()), "--workers", "2"]
    error = (
        "ConfigError: several workers need a folder for their common metrics: env PROMETHEUS_MULTIPROC_DIR is not set"
    )
    with run(bento, tmp_path, command) as running:
        assert poll_until(lambda: running.log.read_text("utf-8").count(error) >= 2, seconds=60, every=0.05)
        assert not is_ready(running.url, timeout_seconds=5)
        local_server.stop(running, seconds=0.1)  # its supervisor starts workers again and again


@pytest.fixture(scope="module")
def faulty(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A service of a model that fails on some valid rows; its port."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(bento, folder / "bento")
    faulty_graph.write(folder / "bento/src/models/model.onnx")
    command = local_server.command(folder / "bento", port=local_server.find_free_port())
    with run(folder / "bento", folder, command) as running:
        local_server.wait_ready(running)
        yield running.port


GOOD = ROW | faulty_graph.GOOD


@pytest.mark.parametrize(
    ("row", "value"),
    [(GOOD | {"temp": None}, "nan"), (GOOD | faulty_graph.INFINITE, "inf"), (GOOD | {"recent": None, "yesterday": None}, "nan")],
)  # fmt: skip
def test_no_answer_is_nan_or_infinite(faulty: int, row: dict[str, Any], value: str) -> None:
    counter = "slipway_predictions_not_finite_total"
    before = [metric(faulty, name) for name in (counter, "slipway_prediction_sum", "slipway_prediction_count")]
    status, answer = send(faulty, row)
    assert status == 500
    message = f"row 0 is valid, but the model predicts {value} for it; expected a finite number. "
    assert answer["errors"][0]["message"] == message + "The fault is the model's, not the request's"
    assert send(faulty, [GOOD, row])[1]["errors"][0]["row"] == 1
    assert send(faulty, GOOD) == (200, {"prediction": faulty_graph.GOOD_ANSWER})
    after = [metric(faulty, name) for name in (counter, "slipway_prediction_sum", "slipway_prediction_count")]
    assert after == [before[0] + 2, before[1] + 2 * faulty_graph.GOOD_ANSWER, before[2] + 2]


def test_one_row_of_a_joint_run_fails_alone(faulty: int) -> None:
    faults = [GOOD | faulty_graph.FAILS, GOOD | {"temp": None}, GOOD | faulty_graph.INFINITE]
    with ThreadPoolExecutor(32) as pool:
        answers = [
            *pool.map(lambda number: send(faulty, faults[number // 16 % 3] if number % 16 == 5 else GOOD), range(640))
        ]
    for number, (status, answer) in enumerate(answers):
        assert status == (500 if number % 16 == 5 else 200), (number, answer)
        assert number % 16 == 5 or answer == {"prediction": faulty_graph.GOOD_ANSWER}


def test_a_model_without_an_answer_to_its_example_does_not_start(bento: Path, tmp_path: Path) -> None:
    shutil.copytree(bento, tmp_path / "bento")
    faulty_graph.write(tmp_path / "bento/src/models/model.onnx")
    contract = tmp_path / "bento/src/models/contract.json"
    example = files.read_json(contract)["example"] | {"temp": None}
    files.write_json(contract, files.read_json(contract) | {"example": example})
    with run(
        tmp_path / "bento", tmp_path, local_server.command(tmp_path / "bento", port=local_server.find_free_port())
    ) as running:
        assert running.process.wait(timeout=60) != 0
        error = "DataError: the model predicts nan for the contract's example; expected: a finite number"
        assert error in running.log.read_text("utf-8")


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def read_status(connection: socket.socket) -> int:
    """The status of one whole response: its head and its body may arrive in packets of their own."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    response.read()
    return response.status


def test_a_container_ends_with_its_one_process_and_answers_before_what_was_asked(bento: Path, tmp_path: Path) -> None:
    with run(bento, tmp_path, local_server.command(bento, port=local_server.find_free_port())) as running:
        local_server.wait_ready(running)
        with socket.create_connection((HOST, running.port), timeout=60) as connection:
            body = json.dumps(ROW).encode()
            head = b"POST /predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
            connection.sendall(head + body)  # so that the connection is surely taken
            assert read_status(connection) == 200
            connection.sendall(head + body[:10])
            time.sleep(0.2)
            running.process.terminate()
            assert poll_until(lambda: not listens(running.port), seconds=30, every=0.05)
            connection.sendall(body[10:])
            assert read_status(connection) == 200
        assert running.process.wait(timeout=60) in (0, -signal.SIGTERM)


def test_bentomls_app_is_made_once_for_all_who_ask_and_ended_with_the_server(bento: Path, tmp_path: Path) -> None:
    with run(bento, tmp_path, local_server.command(bento, port=local_server.find_free_port())) as running:
        local_server.wait_ready(running)
        with ThreadPoolExecutor(4) as pool:
            found = [*pool.map(lambda path: send(running.port, None, path, "GET")[0], ["/schema.json", "/healthz"] * 2)]
        assert found == [200] * 4
        running.process.terminate()
        assert running.process.wait(timeout=60) in (0, -signal.SIGTERM)
        assert running.log.read_text("utf-8") == ""


def test_serving_imports_nothing_of_the_pipeline(bento: Path) -> None:
    code = "import sys, slipway.serving.service; slipway.serving.service.engine().warm(); print(*sys.modules)"
    env = environment.for_programs(bento, PYTHONPATH=str(bento / "src"), PYTHONDONTWRITEBYTECODE="1")
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=bento / "src",
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert not {name.split(".")[0] for name in done.stdout.split()} & set(HEAVY)
