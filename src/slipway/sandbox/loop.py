"""`loop`: demonstrate the whole delivery on this machine, in a scratch clone; the user's branch is never touched."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slipway.core import config, environment, files, git
from slipway.errors import CheckFailed, ConfigError, SlipwayError
from slipway.packaging import package
from slipway.sandbox import demo_output, deploy, operate
from slipway.sandbox.clone import (
    ENVIRONMENTS,
    Sandbox,
    prepare,
    repro,
    run_commands,
    run_verb,
    stop_processes,
)
from slipway.sandbox.demo_output import DemoOutput
from slipway.sandbox.demo_results import Result
from slipway.serving import golden, local_server

FINISHED = "finished"
"""File in the loop's folder with the commit of which the three changes were shown."""
COMMITTED = ("dvc.lock", "params.yaml", "reports")


def run_parts(sandbox: Sandbox, params: config.Params, output: DemoOutput) -> None:
    """Deliver main, then a good change, and see a bad change blocked."""
    deliver_main(sandbox)

    open_change(sandbox, params.loop.good, 1)
    run_commands(sandbox, ["track"], ["review"])
    keep_report(sandbox, "good")
    requests = golden.read(sandbox.work / "models/golden.json")
    started = time.monotonic()
    merge_change(sandbox, params.loop.good, 1)
    deploy.deliver(sandbox)
    check_production_answers(sandbox, requests, params.package.tolerance)
    output.print_result(
        Result(True, "merged, load-tested, promoted: production answers with the new model"), time.monotonic() - started
    )
    run_verb(sandbox, "track")  # the alias `champion` follows production

    open_change(sandbox, params.loop.bad, 2)
    require_blocked(sandbox, params.loop.bad)
    keep_report(sandbox, "bad")
    check_production_answers(sandbox, requests, params.package.tolerance)
    output.print_result(Result(True, "blocked: production still serves the model of part 2"))


def operate_production(sandbox: Sandbox, output: DemoOutput) -> None:
    """Ask production for some weeks, the last one with a broken input, and print what `monitor` finds."""
    sandbox.start_part("Operate: ordinary weeks of requests")
    operate.ordinary_weeks(sandbox)
    sandbox.start_part("Operate: an input breaks")
    name = operate.broken_week(sandbox)
    output.print_result(Result(True, f"the broken input was named: {name}"))


def deliver_main(sandbox: Sandbox) -> None:
    """Reproduce main, judge its model and deliver it."""
    sandbox.start_part("Put the current model into production")
    if sandbox.target == "cluster":
        deploy.configure_registry(sandbox)
    repro(sandbox)
    commit(sandbox, "Lock and metrics")
    run_commands(sandbox, ["track"], ["review"])
    deploy.deliver(sandbox)


def require_blocked(sandbox: Sandbox, change: config.Change) -> None:
    """Review the change; ConfigError unless a check refuses it, for then the demo has nothing to show."""
    try:
        run_verb(sandbox, "review", code=CheckFailed.code)
    except SlipwayError as error:
        verdict = files.read_json(sandbox.work / "reports/judge.json")["verdict"]
        if verdict != "pass":
            raise
        raise ConfigError(
            f"loop: {error.message}\nThe change {change.title!r} should be blocked, but its model is not worse",
            hint="set `loop.bad` in params.yaml to a change that makes the model worse",
        ) from None


def open_change(sandbox: Sandbox, change: config.Change, number: int) -> None:
    """Push a pull request's branch: the change, reproduced and committed."""
    sandbox.start_part(f'Pull request: "{change.title}"')
    started = time.monotonic()
    git.run("checkout", "-q", "-b", f"change-{number}", sandbox.branch, root=sandbox.work)
    config.set_values(sandbox.work / "params.yaml", change.set, hint="edit `loop` in params.yaml")
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
    git.run("checkout", "-q", sandbox.branch, root=sandbox.work)
    title = f"Merge pull request #{number} from {branch}\n\n{change.title}"
    git.run("merge", "-q", "--no-ff", "-m", title, branch, root=sandbox.work)
    git.run("push", "-q", "origin", sandbox.branch, root=sandbox.work)
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
    """Copy the reports of a pull request next to the clone."""
    out = sandbox.home / f"report-{name}"
    out.mkdir()
    for file in ("report.md", "report.html", "data.html"):
        shutil.copy2(sandbox.work / "reports" / file, out / file)


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


def reopen(root: Path, name: str, ports: dict[str, int], output: DemoOutput) -> Sandbox | None:
    """The sandbox of an earlier loop that ended well on this machine, at the commit that is HEAD now; else None."""
    sandbox = Sandbox(root=root, name=name, ports=ports, output=output)
    mark = sandbox.home / FINISHED
    return sandbox if mark.exists() and mark.read_text("utf-8") == git.commit_hash(root=root) else None


def run(
    params: config.Params, *, keep: bool, target: str, port: int | None, verbose: bool = False, table: bool = False,
    operating: bool = False, root: Path = Path(),
) -> None:  # fmt: skip
    """Run the loop; however it ends, also by an interrupt, only `keep` leaves something running.

    `verbose` prints every step with its numbers, `table` all of them again at the end. With `operating` production is
    then asked for some weeks; a loop that already ended well is not run again for that.
    """
    root, started = root.resolve(), time.monotonic()
    if operating and target == "cluster":
        hint = "leave out TARGET=cluster, or --operate"
        raise ConfigError("loop: --operate works on this machine only", value=target, hint=hint)
    with single_instance(environment.cache_home(root)), interruptible():
        if target == "cluster":
            deploy.require_cluster_tools(root)
        remove_everything(root)
        if target == "cluster":
            deploy.require_no_applications(params.track.model)
        leave, output = False, DemoOutput(root, params, verbose=verbose, operating=operating)
        try:
            ports = {} if target == "cluster" else choose_ports(port)
            earlier = reopen(root, params.track.model, ports, output) if operating else None
            output.print_start(target, resumed=earlier is not None)
            sandbox = earlier or prepare(root, params.track.model, ports, target, output)
            with explained(sandbox, output):
                if not earlier:
                    run_parts(sandbox, params, output)
                    files.write_text(sandbox.home / FINISHED, git.commit_hash(root=root) if target == "machine" else "")
                if operating:
                    operate_production(sandbox, output)
            leave = keep
        finally:
            if not leave:
                remove_everything(root)
        seconds = time.monotonic() - started
        if table:
            demo_output.print_table(sandbox, seconds)
        output.print_conclusion(sandbox, seconds, keep=keep)


@contextlib.contextmanager
def explained(sandbox: Sandbox, output: DemoOutput) -> Iterator[None]:
    """Print in which part the block stopped, and where the clone is; its error goes on."""
    try:
        yield
    except SlipwayError:
        output.print_result(Result(False, f"stopped at: {sandbox.current}. The demo did not finish"))
        output.print_note(f"the clone stays in {sandbox.work.relative_to(sandbox.root)}; nothing is left running")
        raise
    except KeyboardInterrupt:
        output.print_note("interrupted; nothing is left running")
        raise


def remove_everything(root: Path) -> int:
    """Stop what a loop left running: processes here, its applications on a cluster; the number of them."""
    return stop_processes(root) + deploy.remove_applications(root)
