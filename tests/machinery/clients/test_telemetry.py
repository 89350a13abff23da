"""Traces and structured logs of a real service: a span a request, and log lines with the same ids."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from slipway.serving import local_server
from support import otlp_receiver

ROW = {"station": "park", "weekday": 5, "hour": 14, "temp": 16.0, "recent": 21, "yesterday": None}


def post(url: str, body: object, name: str) -> int:
    headers = {"content-type": "application/json", "x-request-id": name}
    request = urllib.request.Request(f"{url}/predict", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_each_request_is_a_span(bento: Path, packable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with otlp_receiver.serve() as (url, received):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        with local_server.start(
            bento, port=local_server.find_free_port(), home=tmp_path / "home", root=packable, log=tmp_path / "out"
        ) as running:
            local_server.wait_ready(running)
            assert [post(running.url, *each) for each in ((ROW, "a"), ([ROW] * 3, "b"), ({}, "c"))] == [200, 200, 422]
    spans = {each["slipway.request_id"]: each for each in map(otlp_receiver.attributes, received.spans)}
    assert {name: each["slipway.rows"] for name, each in spans.items()} == {"a": 1, "b": 3, "c": 0}
    assert spans["c"]["http.response.status_code"] == 422


def test_missing_collector_costs_no_answer(
    bento: Path, packable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{local_server.find_free_port()}")
    monkeypatch.setenv("SLIPWAY_LOG_FORMAT", "json")
    with local_server.start(
        bento, port=local_server.find_free_port(), home=tmp_path / "home", root=packable, log=tmp_path / "out"
    ) as running:
        local_server.wait_ready(running)
        assert post(running.url, ROW, "a") == 200
    lines = [json.loads(line) for line in (tmp_path / "out").read_text(encoding="utf-8").splitlines()]
    assert all(each["level"] in ("warning", "error") and len(each["model"]) == 12 for each in lines)
