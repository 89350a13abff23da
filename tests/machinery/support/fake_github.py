"""A small GitHub: a real HTTP server with the endpoints that slipway uses, its state in memory, for tests.

    with GitHub("octo/flights") as github:
        pull = github.pull(7, sha="a" * 40)                    # from a branch; fork="mallory/flights" from a fork
        github.artifact(run=90, name="report", data=b"PK…")
        event = github.event(pull, run=90)                     # the payload of `workflow_run`
        environment = github.environment(event, folder)        # GITHUB_* as a runner sets them
        ...
        assert [c["body"] for c in github.bodies(7)] == [...]
        assert [r.line for r in github.writes] == ["POST /repos/octo/flights/issues/7/comments"]

Its responses are those of api.github.com: pages with Link headers, 401, 403, 404, 410 and 422 with their messages,
artifacts by a redirect to another origin (`storage`), and no pull request of a fork by its commit.
With `remote`, a bare repository, its branches, trees and commits are real: what the API writes, a clone can fetch.
`fail`, `limit`, `cut`, `slow` and `when` inject failures. `log` has every request with its headers.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, quote, urlencode, urlsplit

BOT = "github-actions[bot]"
TOKEN = "ghs_" + "s3cret" * 6
MAX_BODY = 65_536
"""Characters of a comment; GitHub answers 422 above."""

Json = Any


@dataclass(frozen=True)
class Request:
    """A request that arrived: `origin` is `api` or `storage`, header names are in lower case, `body` is parsed JSON."""

    origin: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Json
    at: float

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Reply:
    """A response; `cut` closes the connection instead."""

    status: int = 200
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Action = Callable[[Request], Reply | None]


def problem(status: int, message: str, *errors: Json, **headers: str) -> Reply:
    """An error as GitHub words it."""
    body = {"message": message, "documentation_url": "https://docs.github.com/rest", "status": str(status)}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, body | ({"errors": list(errors)} if errors else {}), named)


class GitHub:
    """One repository; fill `pulls`, `comments` and `artifacts` by the methods, read `log` and `writes`.

    `signs`: the token is an App's (or Actions' own), for which GitHub signs the commits of the API.
    """

    def __init__(self, repository: str = "octo/flights", *, token: str = TOKEN, author: str = BOT, prefix: str = "",
                 remote: Path | None = None, signs: bool = True):  # fmt: skip
        self.remote, self.signs, self.signed = remote, signs, set[str]()
        self.repository, self.token, self.author, self.prefix = repository, token, author, prefix
        self.pulls: dict[int, Json] = {}
        self.files: dict[int, list[Json]] = {}
        self.comments: dict[int, Json] = {}
        self.artifacts: dict[int, Json] = {}
        self.data: dict[int, bytes] = {}
        self.statuses: list[Json] = []
        self.dispatches: list[Json] = []
        self.log: list[Request] = []
        self.sent = 0
        self._actions: list[list[Any]] = []
        self._lock = threading.RLock()
        self._servers = [_server(self, "api"), _server(self, "storage")]

    def __enter__(self) -> Self:
        for server in self._servers:
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    @property
    def url(self) -> str:
        """GITHUB_API_URL."""
        return f"http://127.0.0.1:{self._servers[0].server_port}{self.prefix}"

    @property
    def storage(self) -> str:
        """The origin that artifacts come from."""
        return f"http://127.0.0.1:{self._servers[1].server_port}"

    # State

    def pull(self, number: int, *, sha: str = "a" * 40, branch: str = "topic", fork: str | None = None,
             files: tuple[str, ...] = ("src/flights/model.py",), state: str = "open", base: str = "main",
             title: str = "A change", user: str = "ada", locked: bool = False) -> Json:  # fmt: skip
        """A pull request, from a branch or from a fork (`owner/name`); the same number again replaces it."""
        origin = fork or self.repository
        pull = {
            "number": number, "state": state, "title": title, "locked": locked, "user": {"login": user},
            "head": {"ref": branch, "sha": sha, "label": f"{origin.split('/')[0]}:{branch}", "repo": self._repo(origin),
                     "user": {"login": origin.split("/")[0]}},
            "base": {"ref": base, "sha": "0" * 40, "repo": self._repo(self.repository)},
        }  # fmt: skip
        with self._lock:
            self.pulls[number] = pull
            self.files[number] = [{"filename": name, "status": "modified"} for name in files]
        return pull

    def _repo(self, name: str) -> Json:
        return {"full_name": name, "id": sum(name.encode()), "owner": {"login": name.split("/")[0]},
                "name": name.split("/")[1], "fork": name != self.repository, "default_branch": "main"}  # fmt: skip

    def comment(self, issue: int, body: str, *, author: str | None = None) -> Json:
        """A comment by `author` (the token's own login when None) on an issue or pull request."""
        with self._lock:
            number = 1000 + len(self.comments)
            self.comments[number] = {
                "id": number, "body": body, "issue": issue, "user": {"login": author or self.author},
                "html_url": f"https://github.com/{self.repository}/pull/{issue}#issuecomment-{number}",
            }  # fmt: skip
            return self.comments[number]

    def bodies(self, issue: int) -> list[str]:
        """The bodies of the comments that stand under an issue now, oldest first."""
        return [c["body"] for _, c in sorted(self.comments.items()) if c["issue"] == issue and not c.get("deleted")]

    def delete(self, comment: int) -> None:
        """Delete a comment, as a person would."""
        self.comments[comment]["deleted"] = True

    def artifact(self, run: int, name: str, data: bytes, *, expired: bool = False) -> Json:
        """An artifact of a run; `data` is the zip's bytes as the storage sends them."""
        with self._lock:
            number = 500 + len(self.artifacts)
            self.data[number] = data
            self.artifacts[number] = {
                "id": number, "name": name, "size_in_bytes": len(data), "expired": expired,
                "archive_download_url": f"{self.url}/repos/{self.repository}/actions/artifacts/{number}/zip",
                "workflow_run": {"id": run},
            }  # fmt: skip
            return self.artifacts[number]

    def status(self, sha: str, state: str = "success", *, context: str = "slipway/staging",
               creator: str = "slipway-argocd", at: datetime | None = None) -> Json:  # fmt: skip
        """A commit status, as its creator's token wrote it."""
        with self._lock:
            moment = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
            row = {"id": 7000 + len(self.statuses), "sha": sha, "state": state, "context": context,
                   "description": "", "creator": {"login": creator}, "created_at": moment}  # fmt: skip
            self.statuses.append(row)
            return row

    def event(self, pull: Json, *, run: int = 90, conclusion: str = "success", event: str = "pull_request",
              attempt: int = 1, workflow: str = "check") -> Json:  # fmt: skip
        """The payload of `workflow_run` (completed) for a run of `pull`'s head as it is now."""
        head = pull["head"]
        return {
            "action": "completed",
            "workflow_run": {
                "id": run, "name": workflow, "path": f".github/workflows/{workflow}.yml", "event": event,
                "status": "completed", "conclusion": conclusion, "run_attempt": attempt, "run_number": run % 1000,
                "head_branch": head["ref"], "head_sha": head["sha"], "head_repository": head["repo"],
                "display_title": pull["title"], "actor": pull["user"], "repository": self._repo(self.repository),
                "html_url": f"https://github.com/{self.repository}/actions/runs/{run}",
                # GitHub fills this only for branches of the repository itself
                "pull_requests": [] if head["repo"]["fork"] else [{"number": pull["number"]}],
            },
            "workflow": {"name": workflow}, "repository": self._repo(self.repository), "sender": pull["user"],
        }  # fmt: skip

    def environment(self, event: Json, folder: Path, **extra: str) -> dict[str, str]:
        """The variables that a runner sets; the payload is written to `folder`/event.json."""
        path = folder / "event.json"
        path.write_text(json.dumps(event), encoding="utf-8")
        return {"GITHUB_EVENT_PATH": str(path), "GITHUB_EVENT_NAME": "workflow_run", "GITHUB_ACTIONS": "true",
                "GITHUB_REPOSITORY": self.repository, "GITHUB_API_URL": self.url, "GITHUB_TOKEN": self.token,
                "GITHUB_SERVER_URL": "https://github.com", **extra}  # fmt: skip

    @property
    def writes(self) -> list[Request]:
        """The requests that write."""
        return [request for request in self.log if request.method != "GET"]

    # Failures: `path` is a regular expression, searched in "METHOD /path" of either origin

    def when(self, path: str, action: Action, *, times: int = 1) -> None:
        """Call `action` on the next matching requests, before they are served; when it returns a Reply, that is the response."""
        with self._lock:
            self._actions.append([re.compile(path), action, times])

    def fail(self, path: str, *, status: int = 502, times: int = 1, message: str = "Server Error", **headers: str):
        """Answer with an error (header names with _ for -)."""
        self.when(path, lambda _: problem(status, message, **headers), times=times)

    def limit(self, path: str, *, primary: bool, seconds: float, times: int = 1, status: int = 403) -> None:
        """The primary rate limit (hourly, with the time it ends) or the secondary one (with retry-after)."""

        def answer(_: Request) -> Reply:
            if primary:
                reset = str(int(time.time() + seconds))
                message = "API rate limit exceeded for installation ID 1."
                return problem(status, message, x_ratelimit_remaining="0", x_ratelimit_reset=reset)
            return problem(status, "You have exceeded a secondary rate limit.", retry_after=f"{seconds:g}")

        self.when(path, answer, times=times)

    def cut(self, path: str, *, times: int = 1, applied: bool = True) -> None:
        """Close the connection instead of answering; with `applied` the request is obeyed before."""

        def answer(request: Request) -> Reply:
            if applied:
                self._serve(request)
            return Reply(cut=True)

        self.when(path, answer, times=times)

    def slow(self, path: str, seconds: float, *, times: int = 1) -> None:
        """Wait before answering."""
        self.when(path, lambda _: time.sleep(seconds), times=times)

    # Serving

    def answer(self, request: Request) -> Reply:
        """One request: logged, then an action's answer, else the endpoint's."""
        with self._lock:
            self.log.append(request)
            due = [entry for entry in self._actions if entry[2] > 0 and entry[0].search(request.line)][:1]
            for entry in due:
                entry[2] -= 1
        for _, action, _ in due:
            if (reply := action(request)) is not None:
                return reply
        return self._serve(request)

    def _serve(self, request: Request) -> Reply:
        if request.origin == "storage":
            return self._blob(request)
        if (authorization := request.headers.get("authorization", "")) not in (
            f"Bearer {self.token}",
            f"token {self.token}",
        ):
            return problem(401, "Bad credentials" if authorization else "Requires authentication")
        path = request.path.removeprefix(f"{self.prefix}/repos/{self.repository}")
        with self._lock:
            for (method, pattern), serve in ROUTES.items():
                if method == request.method and (match := re.fullmatch(pattern, path)):
                    return serve(self, request, *match.groups())
        return problem(404, "Not Found")

    def _blob(self, request: Request) -> Reply:
        if "authorization" in request.headers:  # as the real storage, which takes the signature in the address only
            return Reply(400, b"InvalidAuthenticationInfo")
        number = int(request.path.rsplit("/", 1)[-1])
        signed = request.query.get("sig") == "signed"
        return Reply(200, self.data[number]) if signed and number in self.data else Reply(403, b"AuthenticationFailed")

    def _page(self, request: Request, rows: list[Json], *, key: str = "") -> Reply:
        size = min(max(int(request.query.get("per_page", 30)), 1), 100)
        page, last = int(request.query.get("page", 1)), max(-(-len(rows) // size), 1)

        def link(to: int, name: str) -> str:
            query = urlencode({**request.query, "page": to})
            return f'<{self.url.removesuffix(self.prefix)}{quote(request.path)}?{query}>; rel="{name}"'

        links = [link(to, name) for to, name in ((page - 1, "prev"), (1, "first")) if page > 1]
        links += [link(to, name) for to, name in ((page + 1, "next"), (last, "last")) if page < last]
        shown = rows[(page - 1) * size : page * size]
        body = {"total_count": len(rows), key: shown} if key else shown
        return Reply(200, body, {"link": ", ".join(links)} if links else {})

    def _pulls(self, request: Request) -> Reply:
        wanted = {"state": "open", **request.query}
        rows = [
            pull for _, pull in sorted(self.pulls.items(), reverse=True)
            if wanted["state"] in ("all", pull["state"])
            and (":" not in wanted.get("head", "") or wanted["head"] == pull["head"]["label"])
            and wanted.get("base", pull["base"]["ref"]) == pull["base"]["ref"]
        ]  # fmt: skip
        return self._page(request, rows)

    def _pull(self, _: Request, number: str) -> Reply:
        return Reply(200, self.pulls[int(number)]) if int(number) in self.pulls else problem(404, "Not Found")

    def _files(self, request: Request, number: str) -> Reply:
        return self._page(request, self.files[int(number)]) if int(number) in self.files else problem(404, "Not Found")

    def _of_commit(self, request: Request, sha: str) -> Reply:
        """Empty for a fork, as GitHub's."""
        rows = [p for p in self.pulls.values() if p["head"]["sha"] == sha and not p["head"]["repo"]["fork"]]
        return self._page(request, rows)

    def _comments(self, request: Request, issue: str) -> Reply:
        if int(issue) not in self.pulls:
            return problem(404, "Not Found")
        rows = [c for _, c in sorted(self.comments.items()) if c["issue"] == int(issue) and not c.get("deleted")]
        return self._page(request, rows)

    def _create(self, request: Request, issue: str) -> Reply:
        if int(issue) not in self.pulls:
            return problem(404, "Not Found")
        if self.pulls[int(issue)]["locked"]:
            return problem(403, "Unable to create comment because issue is locked.")
        return _invalid(request.body) or Reply(201, self.comment(int(issue), request.body["body"]))

    def _one(self, request: Request, number: str) -> Reply:
        row = self.comments.get(int(number))
        if row is None or row.get("deleted"):
            return problem(404, "Not Found")
        if request.method == "GET":
            return Reply(200, row)
        if row["user"]["login"] != self.author:
            return problem(403, "Resource not accessible by integration")
        if request.method == "DELETE":
            self.delete(int(number))
            return Reply(204)
        if invalid := _invalid(request.body):
            return invalid
        row["body"] = request.body["body"]
        return Reply(200, row)

    def _artifacts(self, request: Request, run: str) -> Reply:
        name = request.query.get("name")
        rows = [a for a in self.artifacts.values() if a["workflow_run"]["id"] == int(run) and name in (None, a["name"])]
        return self._page(request, rows, key="artifacts")

    def _zip(self, _: Request, number: str) -> Reply:
        row = self.artifacts.get(int(number))
        if row is None:
            return problem(404, "Not Found")
        if row["expired"]:
            return problem(410, "Artifact has expired")
        return Reply(302, None, {"location": f"{self.storage}/blobs/{number}?sig=signed"})

    def _propose(self, request: Request) -> Reply:
        wrong, body = "Validation Failed", {"title": "", "head": "", "base": "", "body": None, **request.body}
        owner, branch = self.repository.split("/")[0], body["head"].rpartition(":")[2]
        rows = [p for p in self.pulls.values() if p["state"] == "open" and p["head"]["label"] == f"{owner}:{branch}"]
        if not body["title"]:
            return problem(422, wrong, {"resource": "PullRequest", "code": "missing_field", "field": "title"})
        for name in ("head", "base"):
            if self._sha(f"refs/heads/{body[name]}") is None:
                return problem(422, wrong, {"resource": "PullRequest", "field": name, "code": "invalid"})
        if any(p["base"]["ref"] == body["base"] for p in rows):
            message = f"A pull request already exists for {owner}:{branch}."
            return problem(422, wrong, {"resource": "PullRequest", "code": "custom", "message": message})
        sha, number = self._sha(f"refs/heads/{branch}"), max(self.pulls, default=0) + 1
        made = self.pull(number, sha=str(sha), branch=branch, base=body["base"], title=body["title"], user=self.author)
        made |= {"body": body["body"], "html_url": f"https://github.com/{self.repository}/pull/{number}"}
        return Reply(201, made)

    def _revise(self, request: Request, number: str) -> Reply:
        if int(number) not in self.pulls:
            return problem(404, "Not Found")
        allowed = {k: v for k, v in request.body.items() if k in ("title", "body", "state")}
        if allowed.get("state", "open") not in ("open", "closed"):
            return problem(422, "Validation Failed", {"resource": "PullRequest", "code": "invalid", "field": "state"})
        self.pulls[int(number)] |= allowed
        return Reply(200, self.pulls[int(number)])

    # The git half: real objects of the bare repository

    def _git(self, *args: str, stdin: str | None = None) -> str | None:
        """The output of git in the remote; None when it fails, or there is no remote."""
        if self.remote is None:
            return None
        who = {f"GIT_{role}_{part}": value for role in ("AUTHOR", "COMMITTER")
               for part, value in (("NAME", self.author), ("EMAIL", "bot@users.noreply.github.com"))}  # fmt: skip
        done = subprocess.run(["git", *args], cwd=self.remote, env={**os.environ, **who}, capture_output=True,
                              input=None if stdin is None else stdin.encode(), check=False)  # fmt: skip
        return None if done.returncode else done.stdout.decode().strip()

    def _sha(self, name: str, kind: str = "commit") -> str | None:
        return self._git("rev-parse", "--verify", "--quiet", f"{name}^{{{kind}}}")

    def _ref(self, _: Request, name: str) -> Reply:
        sha = self._sha(f"refs/{name}")
        return Reply(200, self._pointing(f"refs/{name}", sha)) if sha else problem(404, "Not Found")

    def _pointing(self, ref: str, sha: str) -> Json:
        return {"ref": ref, "url": f"{self.url}/git/{ref}", "object": {"type": "commit", "sha": sha}}

    def _make_ref(self, request: Request) -> Reply:
        ref, sha = request.body["ref"], request.body["sha"]
        if not ref.startswith("refs/") or ref.count("/") < 2:
            return problem(422, "Reference name must start with 'refs/'.")
        if self._sha(sha) is None:
            return problem(422, "Object does not exist")
        if self._sha(ref):
            return problem(422, "Reference already exists")
        self._git("update-ref", ref, sha)
        return Reply(201, self._pointing(ref, sha))

    def _move_ref(self, request: Request, name: str) -> Reply:
        ref, sha = f"refs/{name}", request.body["sha"]
        before = self._sha(ref)
        if before is None:
            return problem(422, "Reference does not exist")
        if self._sha(sha) is None:
            return problem(422, "Object does not exist")
        if not request.body.get("force") and self._git("merge-base", "--is-ancestor", before, sha) is None:
            return problem(422, "Update is not a fast forward")
        self._git("update-ref", ref, sha)
        for pull in self.pulls.values():
            if pull["head"]["ref"] == name.removeprefix("heads/") and not pull["head"]["repo"]["fork"]:
                pull["head"]["sha"] = sha
        return Reply(200, self._pointing(ref, sha))

    def _commit(self, _: Request, sha: str) -> Reply:
        whole = self._sha(sha)
        return Reply(200, self._told(whole)) if whole == sha else problem(404, "Not Found")

    def _told(self, sha: str) -> Json:
        tree, parents, message = (self._git("log", "-1", f"--format={form}", sha) or "" for form in ("%T", "%P", "%B"))
        good = sha in self.signed
        checked = {"verified": good, "reason": "valid" if good else "unsigned", "signature": None, "payload": None}
        return {"sha": sha, "tree": {"sha": tree}, "parents": [{"sha": p} for p in parents.split()], "message": message,
                "verification": checked}  # fmt: skip

    def _tree(self, request: Request) -> Reply:
        base = request.body.get("base_tree")
        if base and self._sha(base, "tree") is None:
            return problem(404, "Not Found")
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder) / "index"
            self._indexed(index, "read-tree", base or "--empty")
            for row in request.body["tree"]:
                if (row["type"], row["mode"]) != ("blob", "100644") or ("content" in row) == ("sha" in row):
                    return problem(422, "Invalid tree info")
                blob = row.get("sha") or self._git("hash-object", "-w", "--stdin", stdin=row["content"])
                self._indexed(index, "update-index", "--add", "--cacheinfo", f"{row['mode']},{blob},{row['path']}")
            return Reply(201, {"sha": self._indexed(index, "write-tree"), "truncated": False})

    def _indexed(self, index: Path, *args: str) -> str | None:
        env = {**os.environ, "GIT_INDEX_FILE": str(index)}
        done = subprocess.run(["git", *args], cwd=self.remote, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def _make_commit(self, request: Request) -> Reply:
        body = request.body
        if self._sha(body["tree"], "tree") is None:
            return problem(422, "Tree SHA does not exist")
        if any(self._sha(parent) is None for parent in body["parents"]):
            return problem(422, "Parent SHA does not exist or is not a commit object")
        parents = [word for parent in body["parents"] for word in ("-p", parent)]
        sha = self._git("commit-tree", body["tree"], *parents, stdin=body["message"])
        assert sha
        if self.signs and not {"author", "committer"} & set(body):  # GitHub signs only what it names the author of
            self.signed.add(sha)
        return Reply(201, self._told(sha))

    def _status(self, request: Request, sha: str) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        if body.get("state") not in ("error", "failure", "pending", "success"):
            return problem(422, "Validation Failed", {"resource": "Status", "code": "custom", "field": "state"})
        if len(body.get("description") or "") > 140:
            return problem(422, "Validation Failed", {"resource": "Status", "code": "custom", "field": "description"})
        row = self.status(sha, body["state"], context=body.get("context", "default"), creator=self.author)
        row["description"] = body.get("description")
        return Reply(201, row)

    def _statuses(self, request: Request, sha: str) -> Reply:
        """The newest first, as GitHub's."""
        return self._page(request, [row for row in reversed(self.statuses) if row["sha"] == sha])

    def _dispatch(self, request: Request, workflow: str) -> Reply:
        body = request.body if isinstance(request.body, dict) else {}
        if "ref" not in body or not all(isinstance(value, str) for value in body.get("inputs", {}).values()):
            return problem(422, "Invalid request.")
        self.dispatches.append({"workflow": workflow, **body})
        return Reply(204)


def _invalid(body: Json) -> Reply | None:
    text = body.get("body") if isinstance(body, dict) else None
    if not isinstance(text, str) or not text.strip():
        return problem(422, "Validation Failed", {"resource": "IssueComment", "code": "missing_field", "field": "body"})
    if len(text) > MAX_BODY:
        message = f"Body is too long (maximum is {MAX_BODY} characters)"
        error = {"resource": "IssueComment", "code": "unprocessable", "field": "data", "message": message}
        return problem(422, "Validation Failed", error)
    return None


ROUTES: dict[tuple[str, str], Callable[..., Reply]] = {
    ("GET", "/pulls"): GitHub._pulls,
    ("POST", "/pulls"): GitHub._propose,
    ("PATCH", r"/pulls/(\d+)"): GitHub._revise,
    ("GET", r"/git/ref/(heads/.+)"): GitHub._ref,
    ("POST", "/git/refs"): GitHub._make_ref,
    ("PATCH", r"/git/refs/(heads/.+)"): GitHub._move_ref,
    ("GET", r"/git/commits/(\w+)"): GitHub._commit,
    ("POST", "/git/commits"): GitHub._make_commit,
    ("POST", "/git/trees"): GitHub._tree,
    ("GET", r"/pulls/(\d+)"): GitHub._pull,
    ("GET", r"/pulls/(\d+)/files"): GitHub._files,
    ("GET", r"/commits/(\w+)/pulls"): GitHub._of_commit,
    ("GET", r"/issues/(\d+)/comments"): GitHub._comments,
    ("POST", r"/issues/(\d+)/comments"): GitHub._create,
    ("GET", r"/issues/comments/(\d+)"): GitHub._one,
    ("PATCH", r"/issues/comments/(\d+)"): GitHub._one,
    ("DELETE", r"/issues/comments/(\d+)"): GitHub._one,
    ("GET", r"/actions/runs/(\d+)/artifacts"): GitHub._artifacts,
    ("GET", r"/actions/artifacts/(\d+)/zip"): GitHub._zip,
    ("POST", r"/statuses/(\w+)"): GitHub._status,
    ("GET", r"/commits/(\w+)/statuses"): GitHub._statuses,
    ("POST", r"/actions/workflows/([\w.-]+)/dispatches"): GitHub._dispatch,
}


def _server(github: GitHub, origin: str) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30
        disable_nagle_algorithm = True

        def handle_any(self) -> None:
            address = urlsplit(self.path)
            raw = self.rfile.read(int(self.headers.get("content-length") or 0))
            query = {name: values[-1] for name, values in parse_qs(address.query).items()}
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                body = json.loads(raw) if raw else None
            except ValueError:
                body = raw
            request = Request(origin, self.command, address.path, query, headers, body, time.monotonic())
            reply = Reply(400, {"message": "Problems parsing JSON"}) if body is raw and raw else github.answer(request)
            if reply.cut:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                self.respond(reply)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815

        def respond(self, reply: Reply) -> None:
            raw = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            raw = b"" if reply.status in (204, 302) else raw
            kind = "application/zip" if origin == "storage" else "application/json; charset=utf-8"
            usual = {"content-type": kind, "x-ratelimit-limit": "1000", "x-ratelimit-remaining": "900"}
            self.send_response(reply.status)
            for name, value in {**usual, "content-length": str(len(raw)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for at in range(0, len(raw), 1 << 16):
                    github.sent += self.wfile.write(raw[at : at + (1 << 16)])
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client closed the connection

        def log_message(self, *args: object) -> None:
            """Print nothing: `log` has the request."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: object) -> None:
            """Ignore a client that closed its connection."""

    return Server(("127.0.0.1", 0), Handler)
