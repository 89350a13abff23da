"""Traces: one OpenTelemetry span a request, sent by OTLP over HTTP. Without an endpoint nothing of OpenTelemetry is imported.

The variables are those of the OpenTelemetry specification (https://opentelemetry.io/docs/specs/otel/protocol/exporter/).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from slipway.errors import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
CONTEXT = (b"traceparent", b"tracestate")
STOP_MS = 3_000
"""Milliseconds that the end of the process waits for the last spans; a pod has 5 s left after its last request."""


@dataclass(frozen=True)
class Tracer:
    """Makes the spans of one process."""

    provider: Any
    tracer: Any
    propagator: Any
    kind: Any
    failed: Any

    def start(self, path: str, headers: Iterable[tuple[bytes, bytes]], at_ns: int) -> Any:
        """Start the span of a request, as a child of the caller's span if `traceparent` names one."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in CONTEXT}
        context = self.propagator.extract(carrier)
        return self.tracer.start_span(f"POST {path}", context=context, kind=self.kind, start_time=at_ns)

    def end(self, span: Any, *, request_id: str, status: int, rows: int) -> None:
        """End a request's span; a status of 500 or more is an error."""
        span.set_attribute("http.response.status_code", status)
        span.set_attribute("slipway.request_id", request_id)
        span.set_attribute("slipway.rows", rows)
        if status >= 500:
            span.set_status(self.failed)
        span.end()

    def close(self) -> None:
        """Send the spans that wait, for STOP_MS at most."""
        self.provider.force_flush(STOP_MS)


def trace_id(span: Any) -> str:
    """Return the id of a span's trace in 32 hexadecimal digits."""
    return f"{span.get_span_context().trace_id:032x}"


def from_variables(variables: Mapping[str, str], *, problem: str, model: str) -> Tracer | None:
    """Return the tracer; None if no endpoint is set; ConfigError for an endpoint that is no http address."""
    name = next((name for name in ENDPOINTS if variables.get(name)), None)
    if name is None or variables.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    address = urlsplit(variables[name])
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigError(f"{name} is {variables[name][:100]!r}", expected="an address such as http://collector:4318")
    if (protocol := variables.get(PROTOCOL, "http/protobuf")) != "http/protobuf":
        raise ConfigError(f"{PROTOCOL} is {protocol[:50]!r}", expected="http/protobuf")
    sdk, trace = (importlib.import_module(f"opentelemetry.{each}") for each in ("sdk.trace", "trace"))
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    propagation = importlib.import_module("opentelemetry.trace.propagation.tracecontext")
    resource = importlib.import_module("opentelemetry.sdk.resources").Resource.create(
        {"service.name": variables.get("OTEL_SERVICE_NAME") or problem, "service.version": model}
    )
    provider = sdk.TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(export.BatchSpanProcessor(exporter.OTLPSpanExporter()))
    return Tracer(
        provider, provider.get_tracer("slipway"), propagation.TraceContextTextMapPropagator(), trace.SpanKind.SERVER,
        trace.Status(trace.StatusCode.ERROR),
    )  # fmt: skip
