from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from slipway.errors import ConfigError
from slipway.serving.telemetry import tracing
from support import otlp_receiver
from support.otlp_receiver import Received, attributes

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01".encode()


@pytest.fixture
def collector() -> Iterator[tuple[str, Received]]:
    with otlp_receiver.serve() as running:
        yield running


def test_span_of_a_request_arrives(collector: tuple[str, Received], monkeypatch: pytest.MonkeyPatch) -> None:
    url, received = collector
    monkeypatch.setenv(ENDPOINT, url)  # the exporter reads it from the environment of the process
    tracer = tracing.from_variables({ENDPOINT: url}, problem="bikes", model="abc")
    assert tracer
    span = tracer.start("/predict", [(b"traceparent", PARENT), (b"accept", b"*/*")], 1_000)
    assert tracing.trace_id(span) == TRACE
    tracer.end(span, request_id="r-1", status=200, rows=3)
    alone = tracer.start("/ask", [], 2_000)
    tracer.end(alone, request_id="r-2", status=500, rows=0)
    tracer.close()
    first, second = received.spans
    assert (first.name, first.trace_id.hex(), first.start_time_unix_nano) == ("POST /predict", TRACE, 1_000)
    expected = {"http.response.status_code": 200, "slipway.request_id": "r-1", "slipway.rows": 3}
    assert attributes(first) == expected
    assert first.parent_span_id.hex() == "b7ad6b7169203331"
    assert (second.parent_span_id, second.status.code) == (b"", 2)
    resource = {
        each.key: each.value.string_value for each in received.requests[0].resource_spans[0].resource.attributes
    }
    assert (resource["service.name"], resource["service.version"]) == ("bikes", "abc")


def test_broken_traceparent_begins_a_new_trace(collector: tuple[str, Received]) -> None:
    tracer = tracing.from_variables({ENDPOINT: collector[0]}, problem="bikes", model="abc")
    assert tracer
    span = tracer.start("/predict", [(b"traceparent", b"\xff\x00 no")], 1_000)
    assert len(tracing.trace_id(span)) == 32
    tracer.provider.shutdown()


@pytest.mark.parametrize("variables", [{}, {ENDPOINT: ""}, {ENDPOINT: "http://a", "OTEL_SDK_DISABLED": "true"}])
def test_nothing_is_traced_without_an_endpoint(variables: dict[str, str]) -> None:
    assert tracing.from_variables(variables, problem="bikes", model="abc") is None


def test_nothing_is_imported_without_an_endpoint() -> None:
    program = (
        "import sys; from slipway.serving.telemetry import tracing; "
        "assert tracing.from_variables({}, problem='p', model='m') is None; "
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({ENDPOINT: "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT is 'collector:4318'"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "grpc://a"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is 'grpc://a'"),
        ({ENDPOINT: "http://a", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
    ],
)
def test_wrong_setting_is_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        tracing.from_variables(variables, problem="bikes", model="abc")
    assert message in str(error.value)
