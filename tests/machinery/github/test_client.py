from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slipway.errors import CheckFailed, ConfigError
from slipway.github.client import GitHubClient, GitHubError, GitHubUnavailable
from support.fake_github import TOKEN, GitHub, Reply

ZIP = "/actions/artifacts/500/zip"


@pytest.fixture
def api(github: GitHub) -> Iterator[GitHubClient]:
    """Three attempts of half a second: the pauses between them are 12 and 25 ms, the longest is 1.5 s."""
    with GitHubClient(github.url, github.repository, github.token, attempts=3, timeout_seconds=0.5) as client:
        yield client


def test_a_request_names_version_agent_and_token(github: GitHub, api: GitHubClient):
    assert api.get("/pulls/7")["number"] == 7
    sent = github.log[-1].headers
    assert sent["authorization"] == f"Bearer {TOKEN}"
    assert (sent["accept"], sent["x-github-api-version"]) == ("application/vnd.github+json", "2022-11-28")
    assert sent["user-agent"] == "slipway"


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_asked_again_until_github_is_well(github: GitHub, api: GitHubClient, status: int):
    github.fail("GET .*/pulls/7", status=status, times=2)
    assert api.get("/pulls/7")["number"] == 7
    assert len(github.log) == 3


def test_a_read_that_stays_broken_ends_in_five_and_says_where(github: GitHub, api: GitHubClient):
    github.fail("GET .*/pulls/7", status=502, times=9)
    with pytest.raises(GitHubUnavailable, match=r"GET /pulls/7: GitHub returned 502: Server Error") as caught:
        api.get("/pulls/7")
    assert (caught.value.code, len(github.log)) == (5, 3)
    assert "again later" in caught.value.hint


@pytest.mark.parametrize("how", ["cut", "slow"])
def test_a_read_without_an_answer_is_asked_again(github: GitHub, api: GitHubClient, how: str):
    github.cut("GET") if how == "cut" else github.slow("GET", 0.7)
    assert api.get("/pulls/7")["number"] == 7
    assert len(github.log) == 2


def test_silence_is_called_by_its_name(github: GitHub, api: GitHubClient):
    github.slow("GET", 0.7, times=3)
    with pytest.raises(GitHubUnavailable, match=r"GET /pulls/7 at 127\.0\.0\.1: no response in time"):
        api.get("/pulls/7")


def test_nobody_at_the_address_is_unreachable():
    nobody = "http://127.0.0.1:9"
    with (
        GitHubClient(nobody, "o/r", "t", attempts=1, timeout_seconds=0.5) as api,
        pytest.raises(GitHubUnavailable, match="refused"),
    ):
        api.get("/pulls/7")


@pytest.mark.parametrize("fault", ["fail", "cut", "limit"])
def test_a_write_is_never_made_twice(github: GitHub, api: GitHubClient, fault: str):
    if fault == "limit":
        github.limit("POST", primary=False, seconds=1)
    else:
        github.fail("POST") if fault == "fail" else github.cut("POST")
    with pytest.raises(GitHubUnavailable):
        api.send("POST", "/issues/7/comments", {"body": "x"})
    assert [request.method for request in github.log] == ["POST"]
    assert github.bodies(7) == (["x"] if fault == "cut" else [])


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("primary", [True, False])
def test_a_rate_limit_is_waited_for(github: GitHub, api: GitHubClient, primary: bool, status: int):
    github.limit("GET", primary=primary, seconds=0 if primary else 1, status=status)
    started = time.monotonic()
    api.get("/pulls/7")
    assert 0.9 <= time.monotonic() - started < 3
    assert len(github.log) == 2


@pytest.mark.parametrize("primary", [True, False])
def test_a_rate_limit_beyond_our_patience_says_until_when(github: GitHub, api: GitHubClient, primary: bool):
    github.limit("GET", primary=primary, seconds=3600)
    with pytest.raises(GitHubUnavailable, match=r"rate limit.*; try again after \d\d:\d\d:\d\d UTC"):
        api.get("/pulls/7")
    assert len(github.log) == 1


def test_a_rate_limit_without_a_header_is_a_minute(github: GitHub, api: GitHubClient):
    github.fail("GET", status=403, message="You have exceeded a secondary rate limit.")
    with pytest.raises(GitHubUnavailable) as caught:
        api.get("/pulls/7")
    assert caught.value.wait == 60


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (401, "Bad credentials", "GITHUB_TOKEN"),
        (403, "Resource not accessible by integration", "permissions"),
        (404, "Not Found", "permissions"),
        (451, "Unavailable", ""),
        (301, "Moved Permanently", ""),
    ],
)
def test_a_no_is_final_and_quoted(github: GitHub, api: GitHubClient, status: int, message: str, hint: str):
    github.fail("GET", status=status, message=message)
    with pytest.raises(GitHubError, match=f"GET /pulls/7: GitHub returned {status}: {message}") as caught:
        api.get("/pulls/7")
    assert (caught.value.code, caught.value.status, len(github.log)) == (2, status, 1)
    assert hint in caught.value.hint


