"""`loop`: demonstrate the whole delivery on this machine, in a scratch clone; the user's branch is never touched."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from slipway.core import config, environment, files, git
from slipway.core.console import stderr
from slipway.errors import CheckFailed, ConfigError
from slipway.packaging import package
from slipway.sandbox import deploy
from slipway.sandbox.clone import (
    COLOURS,
    ENVIRONMENTS,
    Sandbox,
    prepare,
    repro,
    run_commands,
    run_verb,
    set_yaml_values,
    stop_processes,
)
from slipway.serving import local_server

TARGETS = ("machine", "cluster")
COMMITTED = ("dvc.lock", "params.yaml", "reports")


def run_parts(sandbox: Sandbox, params: config.Params) -> None:
    """Deliver main, then a good change, and see a bad change refused."""
    deliver_main(sandbox)

    sandbox.start_part(f"2 · pull request: {params.loop.good.title}")
    open_change(sandbox, params.loop.good, 1)
    run_commands(sandbox, ["track"], ["review"])
    keep_report(sandbox, "good")
    golden = files.read_json(sandbox.work / "models/golden.json")
    merge_change(sandbox, params.loop.good, 1)
    deploy.deliver(sandbox)
    check_production_answers(sandbox, golden, params.package.tolerance)
    run_verb(sandbox, "track")  # the alias `champion` follows production

    sandbox.start_part(f"3 · pull request: {params.loop.bad.title}")
    open_change(sandbox, params.loop.bad, 2)
    run_verb(sandbox, "review", code=CheckFailed.code)
    keep_report(sandbox, "bad")
    check_production_answers(sandbox, golden, params.package.tolerance)


def deliver_main(sandbox: Sandbox) -> None:
    """Reproduce main, judge its model and deliver it."""
    sandbox.start_part("1 · main as it is: its model reaches production")
    if sandbox.target == "cluster":
        deploy.configure_registry(sandbox)
    repro(sandbox)
    commit(sandbox, "Lock and metrics")
    run_commands(sandbox, ["track"], ["review"])
    deploy.deliver(sandbox)


def open_change(sandbox: Sandbox, change: config.Change, number: int) -> None:
    """Push a pull request's branch: the change, reproduced and committed."""
    started = time.monotonic()
    git.run("checkout", "-q", "-b", f"change-{number}", "main", root=sandbox.work)
    set_yaml_values(sandbox.work / "params.yaml", change.set)
    config.load(sandbox.work / "params.yaml")
    commit(sandbox, change.title)
    summary = ", ".join(f"{key} = {value}" for key, value in change.set.items())
    sandbox.record_step("branch", f"change-{number}: {summary}", time.monotonic() - started)
    repro(sandbox)
    commit(sandbox, f"{change.title}: lock and metrics")
    git.run("push", "-q", "origin", f"change-{number}", root=sandbox.work)


def commit(sandbox: Sandbox, title: str) -> None:
    """Commit the files that a developer commits: parameters, lock, metrics and plot data."""
    git.run("add", "--", *(name for name in COMMITTED if (sandbox.work / name).exists()), root=sandbox.work)
    if git.uncommitted_files(sandbox.work):
        git.run("commit", "-q", "-m", title, root=sandbox.work)


def merge_change(sandbox: Sandbox, change: config.Change, number: int) -> None:
    """Merge a pull request's branch into main and push, as the merge button does."""
    started, branch = time.monotonic(), f"change-{number}"
    git.run("checkout", "-q", "main", root=sandbox.work)
    title = f"Merge pull request #{number} from {branch}\n\n{change.title}"
    git.run("merge", "-q", "--no-ff", "-m", title, branch, root=sandbox.work)
    git.run("push", "-q", "origin", "main", root=sandbox.work)
    sandbox.record_step(
        "merge", f"#{number} into main, {git.commit_hash(root=sandbox.work)[:12]}", time.monotonic() - started
    )


def check_production_answers(sandbox: Sandbox, golden: list[dict[str, Any]], tolerance: float) -> None:
    """CheckFailed unless production answers the golden requests with the numbers of the model that it should serve.

    On a cluster it is asked again for LEAVING_SECONDS: the first answer may come from a pod that is terminating.
    """
    started = time.monotonic()
    while True:
        with deploy.endpoint(sandbox, "production") as host:
            check = package.replay(host, golden, tolerance=tolerance)
        if check.ok or sandbox.target == "machine" or time.monotonic() - started > deploy.LEAVING_SECONDS:
            break
        time.sleep(1)
    if not check.ok:
        raise CheckFailed(
            f"loop: production differs from its model by {check.value}", allowed=check.limit, value=check.value
        )
    first = golden[0]["prediction"]
    summary = f"production answers {len(golden)} golden requests of its model, the first with {first:.3f}"
    sandbox.record_step("serve", summary, time.monotonic() - started)


