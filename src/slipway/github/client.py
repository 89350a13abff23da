"""HTTP client of GitHub's REST API for one repository: retries, limits and clear errors; `api` holds the endpoints.

A read is retried on a passing failure. A write is sent once: GitHub may have obeyed it although no response came. The
caller looks again, then decides; `GitHubUnavailable.wait` says how long to wait before that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from slipway.core import text
from slipway.errors import CheckFailed, ConfigError, Inconclusive

PASSING = frozenset({500, 502, 503, 504})
"""Statuses of a failure that may pass."""
MAX_PAGES = 100
"""Of 100 rows: a longer list is not meant to be read."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HINTS = {
    401: "check that GITHUB_TOKEN is valid and belongs to this repository",
    403: "check `permissions:` of the job, and that the conversation is not locked",
    404: "check `permissions:` of the job; without them, GitHub returns 404 for what exists",
}

Row = dict[str, Any]
T = TypeVar("T")


class GitHubError(ConfigError):
    """GitHub refused a request; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, expected: str = "") -> None:
        super().__init__(message, hint=HINTS.get(status, ""), expected=expected)
        self.status = status


class GitHubUnavailable(Inconclusive):
    """No response, a broken one, or a rate limit, so a write may have been obeyed; `wait` are seconds to wait."""

    def __init__(self, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message, hint="run it again later; https://www.githubstatus.com shows GitHub's outages")
        self.wait = wait


class GitHubClient:
    """One repository (`owner/name`) at an API address; use it in `with`. Paths are below /repos/owner/name.

    A request may take `timeout_seconds`; a read is tried `attempts` times; no pause is longer than both multiplied.
    """

    def __init__(self, api: str, repository: str, token: str, *, attempts: int, timeout_seconds: float) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repository, re.ASCII):
            raise ConfigError(f"the repository is {repository!r}", expected="owner/name", value=repository,
                              hint="set GITHUB_REPOSITORY")  # fmt: skip
        if not re.fullmatch("[!-~]+", token):
            raise ConfigError("the token is empty or contains spaces", hint="set GITHUB_TOKEN")
        self._api = _address(api)
        self._root = f"{self._api}/repos/{repository}"
        self._attempts, self._timeout = attempts, timeout_seconds
        self._headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/vnd.github+json",
            "x-github-api-version": "2022-11-28",
        }
        self._client = httpx.Client(timeout=timeout_seconds, headers={"user-agent": "slipway"})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> Row:
        """One object."""
        return _object(self.retry(lambda: self._request("GET", path)), f"GET {path}")

    def send(self, method: str, path: str, body: Row | None = None) -> Row:
        """Send a write, once; the object of the response, empty when it has none."""
        response = self._request(method, path, body=body)
        return {} if response.status_code == 204 else _object(response, f"{method} {path}")

    def pages(self, path: str, query: Mapping[str, str] | None = None, *, key: str = "") -> Iterator[Row]:
        """The rows of all pages, by GitHub's Link headers; `key` is where an object holds them."""
        url = httpx.URL(self._root + path, params={"per_page": "100", **(query or {})})
        for _ in range(MAX_PAGES):
            response = self.retry(lambda: self._request("GET", path, url=url))  # noqa: B023 - called before url moves on
            yield from _rows(response, f"GET {path}", key)
            if not (following := response.links.get("next", {}).get("url")):
                return
            url = url.join(following)
            if _origin(url) != _origin(self._api):
                raise GitHubError(f"GET {path}: the next page is at {url.host}", expected=self._api.host, status=200)
        raise GitHubError(f"GET {path}: the list has more than {MAX_PAGES} pages of 100 rows", status=200)

    def download(self, path: str, *, max_bytes: int) -> bytes:
        """The file that the API redirects to; CheckFailed once it has more than `max_bytes` bytes.

        It is in a storage at another host, which gets no token. The request refuses a content-encoding, which would be
        inflated before the bytes are counted.
        """
        response = self.retry(lambda: self._request("GET", path, redirects=True))
        target = _url(response.headers.get("location", ""))
        if not target.host or target.scheme not in {"https", self._api.scheme}:
            raise GitHubError(f"GET {path}: GitHub returned no address to download from", status=response.status_code)
        return self.retry(lambda: self._body(target, path, max_bytes))

    def _body(self, target: httpx.URL, path: str, max_bytes: int) -> bytes:
        body, deadline, request = bytearray(), time.monotonic() + self._timeout, f"GET {path} at {target.host}"
        try:
            with self._client.stream("GET", target, headers={"accept-encoding": "identity"}) as response:
                _raise_for_status(response, request)
                for part in response.iter_raw():  # as they come: collected to a size, a trickle would outlast the time
                    body += part
                    if len(body) > max_bytes:
                        raise CheckFailed(
                            f"{path} has more than {max_bytes:,} bytes", allowed=f"at most {max_bytes:,} bytes"
                        )
                    if time.monotonic() > deadline:
                        raise GitHubUnavailable(f"{request}: not finished in {self._timeout:g} s")
        except httpx.HTTPError as error:
            raise _unavailable(request, error) from None
        return bytes(body)

    def retry(self, work: Callable[[], T]) -> T:
        """Return `work()`; call it again on GitHubUnavailable, as `wait_before_retry` allows."""
        for attempt in range(self._attempts):
            try:
                return work()
            except GitHubUnavailable as error:
                self.wait_before_retry(error, attempt)
        raise AssertionError  # the last wait_before_retry raised

    def wait_before_retry(self, error: GitHubUnavailable, attempt: int) -> None:
        """Sleep after the failed `attempt`, counted from 0; raise `error` after the last one or before too long a pause."""
        pause = max(error.wait, self._timeout / 40 * 2.0**attempt)
        if attempt + 1 >= self._attempts or pause > self._attempts * self._timeout:
            raise error
        time.sleep(pause)

    def _request(
        self, method: str, path: str, *, url: httpx.URL | None = None, body: Row | None = None, redirects: bool = False
    ) -> httpx.Response:
        """Send one request, once."""
        request = f"{method} {path}"
        try:
            response = self._client.request(method, url or self._root + path, json=body, headers=self._headers)
        except httpx.HTTPError as error:
            raise _unavailable(f"{request} at {self._api.host}", error) from None
        _raise_for_status(response, request, redirects=redirects)
        return response


