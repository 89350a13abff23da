"""Requests to GitHub's REST API, one repository's: patience, limits and clear errors; `forge` says which.

A read that fails for a while is asked again; a write never is: it may have been obeyed although no answer came.
Who writes looks again, then decides (`Unreachable` says how long to wait before that).
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
MAX_PAGES = 100
"""Of 100 rows: more are no list that anybody means to read."""
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
HINTS = {
    401: "is GITHUB_TOKEN fresh, and of this repository?",
    403: "see `permissions:` of the job; is the conversation locked?",
    404: "see `permissions:` of the job; a token without them is told that nothing is there",
}

Row = dict[str, Any]
T = TypeVar("T")


class GitHubError(ConfigError):
    """GitHub understood and says no; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, hint=HINTS.get(status, ""))
        self.status = status


class GitHubUnavailable(Inconclusive):
    """No answer, a broken one, or a rate limit; whether a write was obeyed is not known. `wait`: seconds to leave it."""

    def __init__(self, message: str, *, wait: float = 0.0) -> None:
        super().__init__(message, hint="run it again later; https://www.githubstatus.com says how GitHub is")
        self.wait = wait


class Rest:
    """One repository (`owner/name`) at an API address; use it in `with`. Paths are below /repos/owner/name.

    A request may take `timeout_seconds`; a read is tried `attempts` times; no pause is longer than both multiplied.
    """

    def __init__(self, api: str, repository: str, token: str, *, attempts: int, timeout_seconds: float) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", repository, re.ASCII):
            raise ConfigError(f"the repository is {repository!r}, limit: owner/name", hint="set GITHUB_REPOSITORY")
        if not re.fullmatch("[!-~]+", token):
            raise ConfigError("the token is empty or holds spaces", hint="set GITHUB_TOKEN")
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
        return _object(self.again(lambda: self._ask("GET", path)), f"GET {path}")

    def send(self, method: str, path: str, body: Row | None = None) -> Row:
        """A write, once; the object that GitHub answers with, empty for nothing."""
        answer = self._ask(method, path, body=body)
        return {} if answer.status_code == 204 else _object(answer, f"{method} {path}")

    def pages(self, path: str, query: Mapping[str, str] | None = None, *, key: str = "") -> Iterator[Row]:
        """The rows of all pages, by GitHub's Link headers; `key` is where an object holds them."""
        url = httpx.URL(self._root + path, params={"per_page": "100", **(query or {})})
        for _ in range(MAX_PAGES):
            answer = self.again(lambda: self._ask("GET", path, url=url))  # noqa: B023 - called before url moves on
            yield from _rows(answer, f"GET {path}", key)
            if not (following := answer.links.get("next", {}).get("url")):
                return
            url = url.join(following)
            if _origin(url) != _origin(self._api):
                raise GitHubError(f"GET {path}: the next page is at {url.host}, limit: {self._api.host}", status=200)
        raise GitHubError(f"GET {path}: more pages than {MAX_PAGES} of 100 rows, limit: {MAX_PAGES}", status=200)

    def download(self, path: str, *, most: int) -> bytes:
        """What the API redirects to; CheckFailed once it has more than `most` bytes.

        That is a storage at another host: it gets no token. It is asked for the bytes as they lie there, for a
        content-encoding would be inflated before they are counted.
        """
        answer = self.again(lambda: self._ask("GET", path, redirects=True))
        target = httpx.URL(answer.headers.get("location", ""))
        if not target.host or target.scheme not in {"https", self._api.scheme}:
            raise GitHubError(f"GET {path}: GitHub did not say where it is", status=answer.status_code)
        return self.again(lambda: self._body(target, path, most))

    def _body(self, target: httpx.URL, path: str, most: int) -> bytes:
        body, until, what = bytearray(), time.monotonic() + self._timeout, f"GET {path} at {target.host}"
        try:
            with self._client.stream("GET", target, headers={"accept-encoding": "identity"}) as answer:
                _judge(answer, what)
                for part in answer.iter_raw():  # as they come: collected to a size, a trickle would outlast the time
                    body += part
                    if len(body) > most:
                        raise CheckFailed(f"{path} has more than {most:,} bytes, limit: {most:,}")
                    if time.monotonic() > until:
                        raise GitHubUnavailable(f"{what}: not done in {self._timeout:g} s")
        except httpx.HTTPError as error:
            raise _broken(what, error) from None
        return bytes(body)

    def again(self, work: Callable[[], T]) -> T:
        """`work()`, and again while it is Unreachable and attempts and patience last."""
        for attempt in range(self._attempts):
            try:
                return work()
            except GitHubUnavailable as error:
                self.leave(error, attempt)
        raise AssertionError  # the last `leave` raised

    def leave(self, error: GitHubUnavailable, attempt: int) -> None:
        """Leave GitHub alone after the failed `attempt`, counted from 0; raise `error` when there is no point in it."""
        pause = max(error.wait, self._timeout / 40 * 2.0**attempt)
        if attempt + 1 >= self._attempts or pause > self._attempts * self._timeout:
            raise error
        time.sleep(pause)

    def _ask(
        self, method: str, path: str, *, url: httpx.URL | None = None, body: Row | None = None, redirects: bool = False
    ) -> httpx.Response:
        """One request, once."""
        what = f"{method} {path}"
        try:
            answer = self._client.request(method, url or self._root + path, json=body, headers=self._headers)
        except httpx.HTTPError as error:
            raise _broken(what, error) from None
        _judge(answer, what, redirects=redirects)
        return answer