def test_a_validation_error_says_which_field(api: GitHubClient):
    with pytest.raises(GitHubError, match=r"422: Validation Failed; Body is too long \(maximum is 65536 characters\)"):
        api.send("POST", "/issues/7/comments", {"body": "x" * 65_537})
    with pytest.raises(GitHubError, match="422: Validation Failed; body missing_field"):
        api.send("POST", "/issues/7/comments", {"body": " "})


@pytest.mark.parametrize(
    ("body", "what"),
    [(b"<html>", "JSON"), (b"[]", "an object"), (b"\xff", "JSON"), (b"[" * 100_000, "JSON")],
    ids=["html", "list", "bytes", "deep"],
)
def test_an_answer_that_is_no_object_is_no_answer(github: GitHub, api: GitHubClient, body: bytes, what: str):
    github.when("GET", lambda _: Reply(200, body), times=3)
    with pytest.raises(GitHubUnavailable, match=f"the response is not {what}"):
        api.get("/pulls/7")


@pytest.mark.parametrize("body", [b"{}", b"[1]"])
def test_a_page_that_is_no_list_is_no_answer(github: GitHub, api: GitHubClient, body: bytes):
    github.when("GET", lambda _: Reply(200, body), times=3)
    with pytest.raises(GitHubUnavailable, match="the response is not a list of objects"):
        list(api.pages("/pulls"))


def test_what_github_says_is_one_harmless_line(github: GitHub, api: GitHubClient):
    github.fail("GET", status=400, message="\n::error::x\u202e\x1b[31m" + "y" * 999)
    with pytest.raises(GitHubError) as caught:
        api.get("/pulls/7")
    said = str(caught.value)
    assert "GitHub returned 400:  ::error::x��[31m" in said
    assert len(said) < 400


def test_the_token_is_in_no_error(github: GitHub):
    for token, status in ((TOKEN, 500), (TOKEN[::-1], 401)):
        with GitHubClient(github.url, "octo/flights", token, attempts=1, timeout_seconds=0.5) as api:
            github.fail("GET", status=status)
            with pytest.raises((GitHubError, GitHubUnavailable)) as caught:
                api.get("/pulls/7")
            assert token not in f"{caught.value!r} {caught.value.hint} {caught.getrepr()} {api!r}"


def test_pages_are_followed_to_the_end(github: GitHub, api: GitHubClient):
    for number in range(250):
        github.comment(7, str(number))
    rows = list(api.pages("/issues/7/comments"))
    assert [row["body"] for row in rows] == [str(number) for number in range(250)]
    assert [(r.query["per_page"], r.query.get("page", "1")) for r in github.log] == [("100", n) for n in "123"]


def test_a_page_in_the_middle_may_fail_too(github: GitHub, api: GitHubClient):
    for number in range(150):
        github.comment(7, str(number))
    github.when("GET", lambda _: None)  # the first page is well
    github.fail("GET", status=500)
    assert len(list(api.pages("/issues/7/comments"))) == 150


def test_a_next_page_elsewhere_gets_no_token(github: GitHub, api: GitHubClient):
    link = f'<{github.storage}/repos/octo/flights/pulls?page=2>; rel="next"'
    github.when("GET", lambda _: Reply(200, [], {"link": link}))
    with pytest.raises(GitHubError, match=r"the next page is at 127\.0\.0\.1; expected"):
        list(api.pages("/pulls"))
    assert [request.origin for request in github.log] == ["api"]


def test_pages_without_end_are_given_up(github: GitHub, api: GitHubClient):
    link = {"link": f'<{github.url}/repos/octo/flights/pulls?page=2>; rel="next"'}
    github.when("GET", lambda _: Reply(200, [], link), times=1000)
    with pytest.raises(GitHubError, match="more than 100 pages"):
        list(api.pages("/pulls"))


def test_an_address_may_have_a_path():
    with (
        GitHub(prefix="/api/v3") as github,
        GitHubClient(github.url + "/", github.repository, TOKEN, attempts=1, timeout_seconds=1) as api,
    ):
        github.pull(7)
        assert api.get("/pulls/7")["number"] == 7
        assert len(list(api.pages("/pulls"))) == 1


