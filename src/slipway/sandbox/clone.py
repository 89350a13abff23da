"""Scratch clone for `loop`: run commands in it and record the results; no program outlives the function that started it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slipway.core import dvc, environment, files, git, process
from slipway.core.console import LiteralConsole, running, stderr
from slipway.errors import ConfigError, Inconclusive, SlipwayError
from slipway.serving import local_server

STAGES = ("ingest", "features", "train", "export", "evaluate")
JUDGING = ("prove", "judge", "latency", "package", "load")
"""Verbs outside DVC whose verdict is shown."""
REVIEWED = ("prove", "judge", "latency", "report")
"""Verbs within a review that are steps of their own."""
ENVIRONMENTS = ("production", "staging")
COLOURS = {"pass": "green", "fail": "red", "unsure": "yellow", "": "default"}
ACTIVITIES = {
    "track": "recording the run", "review": "running the checks of the pull request", "package": "building the service",
    "image": "building the image", "release": "releasing to staging", "load": "load test in staging",
    "promote": "promoting to production", "verify": "tracing production back to its data",
}  # fmt: skip
"""Description of each command, shown while it runs."""
LAST_LINES = 12
"""Lines of a failed command's output that an error shows."""


@dataclass(frozen=True)
class Step:
    """A command of the demo or a drill that ended; a row of the closing table."""

    part: str
    chapter: str
    summary: str
    seconds: float
    verdict: str = ""


class StepOutput:
    """Prints every part and every step, with its numbers, on stderr."""

    console: LiteralConsole = stderr

    def print_part(self, title: str) -> None:
        """Print the heading of a part."""
        self.console.write_line("\n", (title, "bold cyan"))

    def print_step(self, step: Step) -> None:
        """Print a step that ended."""
        self.console.write_line(
            "  ", (f"{step.chapter:<10}", "bold"), step.summary, (f" {step.seconds:.1f} s ", "dim"),
            (step.verdict, COLOURS[step.verdict]),
        )  # fmt: skip

    def print_note(self, text: str) -> None:
        """Print a remark."""
        self.console.write_line(("  note ", "yellow"), text)