def _address(api: str) -> httpx.URL:
    """The API's address; ConfigError when a token would go to it in the clear."""
    try:
        url = httpx.URL(api.rstrip("/"))
    except httpx.InvalidURL:
        url = httpx.URL("")
    if (url.scheme == "https" and url.host) or (url.scheme == "http" and url.host in LOOPBACK):
        return url
    raise ConfigError(f"the API's address is {text.printable(api, 100)!r}, limit: https://…", hint="set GITHUB_API_URL")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _judge(answer: httpx.Response, what: str, *, redirects: bool = False) -> None:
    """Return when the answer is one; else Unreachable when it may become one, or Denied."""
    if answer.is_success or (redirects and answer.status_code == 302):
        return
    answer.read()
    said = f"{what}: answered {answer.status_code}: {_said(answer)}"
    if (wait := _limited(answer)) is not None:
        until = time.strftime("%H:%M:%S UTC", time.gmtime(time.time() + wait))
        raise GitHubUnavailable(f"{said}; not before {until}", wait=wait)
    if answer.status_code in PASSING:
        raise GitHubUnavailable(said)
    raise GitHubError(said, status=answer.status_code)


def _limited(answer: httpx.Response) -> float | None:
    """Seconds that a rate limit lasts yet; None when it is none."""
    if answer.status_code not in (403, 429):
        return None
    after, reset = answer.headers.get("retry-after", ""), answer.headers.get("x-ratelimit-reset", "")
    if re.fullmatch(r"\d{1,9}", after, re.ASCII):
        return float(after)
    if answer.headers.get("x-ratelimit-remaining") == "0" and re.fullmatch(r"\d{1,10}", reset, re.ASCII):
        return max(float(reset) - time.time(), 0.0) + 1
    return 60.0 if answer.status_code == 429 or "rate limit" in _said(answer) else None


def _said(answer: httpx.Response) -> str:
    """What an error's body says, as one harmless line."""
    try:
        found = answer.json()
        errors = [str(e.get("message") or f"{e.get('field')} {e.get('code')}") for e in found.get("errors") or ()]
        return text.printable("; ".join([str(found["message"]), *errors]), 300)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return text.printable(answer.text or answer.reason_phrase, 100)


def _json(answer: httpx.Response, what: str) -> Any:
    try:
        return answer.json()
    except (ValueError, RecursionError):
        raise GitHubUnavailable(f"{what}: the answer is no JSON") from None


def _object(answer: httpx.Response, what: str) -> Row:
    if not isinstance(found := _json(answer, what), dict):
        raise GitHubUnavailable(f"{what}: the answer is no object")
    return found


def _rows(answer: httpx.Response, what: str, key: str) -> list[Row]:
    found = _json(answer, what)
    rows = found.get(key) if key and isinstance(found, dict) else found
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise GitHubUnavailable(f"{what}: the answer is no list")
    return rows


def _broken(what: str, error: httpx.HTTPError) -> GitHubUnavailable:
    kind = "no answer in time" if isinstance(error, httpx.TimeoutException) else text.printable(error, 200)
    return GitHubUnavailable(f"{what}: {kind or type(error).__name__}")
