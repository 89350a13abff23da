"""`loop`: the whole story on this machine, in a scratch clone; the user's branch is never touched."""

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
from slipway.errors import CheckFailed, ConfigError
from slipway.packaging import package
from slipway.sandbox import deploy
from slipway.sandbox.clone import COLOURS, ENVIRONMENTS, Scene, chapter, patch, prepare, repro, run_commands, stop, talk
from slipway.serving import local_server

TARGETS = ("machine", "cluster")
COMMITTED = ("dvc.lock", "params.yaml", "reports")


def story(scene: Scene, params: config.Params) -> None:
    """The three acts."""
    opening(scene)

    scene.say(f"2 · pull request: {params.loop.good.title}")
    propose(scene, params.loop.good, 1)
    run_commands(scene, ["track"], ["review"])
    keep_report(scene, "good")
    golden = files.read_json(scene.work / "models/golden.json")
    merge(scene, params.loop.good, 1)
    deploy.deliver(scene)
    check_production_answers(scene, golden, params.package.tolerance)
    chapter(scene, "track")  # the alias `champion` follows production

    scene.say(f"3 · pull request: {params.loop.bad.title}")
    propose(scene, params.loop.bad, 2)
    chapter(scene, "review", code=CheckFailed.code)
    keep_report(scene, "bad")
    check_production_answers(scene, golden, params.package.tolerance)


def opening(scene: Scene) -> None:
    """The first act."""
    scene.say("1 · main as it is: its model reaches production")
    if scene.target == "cluster":
        deploy.configure_registry(scene)
    repro(scene)
    commit(scene, "Lock and metrics")
    run_commands(scene, ["track"], ["review"])
    deploy.deliver(scene)


def propose(scene: Scene, change: config.Change, number: int) -> None:
    """A pull request: a branch with the change, reproduced and committed, pushed."""
    started = time.monotonic()
    git.run("checkout", "-q", "-b", f"change-{number}", "main", root=scene.work)
    patch(scene.work / "params.yaml", change.set)
    config.load(scene.work / "params.yaml")
    commit(scene, change.title)
    what = ", ".join(f"{key} = {value}" for key, value in change.set.items())
    scene.note("branch", f"change-{number}: {what}", time.monotonic() - started)
    repro(scene)
    commit(scene, f"{change.title}: lock and metrics")
    git.run("push", "-q", "origin", f"change-{number}", root=scene.work)


def commit(scene: Scene, title: str) -> None:
    """Commit what a developer commits: parameters, lock, metrics and plot data."""
    git.run("add", "--", *(name for name in COMMITTED if (scene.work / name).exists()), root=scene.work)
    if git.uncommitted_files(scene.work):
        git.run("commit", "-q", "-m", title, root=scene.work)


def merge(scene: Scene, change: config.Change, number: int) -> None:
    """What the merge button does."""
    started, branch = time.monotonic(), f"change-{number}"
    git.run("checkout", "-q", "main", root=scene.work)
    title = f"Merge pull request #{number} from {branch}\n\n{change.title}"
    git.run("merge", "-q", "--no-ff", "-m", title, branch, root=scene.work)
    git.run("push", "-q", "origin", "main", root=scene.work)
    scene.note("merge", f"#{number} into main, {git.commit(root=scene.work)[:12]}", time.monotonic() - started)


def check_production_answers(scene: Scene, golden: list[dict[str, Any]], tolerance: float) -> None:
    """Production answers golden requests of the model it should serve, with that model's numbers; a leaving pod is not meant."""
    started = time.monotonic()
    while True:
        with deploy.endpoint(scene, "production") as host:
            check = package.replay(host, golden, tolerance=tolerance)
        if check.ok or scene.target == "machine" or time.monotonic() - started > deploy.LEAVING_SECONDS:
            break
        time.sleep(1)
    if not check.ok:
        raise CheckFailed(f"loop: production differs from its model by {check.value}, limit: {check.limit}")
    first = golden[0]["prediction"]
    what = f"production answers {len(golden)} golden requests of its model, the first with {first:.3f}"
    scene.note("serve", what, time.monotonic() - started)


def keep_report(scene: Scene, name: str) -> None:
    """The reports stay to be opened; what the pull request's comment says above its folds is shown."""
    out = scene.home / f"report-{name}"
    out.mkdir()
    for file in ("report.md", "report.html", "data.html"):
        shutil.copy2(scene.work / "reports" / file, out / file)
    text = (out / "report.md").read_text(encoding="utf-8").split("\n<details>")[0]
    title = f"the pull request's comment; all of it: .slipway/loop/report-{name}/report.md"
    talk.print(Panel(Markdown(text), title=title, title_align="left", border_style="dim", padding=(0, 2)))