def _address(api: str) -> httpx.URL:
    """The API's address; ConfigError when it would receive a token unencrypted."""
    url = _url(api.rstrip("/"))
    if (url.scheme == "https" and url.host) or (url.scheme == "http" and url.host in LOOPBACK):
        return url
    raise ConfigError(f"the address of GitHub's API is {text.printable(api, 100)!r}", expected="https://…", value=api,
                      hint="set GITHUB_API_URL")  # fmt: skip


def _url(address: str) -> httpx.URL:
    """An address; an empty one for text that is none."""
    try:
        return httpx.URL(address)
    except httpx.InvalidURL:
        return httpx.URL("")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _raise_for_status(response: httpx.Response, request: str, *, redirects: bool = False) -> None:
    """Return on success; else raise GitHubUnavailable when a later response may differ, or GitHubError."""
    if response.is_success or (redirects and response.status_code == 302):
        return
    response.read()
    message = f"{request}: GitHub returned {response.status_code}: {_error_text(response)}"
    if (wait := _rate_limit_seconds(response)) is not None:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + wait))
        raise GitHubUnavailable(f"{message}; try again after {until}", wait=wait)
    if response.status_code in PASSING:
        raise GitHubUnavailable(message)
    raise GitHubError(message, status=response.status_code)


def _rate_limit_seconds(response: httpx.Response) -> float | None:
    """Seconds until a rate limit ends; None when the response is not one."""
    if response.status_code not in (403, 429):
        return None
    after, reset = response.headers.get("retry-after", ""), response.headers.get("x-ratelimit-reset", "")
    if re.fullmatch(r"\d{1,9}", after, re.ASCII):
        return float(after)
    if response.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"\d{1,10}", reset, re.ASCII):
        return max(float(reset) - time.time(), 0.0) + 1
    return 60.0 if response.status_code == 429 or "rate limit" in _error_text(response) else None


def _error_text(response: httpx.Response) -> str:
    """The messages of an error's body, as one harmless line."""
    try:
        body = response.json()
        errors = [str(e.get("message") or f"{e.get('field')} {e.get('code')}") for e in body.get("errors") or ()]
        return text.printable("; ".join([str(body["message"]), *errors]), 300)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return text.printable(response.text or response.reason_phrase, 100)


def _json(response: httpx.Response, request: str) -> Any:
    try:
        return response.json()
    except (ValueError, RecursionError):
        raise GitHubUnavailable(f"{request}: the response is not JSON") from None


def _object(response: httpx.Response, request: str) -> Row:
    if not isinstance(body := _json(response, request), dict):
        raise GitHubUnavailable(f"{request}: the response is not an object")
    return body


def _rows(response: httpx.Response, request: str, key: str) -> list[Row]:
    body = _json(response, request)
    rows = body.get(key) if key and isinstance(body, dict) else body
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GitHubUnavailable(f"{request}: the response is not a list of objects")
    return rows


def _unavailable(request: str, error: httpx.HTTPError) -> GitHubUnavailable:
    reason = "no response in time" if isinstance(error, httpx.TimeoutException) else text.printable(error, 200)
    return GitHubUnavailable(f"{request}: {reason or type(error).__name__}")