def keep_report(sandbox: Sandbox, name: str) -> None:
    """Copy the reports next to the clone, and print the pull request's comment down to its first fold."""
    out = sandbox.home / f"report-{name}"
    out.mkdir()
    for file in ("report.md", "report.html", "data.html"):
        shutil.copy2(sandbox.work / "reports" / file, out / file)
    text = (out / "report.md").read_text(encoding="utf-8").split("\n<details>")[0]
    title = f"the pull request's comment; all of it: .slipway/loop/report-{name}/report.md"
    stderr.print(Panel(Markdown(text), title=title, title_align="left", border_style="dim", padding=(0, 2)))


def print_summary(sandbox: Sandbox, seconds: float, *, keep: bool) -> None:
    """Print the table of steps, and where to look next."""
    out = Console(highlight=False)
    table = Table("chapter", "what happened", title=f"The loop in {seconds:.0f} s", title_justify="left")
    table.add_column("s", justify="right")
    table.add_column("verdict")
    part = ""
    for step in sandbox.steps:
        if step.part != part:
            part = step.part
            table.add_section()
            table.add_row("", f"[bold]{escape(part)}[/bold]")
        word = f"[{COLOURS[step.verdict]}]{step.verdict}[/]"
        table.add_row(step.chapter, escape(shorten(step.summary)), f"{step.seconds:.1f}", word)
    out.print(table)
    for title, text in next_steps(sandbox, keep=keep).items():
        out.print(f"{title:<22}{escape(text)}", soft_wrap=True)


def shorten(text: str, limit: int = 160) -> str:
    """`text` cut between words to at most `limit` characters, with … at the end."""
    return text if len(text) <= limit else text[: limit - 2].rsplit(" ", 1)[0] + " …"


def next_steps(sandbox: Sandbox, *, keep: bool) -> dict[str, str]:
    """Where to look next, by title: reports, ledger, MLflow, endpoint."""
    places = {
        "good change's report": ".slipway/loop/report-good/report.html",
        "bad change's report": ".slipway/loop/report-bad/report.html",
        "the data": ".slipway/loop/report-good/data.html",
        "ledger": "git -C .slipway/loop/work show main:releases/production.jsonl",
        "runs and models": ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db",
    }
    if not keep:
        target = " TARGET=cluster" if sandbox.target == "cluster" else ""
        return places | {"endpoint": f"stopped; `make loop{target} ARGS=--keep` leaves it running"}
    if sandbox.target == "cluster":
        return places | {"production": deploy.COMMAND.format(sandbox.name), "stop it": "make loop ARGS=--stop"}
    base = f"http://{local_server.HOST}:{sandbox.ports['production']}"
    contract = files.read_json(sandbox.work / "models/contract.json")
    question = contract["question"]
    path, body = ("/ask", example_body(question)) if question else ("/predict", contract["example"])
    curl = f"curl -s {base}{path} -H 'content-type: application/json' -d '{json.dumps(body)}'"
    return places | {"endpoint": f"{base} (stop it: make loop ARGS=--stop)", "ask it": curl}


def example_body(schema: dict[str, Any]) -> dict[str, Any]:
    """The examples of a JSON schema's fields, of each field that has one."""
    fields = schema["properties"].items()
    return {name: field["examples"][0] for name, field in fields if field.get("examples")}


@contextlib.contextmanager
def single_instance(home: Path) -> Iterator[None]:
    """Lock out a second loop while the block runs; the kernel releases the lock when the process dies."""
    with (files.make_folder(home) / "loop.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another loop is running in this project", hint="wait for it, or stop it") from None
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, through every `finally`."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_ports(first: int | None) -> dict[str, int]:
    """Ports of the environments: `first` and the next (ConfigError when in use), else free ones from 3000."""
    if first is not None:
        for port in (first, first + 1):
            local_server.require_free_port(port)
        return dict(zip(ENVIRONMENTS, (first, first + 1), strict=True))
    free = (port for port in range(3000, 3100) if local_server.is_port_free(port))
    return {env: next(free) for env in ENVIRONMENTS}


def run(params: config.Params, *, keep: bool, target: str, port: int | None, root: Path = Path()) -> None:
    """Run the loop; however it ends, also by an interrupt, only `keep` leaves something running."""
    if target not in TARGETS:
        raise ConfigError(f"target {target!r} is not one of {', '.join(TARGETS)}", hint="make loop TARGET=cluster")
    root, started = root.resolve(), time.monotonic()
    with single_instance(environment.cache_home(root)), interruptible():
        if target == "cluster":
            deploy.require_cluster_tools(root)
        remove_everything(root)
        if target == "cluster":
            deploy.require_no_applications(params.track.model)
        leave = False
        try:
            sandbox = prepare(root, params.track.model, {} if target == "cluster" else choose_ports(port), target)
            run_parts(sandbox, params)
            leave = keep
        finally:
            if not leave:
                remove_everything(root)
        print_summary(sandbox, time.monotonic() - started, keep=keep)


def remove_everything(root: Path) -> int:
    """Stop what a loop left running: processes here, its applications on a cluster; the number of them."""
    return stop_processes(root) + deploy.remove_applications(root)
