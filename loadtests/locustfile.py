"""Locust file: send requests on a schedule and record every sample; `slipway load` judges them.

A latency counts from the moment when the request *should* have been sent, so that a stalled server cannot hide behind a
client that waits for it. Imports nothing of the project, because Locust runs in its own process.
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

POOL = 500  # distinct bodies per endpoint
OPTIONS = {"contract": "contract.json of the model", "plan": "JSON: seed, rate, seconds, users, shares, retries",
           "samples": "where the samples go"}  # fmt: skip
TICK = 0.01  # seconds between two measurements of the generator's own lag
SCHEDSTAT = Path("/proc/self/schedstat")  # of the main thread, the only one: ns on a processor, ns waiting for one


@events.init_command_line_parser.add_listener
def options(parser: Any) -> None:
    """Add the options of this file to Locust's."""
    for name, text in OPTIONS.items():
        parser.add_argument(f"--{name}", required=True, help=text)


class Plan:
    """The schedule of all users: the requests of each and their moments, from one seed."""

    def __init__(self, settings: dict[str, Any], contract: dict[str, Any], golden: list[dict[str, Any]]) -> None:
        rng = random.Random(settings["seed"])
        self.users, self.seconds, self.retries = settings["users"], settings["seconds"], settings["retries"]
        self.interval = self.users / settings["rate"]
        self.phases = [(user + rng.random()) * self.interval / self.users for user in range(self.users)]
        self.endpoints, self.shares = list(settings["shares"]), list(settings["shares"].values())
        self.bodies = {name: bodies(name, contract, golden, rng) for name in self.endpoints}
        self.start = time.perf_counter() + 1.0  # by then all users exist
        self.joined = 0
        self.samples: list[tuple[str, float, float, bool, int, str]] = []
        self.health = Health(self.start)


class Health:
    """The generator's own delays and processor time, without any influence of the service."""

    def __init__(self, start: float) -> None:
        self.start, self.seconds = start, 0.0
        self.lags: list[float] = []
        self.late: list[float] = []
        self.before = self.after = processor_seconds()

    def tick(self) -> None:
        """Record from the start on, for every tick, the ms by which this greenlet wakes up late."""
        gevent.sleep(max(0.0, self.start - time.perf_counter()))
        self.before, began, due = processor_seconds(), time.perf_counter(), self.start + TICK
        while True:
            gevent.sleep(max(0.0, due - time.perf_counter()))
            now = time.perf_counter()
            while due <= now:
                self.lags.append(round((now - due) * 1000, 3))
                due += TICK
            self.seconds, self.after = now - began, processor_seconds()

    def record(self) -> dict[str, Any]:
        """Return the values that `slipway.loadtest.generator_health.Generator` takes."""
        ran, waited = (after - before for before, after in zip(self.before, self.after, strict=True))
        return {"seconds": self.seconds, "ran": ran, "waited": waited, "lags": self.lags, "late": self.late}


def processor_seconds() -> tuple[float, float]:
    """Return the seconds on a processor and those waiting for one; outside Linux the second is always 0."""
    try:
        ran, waited, _ = SCHEDSTAT.read_text("ascii").split()
    except (OSError, ValueError):
        return time.process_time(), 0.0
    return int(ran) / 1e9, int(waited) / 1e9


