"""The stage of `loop`: a scratch clone, and what ran there; no program started here outlives its call."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from ruamel.yaml import YAML

from slipway.core import dvc, environment, files, git
from slipway.errors import ConfigError, SlipwayError
from slipway.serving import local_server

STAGES = ("ingest", "features", "train", "export", "evaluate")
JUDGING = ("prove", "judge", "latency", "package", "load")
"""Chapters outside DVC whose verdict is shown."""
REVIEWED = ("prove", "judge", "latency", "report")
"""Chapters within a review that are steps of their own."""
ENVIRONMENTS = ("production", "staging")
COLOURS = {"pass": "green", "fail": "red", "unsure": "yellow", "": "default"}
talk = Console(stderr=True, highlight=False)


@dataclass(frozen=True)
class Step:
    """A row of the closing table."""

    act: str
    chapter: str
    what: str
    seconds: float
    verdict: str = ""


@dataclass
class Scene:
    """The project, its scratch clone, and what has happened there so far."""

    root: Path
    name: str
    ports: dict[str, int]
    target: str = "machine"
    act: str = ""
    steps: list[Step] = field(default_factory=list)
    running: dict[str, local_server.Server] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        """Where everything of the loop lies."""
        return environment.cache_home(self.root) / "loop"

    @property
    def work(self) -> Path:
        """The clone."""
        return self.home / "work"

    @property
    def remote(self) -> Path:
        """The clone's bare remote: where a cluster can read it, when one is meant and says where."""
        served = environment.git_server() if self.target == "cluster" else None
        mine = hashlib.sha256(str(self.root).encode()).hexdigest()[:8]  # other projects have loops there, too
        return served[0] / f"slipway-loop-{mine}.git" if served else self.home / "remote.git"

    @property
    def url(self) -> str:
        """The remote's address, as Argo CD sees it."""
        served = environment.git_server()
        return f"{served[1]}/{self.remote.name}" if served else self.remote.resolve().as_uri()

    @property
    def env(self) -> dict[str, str]:
        """The environment of programs in the clone; MLflow is the project's own."""
        return environment.for_programs(
            self.work, MLFLOW_TRACKING_URI=environment.tracking_uri(self.root), COLUMNS="1000"
        )

    def say(self, title: str) -> None:
        """Open an act."""
        self.act = title
        talk.print(f"\n[bold cyan]{escape(title)}[/bold cyan]")

    def note(self, chapter: str, what: str, seconds: float, verdict: str = "") -> None:
        """Remember a step and say it."""
        self.steps.append(Step(self.act, chapter, what, seconds, verdict))
        word = f"[{COLOURS[verdict]}]{verdict}[/]"
        talk.print(f"  [bold]{chapter:<10}[/bold]{escape(what)} [dim]{seconds:.1f} s[/dim] {word}", soft_wrap=True)


def prepare(root: Path, name: str, ports: dict[str, int], target: str = "machine") -> Scene:
    """A bare remote and a clone of HEAD, sharing the project's DVC cache; an earlier loop's are removed."""
    scene, started = Scene(root=root, name=name, ports=ports, target=target), time.monotonic()
    for earlier in (scene.home, scene.remote):
        shutil.rmtree(earlier, ignore_errors=True)
    files.make_folder(scene.home)
    head, remote = git.commit(root=root), scene.remote
    git.run("clone", "-q", "--bare", str(root), str(remote), root=root)
    git.run("update-ref", "refs/heads/main", head, root=remote)
    git.run("symbolic-ref", "HEAD", "refs/heads/main", root=remote)
    git.run("clone", "-q", "-b", "main", str(remote), str(scene.work), root=root)
    author = {
        "user.name": "Slipway loop",
        "user.email": "loop@slipway.invalid",
        "commit.gpgsign": "false",
        "core.hooksPath": os.devnull,
    }
    for key, value in author.items():
        git.run("config", key, value, root=scene.work)
    dvc.share_cache(scene.work, dvc.cache_folder(root))
    scene.say("Prepare")
    scene.note("clone", f"{head[:12]} with a bare remote of its own", time.monotonic() - started)
    if changed := git.uncommitted_files(root):
        talk.print(f"  [yellow]note[/yellow] {len(changed)} changed files are not committed, so not part of this")
    return scene


def chapter(scene: Scene, word: str, *args: str, code: int = 0) -> None:
    """Run a verb in the clone; its last line becomes the step; another exit code ends the loop."""
    run_commands(scene, [word, *args], code=code)


