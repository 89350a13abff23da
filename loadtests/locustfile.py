"""Sends requests on a schedule and keeps every sample; it measures only, `slipway load` judges.

A latency counts from the moment when the request *should* have been sent: a server that stalls cannot
hide behind a client that waits for it. Imports nothing of the project: locust is its own process.
"""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task

POOL = 500  # different bodies per endpoint
OPTIONS = {"contract": "contract.json of the model", "plan": "JSON: seed, rate, seconds, users, shares, retries",
           "samples": "where the samples go"}  # fmt: skip
TICK = 0.01  # seconds between the moments at which the generator looks how late it is itself
SPENT = Path("/proc/self/schedstat")  # of the main thread, the only one here: ns on a processor, ns waiting for one


@events.init_command_line_parser.add_listener
def options(parser: Any) -> None:
    """The options of this file beside Locust's own."""
    for name, what in OPTIONS.items():
        parser.add_argument(f"--{name}", required=True, help=what)


class Plan:
    """When each user sends what, from one seed."""

    def __init__(self, given: dict[str, Any], contract: dict[str, Any], golden: list[dict[str, Any]]) -> None:
        rng = random.Random(given["seed"])
        self.users, self.seconds, self.retries = given["users"], given["seconds"], given["retries"]
        self.interval = self.users / given["rate"]
        self.phases = [(user + rng.random()) * self.interval / self.users for user in range(self.users)]
        self.endpoints, self.shares = list(given["shares"]), list(given["shares"].values())
        self.bodies = {name: bodies(name, contract, golden, rng) for name in self.endpoints}
        self.start = time.perf_counter() + 1.0  # by then all users are there
        self.joined = 0
        self.samples: list[tuple[str, float, float, bool, int]] = []
        self.own = Own(self.start)


class Own:
    """What the generator itself is late by, and spends: the service has no part in it."""

    def __init__(self, start: float) -> None:
        self.start, self.seconds = start, 0.0
        self.lags: list[float] = []
        self.late: list[float] = []
        self.before = self.after = spent()

    def tick(self) -> None:
        """From the start on: how late this greenlet wakes, in ms, for every tick that it should have woken at."""
        gevent.sleep(max(0.0, self.start - time.perf_counter()))
        self.before, began, due = spent(), time.perf_counter(), self.start + TICK
        while True:
            gevent.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            while due <= now:
                self.lags.append(round((now - due) * 1000, 3))
                due += TICK
            self.seconds, self.after = now - began, spent()

    def record(self) -> dict[str, Any]:
        """As it is written."""
        ran, waited = (after - before for before, after in zip(self.before, self.after, strict=True))
        return {"seconds": self.seconds, "ran": ran, "waited": waited, "lags": self.lags, "late": self.late}


def spent() -> tuple[float, float]:
    """Seconds on a processor and waiting for one, by the kernel; where it does not tell (not Linux), only the first."""
    try:
        ran, waited, _ = SPENT.read_text("ascii").split()
    except (OSError, ValueError):
        return time.process_time(), 0.0
    return int(ran) / 1e9, int(waited) / 1e9


def bodies(endpoint: str, contract: dict[str, Any], golden: list[dict[str, Any]], rng: random.Random) -> list[bytes]:
    """Bodies that keep the contract: its golden rows and random ones, or the questions of /ask."""
    if endpoint.endswith("/ask"):
        found = [row(contract["question"]["properties"], {}, rng) for _ in range(POOL)]
    else:
        known = contract["known"]
        found = [each["row"] for each in golden[: POOL // 2]]
        found += [row(contract["inputs"]["properties"], known, rng) for _ in range(POOL - len(found))]
    return [json.dumps(each).encode() for each in found]


def row(properties: dict[str, Any], known: dict[str, list[str]], rng: random.Random) -> dict[str, Any]:
    """A random row: any number within the limits, any known category, null where it is allowed."""
    return {name: value(node, known.get(name), rng) for name, node in properties.items()}


def value(node: dict[str, Any], known: list[str] | None, rng: random.Random) -> Any:
    """A random value that a JSON-schema node allows."""
    kinds = node.get("anyOf", [node])
    kind = next(each for each in kinds if each.get("type") != "null")
    if len(kinds) > 1 and rng.random() < 0.1:
        return None
    if kind["type"] in ("number", "integer"):
        low, high = kind.get("minimum", -1e6), kind.get("maximum", 1e6)
        return rng.randint(int(low), int(high)) if kind["type"] == "integer" else rng.uniform(low, high)
    return rng.choice(known or node.get("examples") or ["x" * max(1, kind.get("minLength", 1))])


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    """Make the plan."""
    given = environment.parsed_options
    contract = Path(given.contract)
    golden = contract.with_name("golden.json")
    try:
        rows = json.loads(golden.read_text("utf-8")) if golden.exists() else []
        environment.plan = Plan(json.loads(given.plan), json.loads(contract.read_text("utf-8")), rows)
        environment.ticking = gevent.spawn(environment.plan.own.tick)
    except (OSError, ValueError, KeyError) as error:  # any other exception Locust would only log, and go on
        raise SystemExit(f"no requests can be made from {contract.parent}: {error!r}") from None


@events.quitting.add_listener
def end(environment: Any, **_: Any) -> None:
    """Write every sample (endpoint, intended moment in s, latency in ms, ok, tries), and the generator's own record."""
    if not hasattr(environment, "plan"):
        return
    kept = {"samples": environment.plan.samples, "generator": environment.plan.own.record()}
    path = Path(environment.parsed_options.samples)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(kept), encoding="utf-8")
    partial.replace(path)


class Sender(FastHttpUser):
    """One user: a phase of its own, one request at a time, never ahead of the schedule."""

    connection_timeout = 5.0
    network_timeout = 30.0

    @task
    def schedule(self) -> None:
        """Send everything of this user's schedule, then nothing more."""
        plan: Plan = self.environment.plan
        number, plan.joined = plan.joined, plan.joined + 1
        rng = random.Random(number)
        after = plan.phases[number]
        while after < plan.seconds:
            wait = plan.start + after - time.perf_counter()
            gevent.sleep(max(0.0, wait))
            if wait > 0:  # else it waited for an answer, which is the service's doing
                plan.own.late.append(round((time.perf_counter() - plan.start - after) * 1000, 3))
            self.send(plan, rng.choices(plan.endpoints, plan.shares)[0], after, rng)
            after += plan.interval
        plan.joined -= 1
        if not plan.joined:
            self.environment.ticking.kill()
            gevent.spawn(self.environment.runner.quit)  # not from here: it ends this very greenlet
        gevent.sleep(3600)

    def send(self, plan: Plan, endpoint: str, after: float, rng: random.Random) -> None:
        """One request, sent again only where the plan has retries; its latency counts from `after`, when it should have left."""
        method, path = endpoint.split()
        body = rng.choice(plan.bodies[endpoint])
        sent = {"data": body, "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
        tries, ok = 0, False
        while not ok and tries <= plan.retries:
            tries += 1
            ok = self.sent(method, path, sent)
        latency = time.perf_counter() - plan.start - after
        plan.samples.append((endpoint, round(after, 6), round(latency * 1000, 3), ok, tries))

    def sent(self, method: str, path: str, what: dict[str, Any]) -> bool:
        """Whether it was answered well. The client below sends no POST twice by itself (geventhttpclient ≥ 2.4)."""
        with self.client.request(method, path, catch_response=True, **what) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}: {response.error}")
            return response.status_code == 200