def bodies(endpoint: str, contract: dict[str, Any], golden: list[dict[str, Any]], rng: random.Random) -> list[bytes]:
    """Make POOL valid bodies: questions for /ask, else golden rows and random ones."""
    if endpoint.endswith("/ask"):
        rows = [row(contract["question"]["properties"], {}, rng) for _ in range(POOL)]
    else:
        rows = [each["row"] for each in golden[: POOL // 2]]
        properties, categories = contract["inputs"]["properties"], contract["known"]
        rows += [row(properties, categories, rng) for _ in range(POOL - len(rows))]
    return [json.dumps(each).encode() for each in rows]


def row(properties: dict[str, Any], categories: dict[str, list[str]], rng: random.Random) -> dict[str, Any]:
    """Make a random row: any number within the limits, any known category, null where it is allowed."""
    return {name: value(node, categories.get(name), rng) for name, node in properties.items()}


def value(node: dict[str, Any], categories: list[str] | None, rng: random.Random) -> Any:
    """Return a random value that a JSON-schema node allows."""
    kinds = node.get("anyOf", [node])
    kind = next(each for each in kinds if each.get("type") != "null")
    if len(kinds) > 1 and rng.random() < 0.1:
        return None
    if kind["type"] in ("number", "integer"):
        low, high = kind.get("minimum", -1e6), kind.get("maximum", 1e6)
        return rng.randint(int(low), int(high)) if kind["type"] == "integer" else rng.uniform(low, high)
    return rng.choice(categories or node.get("examples") or ["x" * max(1, kind.get("minLength", 1))])


@events.test_start.add_listener
def begin(environment: Any, **_: Any) -> None:
    """Make the plan before the first user starts."""
    options = environment.parsed_options
    contract = Path(options.contract)
    golden = contract.with_name("golden.json")
    try:
        rows = json.loads(golden.read_text("utf-8")) if golden.exists() else []
        environment.plan = Plan(json.loads(options.plan), json.loads(contract.read_text("utf-8")), rows)
        environment.ticking = gevent.spawn(environment.plan.health.tick)
    except (OSError, ValueError, KeyError) as error:  # Locust would log any other exception and go on
        raise SystemExit(f"the requests cannot be made from the files in {contract.parent}: {error!r}") from None


@events.quitting.add_listener
def end(environment: Any, **_: Any) -> None:
    """Write every sample (endpoint, intended moment in s, latency in ms, ok, tries, error) and the generator's health."""
    if not hasattr(environment, "plan"):
        return
    record = {"samples": environment.plan.samples, "generator": environment.plan.health.record()}
    path = Path(environment.parsed_options.samples)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.write_text(json.dumps(record), encoding="utf-8")
    partial.replace(path)


class Sender(FastHttpUser):
    """One user: its own phase, one request at a time, never ahead of the schedule."""

    connection_timeout = 5.0
    network_timeout = 30.0

    @task
    def schedule(self) -> None:
        """Send all requests of this user's schedule, then nothing more."""
        plan: Plan = self.environment.plan
        number, plan.joined = plan.joined, plan.joined + 1
        rng = random.Random(number)
        after = plan.phases[number]
        while after < plan.seconds:
            wait = plan.start + after - time.perf_counter()
            gevent.sleep(max(0.0, wait))
            if wait > 0:  # else it was still waiting for a response: a delay of the service
                plan.health.late.append(round((time.perf_counter() - plan.start - after) * 1000, 3))
            self.send(plan, rng.choices(plan.endpoints, plan.shares)[0], after, rng)
            after += plan.interval
        plan.joined -= 1
        if not plan.joined:
            self.environment.ticking.kill()
            gevent.spawn(self.environment.runner.quit)  # in another greenlet, because it ends this one
        gevent.sleep(3600)

    def send(self, plan: Plan, endpoint: str, after: float, rng: random.Random) -> None:
        """Send one request, again if the plan has retries; its latency counts from `after`, when it should have left."""
        method, path = endpoint.split()
        body = rng.choice(plan.bodies[endpoint])
        content = {"data": body, "headers": {"Content-Type": "application/json"}} if method == "POST" else {}
        tries, error = 0, "not sent"
        while error and tries <= plan.retries:
            tries += 1
            error = self.attempt(method, path, content)
        latency = time.perf_counter() - plan.start - after
        plan.samples.append((endpoint, round(after, 6), round(latency * 1000, 3), not error, tries, error))

    def attempt(self, method: str, path: str, content: dict[str, Any]) -> str:
        """Send once and return the reason of a failure, empty for status 200.

        The client repeats no POST by itself (geventhttpclient ≥ 2.4).
        """
        with self.client.request(method, path, catch_response=True, **content) as response:
            if response.status_code == 200:
                return ""
            reason = f"status {response.status_code}" if response.status_code else no_response(response.error)
            response.failure(reason)
            return reason


def no_response(error: BaseException | None) -> str:
    """Return the reason why no response came, such as `connection refused`."""
    return str(getattr(error, "strerror", None) or error or "no response").lower()