def closing(scene: Scene, seconds: float, *, keep: bool) -> None:
    """The table, and where to look."""
    out = Console(highlight=False)
    table = Table("chapter", "what happened", title=f"The loop in {seconds:.0f} s", title_justify="left")
    table.add_column("s", justify="right")
    table.add_column("verdict")
    act = ""
    for step in scene.steps:
        if step.act != act:
            act = step.act
            table.add_section()
            table.add_row("", f"[bold]{escape(act)}[/bold]")
        word = f"[{COLOURS[step.verdict]}]{step.verdict}[/]"
        table.add_row(step.chapter, escape(shortened(step.what)), f"{step.seconds:.1f}", word)
    out.print(table)
    for what, where in next_steps(scene, keep=keep).items():
        out.print(f"{what:<22}{escape(where)}", soft_wrap=True)


def shortened(what: str, most: int = 160) -> str:
    """A sentence that fits a table; the whole one was said before."""
    return what if len(what) <= most else what[: most - 2].rsplit(" ", 1)[0] + " …"


def next_steps(scene: Scene, *, keep: bool) -> dict[str, str]:
    """Where to look: reports, ledger, MLflow, endpoint."""
    found = {
        "good change's report": ".slipway/loop/report-good/report.html",
        "bad change's report": ".slipway/loop/report-bad/report.html",
        "the data": ".slipway/loop/report-good/data.html",
        "ledger": "git -C .slipway/loop/work show main:releases/production.jsonl",
        "runs and models": ".venv/bin/mlflow ui --backend-store-uri sqlite:///mlflow.db",
    }
    if not keep:
        where = " TARGET=cluster" if scene.target == "cluster" else ""
        return found | {"endpoint": f"stopped; `make loop{where} ARGS=--keep` leaves it running"}
    if scene.target == "cluster":
        return found | {"production": deploy.COMMAND.format(scene.name), "stop it": "make loop ARGS=--stop"}
    base = f"http://{local_server.HOST}:{scene.ports['production']}"
    contract = files.read_json(scene.work / "models/contract.json")
    asked = contract["question"]
    path, body = ("/ask", example(asked)) if asked else ("/predict", contract["example"])
    curl = f"curl -s {base}{path} -H 'content-type: application/json' -d '{json.dumps(body)}'"
    return found | {"endpoint": f"{base} (stop it: make loop ARGS=--stop)", "ask it": curl}


def example(schema: dict[str, Any]) -> dict[str, Any]:
    """The example of every field of a JSON schema that has one."""
    fields = schema["properties"].items()
    return {name: field["examples"][0] for name, field in fields if field.get("examples")}


@contextlib.contextmanager
def single_instance(home: Path) -> Iterator[None]:
    """One loop at a time; the lock is the kernel's and dies with the process."""
    with (files.make_folder(home) / "loop.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError("another loop is running in this project", hint="wait for it, or stop it") from None
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the loop as Ctrl-C does: through every `finally`."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ports(wanted: int | None) -> dict[str, int]:
    """Ports of the environments: `wanted` and the next (ConfigError when in use), else free ones from 3000."""
    if wanted is not None:
        for port in (wanted, wanted + 1):
            local_server.require_free_port(port)
        return dict(zip(ENVIRONMENTS, (wanted, wanted + 1), strict=True))
    free = (port for port in range(3000, 3100) if local_server.free(port))
    return {env: next(free) for env in ENVIRONMENTS}


def run(params: config.Params, *, keep: bool, target: str, port: int | None, root: Path = Path()) -> None:
    """Play the story; on any end, also an interrupt, nothing that it started stays but what `--keep` asks for."""
    if target not in TARGETS:
        raise ConfigError(f"target {target!r} is not one of {', '.join(TARGETS)}", hint="make loop TARGET=cluster")
    root, started = root.resolve(), time.monotonic()
    with single_instance(environment.cache_home(root)), interruptible():
        if target == "cluster":
            deploy.ready(root)
        clear(root)
        if target == "cluster":
            deploy.require_no_applications(params.track.model)
        kept = False
        try:
            scene = prepare(root, params.track.model, {} if target == "cluster" else ports(port), target)
            story(scene, params)
            kept = keep
        finally:
            if not kept:
                clear(root)
        closing(scene, time.monotonic() - started, keep=keep)


def clear(root: Path) -> int:
    """Stop what a loop left running: processes here, applications of its own on a cluster; how many there were."""
    return stop(root) + deploy.clear(root)