def test_a_download_comes_from_another_host_without_the_token(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", b"PK" * 1000)
    assert api.download(ZIP, max_bytes=2000) == b"PK" * 1000
    first, second = github.log
    assert (first.origin, second.origin) == ("api", "storage")
    assert "authorization" in first.headers
    assert TOKEN not in str(second)


def test_a_download_is_cut_off_at_its_limit(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", bytes(30_000_000))
    with pytest.raises(CheckFailed, match=r"artifacts/500/zip has more than 1,000 bytes; allowed: at most 1,000 bytes"):
        api.download(ZIP, max_bytes=1000)
    assert github.sent < 20_000_000


def test_a_download_is_not_inflated_on_the_way(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", b"")
    github.when("/blobs/", lambda _: Reply(200, b"\x1f\x8b not inflated", {"content-encoding": "gzip"}))
    assert api.download(ZIP, max_bytes=1000) == b"\x1f\x8b not inflated"


def test_a_download_that_fails_for_a_while_is_asked_again(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", b"PK")
    github.fail("/blobs/", status=503)
    github.cut("/blobs/")
    assert api.download(ZIP, max_bytes=1000) == b"PK"


def test_a_download_that_only_trickles_is_given_up(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", b"PK")
    github.slow("/blobs/", 0.7, times=3)
    with pytest.raises(GitHubUnavailable, match="no response in time"):
        api.download(ZIP, max_bytes=1000)


class Trickle(BaseHTTPRequestHandler):
    """A storage that sends a byte every fifth of a second, each of them in time."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "20")
        self.end_headers()
        for _ in range(20):
            try:
                self.wfile.write(b"x")
            except OSError:
                return
            time.sleep(0.2)

    def log_message(self, *_: object) -> None: ...


def test_a_download_byte_by_byte_is_given_up(github: GitHub):
    github.artifact(90, "report", b"")
    with ThreadingHTTPServer(("127.0.0.1", 0), Trickle) as storage:
        threading.Thread(target=storage.serve_forever, args=(0.01,), daemon=True).start()
        github.when("/zip", lambda _: Reply(302, None, {"location": f"http://127.0.0.1:{storage.server_port}/"}))
        started = time.monotonic()
        with (
            GitHubClient(github.url, github.repository, github.token, attempts=1, timeout_seconds=0.5) as api,
            pytest.raises(GitHubUnavailable, match=r"not finished in 0\.5 s"),
        ):
            api.download(ZIP, max_bytes=1000)
        assert time.monotonic() - started < 2
        storage.shutdown()


@pytest.mark.parametrize("location", ["", "file:///etc/passwd", "/blobs/500", "ftp://127.0.0.1/x"])
def test_a_download_goes_nowhere_else(github: GitHub, api: GitHubClient, location: str):
    github.artifact(90, "report", b"PK")
    github.when("/zip", lambda _: Reply(302, None, {"location": location}))
    with pytest.raises(GitHubError, match="GitHub returned no address to download from"):
        api.download(ZIP, max_bytes=1000)
    assert len(github.log) == 1


def test_a_second_redirect_is_not_followed(github: GitHub, api: GitHubClient):
    github.artifact(90, "report", b"PK")
    github.when("/blobs/", lambda _: Reply(302, None, {"location": github.url}))
    with pytest.raises(GitHubError, match="GitHub returned 302"):
        api.download(ZIP, max_bytes=1000)


@pytest.mark.parametrize("api", ["http://api.github.com", "ftp://127.0.0.1", "", "https://", "api.github.com"])
def test_a_token_goes_nowhere_in_the_clear(api: str):
    with pytest.raises(ConfigError, match=r"the address of GitHub's API is '.*'; expected: https"):
        GitHubClient(api, "o/r", "t", attempts=1, timeout_seconds=1)


@pytest.mark.parametrize("repository", ["", "o", "o/r/x", "../r", "o/r?x", "o/r\n", "o r/x"])
def test_a_repository_is_owner_and_name(repository: str):
    with pytest.raises(ConfigError, match="expected: owner/name"):
        GitHubClient("https://api.github.com", repository, "t", attempts=1, timeout_seconds=1)


@pytest.mark.parametrize("token", ["", " ", "a\nb", "ä"])
def test_a_token_that_no_header_takes_is_refused_unseen(token: str):
    with pytest.raises(ConfigError, match="the token is empty or contains spaces") as caught:
        GitHubClient("https://api.github.com", "o/r", token, attempts=1, timeout_seconds=1)
    assert caught.value.hint == "set GITHUB_TOKEN"
