"""Minimal HTTP client of the standard library, for programs whose image has no HTTP package."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from contextlib import closing
from typing import NamedTuple
from urllib.parse import urlsplit

from slipway.errors import ConfigError, SlipwayError

HEADERS = {"Content-Type": "application/json"}


class Response(NamedTuple):
    """Status code and body of one response."""

    status: int
    body: bytes

    @property
    def ok(self) -> bool:
        """Return whether the status is 200."""
        return self.status == http.client.OK


class HttpClient:
    """One connection to `url`, kept between requests and opened again when the server has closed it."""

    def __init__(self, url: str, *, timeout_seconds: float) -> None:
        self._url = url
        self._timeout_seconds = timeout_seconds
        self._connection: http.client.HTTPConnection | None = None

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Response:
        """Send one request, with `headers` besides the type of its content; ConfigError when no response arrives.

        A request is sent a second time only when a connection that has already worked turns out to be closed.
        """
        reused = self._connection is not None
        try:
            if self._connection is None:
                self._connection = _connection(self._url, self._timeout_seconds)
            self._connection.request(method, path, body, HEADERS | dict(headers or {}))
            response = self._connection.getresponse()
            return Response(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if reused and isinstance(error, ConnectionError):
                return self.request(method, path, body, headers)
            reason = (getattr(error, "strerror", None) or str(error) or type(error).__name__).strip()
            hint = "check that the service is running and the address is right"
            raise ConfigError(f"no response from {self._url}: {reason}", hint=hint) from None

    def close(self) -> None:
        """Close the connection; the next request opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _connection(url: str, timeout_seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    return kind(parts.netloc, timeout=timeout_seconds)


def fetch(url: str, path: str, body: bytes | None = None, *, timeout_seconds: float = 30.0) -> Response:
    """Send one request on a connection of its own: POST with a body, else GET. ConfigError when no response arrives."""
    with closing(HttpClient(url, timeout_seconds=timeout_seconds)) as client:
        return client.request("POST" if body else "GET", path, body)


def is_ready(url: str, *, timeout_seconds: float) -> bool:
    """Return whether the service at `url` responds to /readyz with status 200."""
    try:
        return fetch(url, "/readyz", timeout_seconds=timeout_seconds).ok
    except SlipwayError:
        return False