@dataclass
class Sandbox:
    """The project, its scratch clone, and the steps and servers of the loop so far.

    `part` is the current heading, `current` what runs or ran last.
    """

    root: Path
    name: str
    ports: dict[str, int]
    target: str = "machine"
    part: str = ""
    steps: list[Step] = field(default_factory=list)
    running: dict[str, local_server.Server] = field(default_factory=dict)
    output: StepOutput = field(default_factory=StepOutput, compare=False)
    current: str = field(default="the beginning", compare=False)

    @property
    def home(self) -> Path:
        """The folder of everything that belongs to the loop."""
        return environment.cache_home(self.root) / "loop"

    @property
    def work(self) -> Path:
        """The clone."""
        return self.home / "work"

    @property
    def remote(self) -> Path:
        """The clone's bare remote; for a cluster with a Git server, in the folder that the server reads."""
        served = environment.git_server() if self.target == "cluster" else None
        digest = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]  # other projects have loops there, too
        return served[0] / f"slipway-loop-{digest}.git" if served else self.home / "remote.git"

    @property
    def branch(self) -> str:
        """The default branch of the clone, which has the same name as the project's."""
        return git.default_branch(self.work if self.work.exists() else self.root)

    @property
    def url(self) -> str:
        """The remote's address for Argo CD."""
        served = environment.git_server()
        return f"{served[1]}/{self.remote.name}" if served else self.remote.resolve().as_uri()

    @property
    def env(self) -> dict[str, str]:
        """The environment of programs in the clone; MLflow is the project's own, and a user's remotes for DVC are unknown."""
        return environment.for_programs(
            self.work,
            MLFLOW_TRACKING_URI=environment.tracking_uri(self.root),
            COLUMNS="1000",
            DVC_GLOBAL_CONFIG_DIR=str(environment.cache_home(self.work) / "dvc"),
        )

    def start_part(self, title: str) -> None:
        """Start a part of the loop; the steps that follow belong to it."""
        self.part = title
        self.output.print_part(title)

    def record_step(self, chapter: str, summary: str, seconds: float, verdict: str = "") -> None:
        """Append a step and print it."""
        self.steps.append(Step(self.part, chapter, summary, seconds, verdict))
        self.output.print_step(self.steps[-1])

    def activity(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Show what is running, and for how many seconds, while a block runs."""
        self.current = text
        return running(f"     {text} …", self.output.console)


def prepare(
    root: Path, name: str, ports: dict[str, int], target: str = "machine", output: StepOutput | None = None
) -> Sandbox:
    """Make a bare remote and a clone of HEAD that shares the project's DVC cache; an earlier loop's are removed."""
    sandbox = Sandbox(root=root, name=name, ports=ports, target=target, output=output or StepOutput())
    started = time.monotonic()
    for earlier in (sandbox.home, sandbox.remote):
        shutil.rmtree(earlier, ignore_errors=True)
    files.make_folder(sandbox.home)
    head, remote = git.commit_hash(root=root), sandbox.remote
    git.run("clone", "-q", "--bare", str(root), str(remote), root=root)
    git.run("update-ref", f"refs/heads/{sandbox.branch}", head, root=remote)
    git.run("symbolic-ref", "HEAD", f"refs/heads/{sandbox.branch}", root=remote)
    git.run("clone", "-q", "-b", sandbox.branch, str(remote), str(sandbox.work), root=root)
    author = {
        "user.name": "Slipway loop",
        "user.email": "loop@slipway.invalid",
        "commit.gpgsign": "false",
        "core.hooksPath": os.devnull,
    }
    for key, value in author.items():
        git.run("config", key, value, root=sandbox.work)
    dvc.share_cache(sandbox.work, dvc.cache_folder(root))
    sandbox.part = "Prepare"
    sandbox.record_step("clone", f"{head[:12]} with a bare remote of its own", time.monotonic() - started)
    if changed := git.uncommitted_files(root):
        count = "1 changed file is" if len(changed) == 1 else f"{len(changed)} changed files are"
        sandbox.output.print_note(f"{count} not committed, and not part of this run: {', '.join(changed[:3])}")
    return sandbox


def run_verb(sandbox: Sandbox, word: str, *args: str, code: int = 0) -> None:
    """Run a verb in the clone; its last line becomes the step. ConfigError when it ends with another exit code."""
    run_commands(sandbox, [word, *args], code=code)


def run_commands(sandbox: Sandbox, *verbs: Sequence[str], code: int = 0) -> None:
    """Run independent verbs at the same time; ConfigError when one ends with another exit code than `code`.

    Each becomes a step when it ends. A review becomes several: one for each of its checks, when that check ends.
    """
    started, lines = time.monotonic(), [list[str]() for _ in verbs]
    with (
        sandbox.activity(", ".join(ACTIVITIES.get(verb[0], verb[0]) for verb in verbs)),
        contextlib.ExitStack() as stack,
    ):
        programs = [stack.enter_context(running_program(sandbox, [sys.executable, "-m", "slipway", *v])) for v in verbs]
        for number, line in follow(programs):
            word = verbs[number][0]
            if line is None and word != "review" and programs[number].wait() == code:
                record_verb(sandbox, word, lines[number], time.monotonic() - started)
            elif line is not None and line.strip():
                lines[number].append(line)
                check = line.split(" ", 1)[0]
                if word == "review" and check in REVIEWED:
                    record_verb(sandbox, check, [line], reported_seconds(check, [line]))
        codes = [program.wait() for program in programs]
    for verb, output, actual in zip(verbs, lines, codes, strict=True):
        if actual != code:
            raise step_error(sandbox, verb, actual, code, output)


def record_verb(sandbox: Sandbox, word: str, lines: list[str], seconds: float) -> None:
    """Record a verb that ended, or one check of a review, with its verdict."""
    path = sandbox.work / "reports" / f"{word}.json"
    verdict = str(files.read_json(path)["verdict"]) if word in JUDGING and path.exists() else ""
    sandbox.record_step(word, summary_line(word, lines), seconds, verdict)


def follow(programs: Sequence[subprocess.Popen[str]]) -> Iterator[tuple[int, str | None]]:
    """Each line that one of the programs prints, when it prints it, with the program's number; None at its end."""
    arrived = queue.SimpleQueue[tuple[int, str | None]]()

    def read(number: int, program: subprocess.Popen[str]) -> None:
        with contextlib.suppress(ValueError):  # closed by the end of the block that runs it
            for line in program.stdout or ():
                arrived.put((number, line.rstrip("\n")))
        arrived.put((number, None))

    for number, program in enumerate(programs):
        threading.Thread(target=read, args=(number, program), daemon=True).start()
    remaining = len(programs)
    while remaining:
        number, line = arrived.get()
        remaining -= line is None
        yield number, line


def repro(sandbox: Sandbox) -> None:
    """Run `dvc repro` in the clone; every stage that ran becomes a step, with its own seconds."""
    started, command = time.monotonic(), [sys.executable, "-m", "dvc", "repro"]
    with sandbox.activity("running the pipeline: dvc repro"), running_program(sandbox, command) as one:
        lines = [line for line in one.communicate()[0].splitlines() if line.strip()]
    if one.returncode:
        raise step_error(sandbox, ["dvc repro"], one.returncode, 0, lines)
    ran = [line for line in lines if line.split(" ", 1)[0] in STAGES]
    for line in ran:
        word = line.split(" ", 1)[0]
        sandbox.record_step(word, summary_line(word, [line]), reported_seconds(word, [line]))
    skipped = len(STAGES) - len(ran)
    sandbox.record_step(
        "repro", f"{len(ran)} stages ran, {skipped} were unchanged or cached", time.monotonic() - started
    )


@contextlib.contextmanager
def running_program(sandbox: Sandbox, command: list[str]) -> Any:
    """Start a program in the clone, in a process group of its own; the group is ended when the block ends."""
    one = subprocess.Popen(
        command, cwd=sandbox.work, env=sandbox.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", start_new_session=True,
    )  # fmt: skip
    try:
        yield one
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if one.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(5)
        if one.stdout:  # after the end of the group: closing waits for a thread that reads
            one.stdout.close()


def step_error(sandbox: Sandbox, verb: Sequence[str], code: int, expected: int, lines: list[str]) -> SlipwayError:
    """The error for a command that ended otherwise than the demo expects, with the last lines of its output."""
    command = verb[0] if verb[0].startswith("dvc") else f"slipway {verb[0]}"
    end = "\n    ".join(lines[-LAST_LINES:]) or "nothing"
    hint = f"cd {sandbox.work.relative_to(sandbox.root)}, the demo's clone, and see what `{command}` read there"
    if code == Inconclusive.code:
        hint = "too little could be measured, often because the machine is busy: run `make loop` again"
    return ConfigError(
        f"loop: `{command}` ended with {process.describe_exit(code)}, expected {expected}. Its last lines:\n    {end}",
        hint=hint,
    )


def summary_line(word: str, lines: list[str]) -> str:
    """The last line of a verb's output about itself, without its name and seconds."""
    own = [line for line in lines if line.startswith(f"{word} ")] or [x for x in lines if x.startswith("error ")]
    last = own[-1] if own else ""
    last = last.removeprefix("error ").removeprefix(f"{word} ").removeprefix(f"{word}: ")
    return last.rsplit(" (", 1)[0] if last.endswith(" s)") else last


def reported_seconds(word: str, lines: list[str]) -> float:
    """The seconds in a verb's last line about itself; 0 when there are none."""
    matches = [re.search(r"\(([\d.]+) s\)$", line) for line in lines if line.startswith(f"{word} ")]
    return float(matches[-1][1]) if matches and matches[-1] else 0.0


def serve(sandbox: Sandbox, env: str, *, prediction_log: Path | None = None) -> None:
    """Replace an environment's process by one that serves the packaged bento, and wait until it is ready.

    It logs its predictions to the folder `prediction_log`, if there is one.
    """
    started, bento = time.monotonic(), package_notes(sandbox)
    if env in sandbox.running:
        local_server.stop(sandbox.running.pop(env))
    home = sandbox.home / env
    with sandbox.activity(f"starting {env}"):
        sandbox.running[env] = local_server.start(
            sandbox.work / bento["path"],
            port=sandbox.ports[env],
            home=home,
            root=sandbox.work,
            log=home / "server.log",
            prediction_log=prediction_log,
        )
        local_server.wait_ready(sandbox.running[env])
    sandbox.record_step(
        "serve", f"{env} serves {bento['bento']} on port {sandbox.ports[env]}", time.monotonic() - started
    )


def package_notes(sandbox: Sandbox) -> dict[str, Any]:
    """The notes of reports/package.json about the bento."""
    notes: dict[str, Any] = files.read_json(sandbox.work / "reports/package.json")["notes"]
    return notes


def stop_processes(root: Path) -> int:
    """Stop every process of the loop's folder, also those that `--keep` or a killed loop left; the number of processes."""
    return local_server.kill_all(environment.cache_home(root) / "loop")