def run_commands(scene: Scene, *verbs: Sequence[str], code: int = 0) -> None:
    """Run verbs that do not need each other side by side."""
    started = time.monotonic()
    with talk.status("  " + ", ".join(verb[0] for verb in verbs) + " …"), contextlib.ExitStack() as stack:
        programs = [stack.enter_context(program(scene, [sys.executable, "-m", "slipway", *v])) for v in verbs]
        results = [(one.communicate()[0], time.monotonic() - started) for one in programs]
    for verb, one, (said, seconds) in zip(verbs, programs, results, strict=True):
        word, lines = verb[0], [line for line in said.splitlines() if line.strip()]
        if one.returncode != code:
            raise failed(f"`slipway {word}` ended with exit code {one.returncode}, not {code}", lines)
        for name in REVIEWED if word == "review" else [word]:
            path = scene.work / "reports" / f"{name}.json"
            verdict = str(files.read_json(path)["verdict"]) if name in JUDGING else ""
            scene.note(
                name, sentence(name, lines), reported_seconds(name, lines) if word == "review" else seconds, verdict
            )


def repro(scene: Scene) -> None:
    """`dvc repro` in the clone; every stage that ran is a step, with its own seconds."""
    started = time.monotonic()
    with talk.status("  dvc repro …"), program(scene, [sys.executable, "-m", "dvc", "repro"]) as one:
        lines = [line for line in one.communicate()[0].splitlines() if line.strip()]
    if one.returncode:
        raise failed(f"`dvc repro` ended with exit code {one.returncode}", lines)
    ran = [line for line in lines if line.split(" ", 1)[0] in STAGES]
    for line in ran:
        word = line.split(" ", 1)[0]
        scene.note(word, sentence(word, [line]), float(line.rsplit("(", 1)[1].removesuffix(" s)")))
    kept = len(STAGES) - len(ran)
    scene.note("repro", f"{len(ran)} stages ran, {kept} were unchanged or cached", time.monotonic() - started)


@contextlib.contextmanager
def program(scene: Scene, command: list[str]) -> Any:
    """A program in the clone, in a group of its own that is gone when the block ends."""
    one = subprocess.Popen(
        command, cwd=scene.work, env=scene.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, encoding="utf-8", start_new_session=True,
    )  # fmt: skip
    try:
        yield one
    finally:
        if one.stdout:
            one.stdout.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            if one.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(one.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    one.wait(5)


def failed(what: str, lines: list[str]) -> SlipwayError:
    """A chapter did not do what the story says."""
    end = "\n    ".join(lines[-12:])
    return ConfigError(f"loop: {what}:\n    {end}", hint="the scratch clone is .slipway/loop/work")


def sentence(word: str, lines: list[str]) -> str:
    """What a chapter says of itself, without its name and seconds."""
    found = [line for line in lines if line.startswith(f"{word} ")] or [x for x in lines if x.startswith("error ")]
    said = found[-1] if found else ""
    said = said.removeprefix("error ").removeprefix(f"{word} ").removeprefix(f"{word}: ")
    return said.rsplit(" (", 1)[0] if said.endswith(" s)") else said


def reported_seconds(word: str, lines: list[str]) -> float:
    """The seconds that a chapter says it took."""
    found = [re.search(r"\(([\d.]+) s\)$", line) for line in lines if line.startswith(f"{word} ")]
    return float(found[-1][1]) if found and found[-1] else 0.0


def serve(scene: Scene, env: str) -> None:
    """Replace an environment's process by one that serves the packaged bento, ready."""
    started, bento = time.monotonic(), packaged(scene)
    if env in scene.running:
        local_server.stop(scene.running.pop(env))
    home = scene.home / env
    with talk.status(f"  {env} …"):
        scene.running[env] = local_server.start(
            scene.work / bento["path"],
            port=scene.ports[env],
            home=home,
            root=scene.work,
            log=home / "server.log",
        )
        local_server.wait_ready(scene.running[env])
    scene.note("serve", f"{env} serves {bento['bento']} on port {scene.ports[env]}", time.monotonic() - started)


def packaged(scene: Scene) -> dict[str, Any]:
    """What reports/package.json says of the bento."""
    notes: dict[str, Any] = files.read_json(scene.work / "reports/package.json")["notes"]
    return notes


def stop(root: Path) -> int:
    """Stop all that runs in the loop's folder: servers, also those that `--keep` left, and what a killed loop
    had started; how many processes there were.
    """
    return local_server.kill_all(environment.cache_home(root) / "loop")


def patch(path: Path, values: dict[str, Any]) -> None:
    """Set dotted keys in a YAML file; everything else stays as it was written."""
    yaml = YAML()
    yaml.preserve_quotes = True
    document = yaml.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *parents, last = key.split(".")
        place = document
        for parent in parents:
            place = place.get(parent) if isinstance(place, dict) else None
        if not isinstance(place, dict) or last not in place:
            raise ConfigError(
                f"{path.name} has no key {key}, which section `loop` sets", hint="edit `loop` in params.yaml"
            )
        place[last] = value
    with files.atomic_write(path) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)
