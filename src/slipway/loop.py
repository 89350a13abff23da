"""`loop`: the whole story on this machine, in a scratch clone with a bare remote; the user's branch is never touched."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

from slipway import config, files, git, package, server
from slipway.errors import ConfigError, Refused, SlipwayError

COMMITTED = ("dvc.lock", "params.yaml", "reports")
VERDICTS = ("export", "evaluate", "judge", "package", "load")
talk = Console(stderr=True, highlight=False)


@dataclass
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
    work: Path
    env: dict[str, str]
    ports: dict[str, int]
    act: str = ""
    steps: list[Step] = field(default_factory=list)
    running: dict[str, server.Server] = field(default_factory=dict)

    def note(self, chapter: str, what: str, started: float, verdict: str = "") -> None:
        """Remember a step and say it."""
        seconds = time.monotonic() - started
        self.steps.append(Step(self.act, chapter, what, seconds, verdict))
        colour = {"pass": "green", "fail": "red", "unsure": "yellow"}.get(verdict, "default")
        talk.print(
            f"  [bold]{chapter:<10}[/bold] {_plain(what)} [dim]{seconds:.1f} s[/dim] [{colour}]{verdict}[/{colour}]",
            soft_wrap=True,
        )

    def say(self, title: str) -> None:
        """Open an act."""
        self.act = title
        talk.print(f"\n[bold cyan]{title}[/bold cyan]")


def chapter(scene: Scene, word: str, *args: str, code: int = 0) -> None:
    """Run a verb in the clone; its last line becomes the step. Another exit code than `code` is an error."""
    started = time.monotonic()
    with talk.status(f"  {word} …"):
        done, said = call([sys.executable, "-m", "slipway", word, *args], scene)
    path = scene.work / "reports" / f"{word}.json"
    verdict = files.read_json(path)["verdict"] if word in VERDICTS and path.exists() else ""
    if done != code:
        raise _failed(f"`slipway {word}` ended with exit code {done}, expected {code}", said)
    last = next(
        (line for line in reversed(said) if line.startswith((f"{word} ", "error "))), said[-1] if said else ""
    )
    scene.note(word, _short(last.removeprefix(f"{word} ").removeprefix("error ")), started, verdict)


def repro(scene: Scene) -> None:
    """`dvc repro` in the clone; every stage that ran is a step."""
    started = time.monotonic()
    with talk.status("  dvc repro …"):
        done, said = call([sys.executable, "-m", "dvc", "repro"], scene)
    if done:
        raise _failed(f"`dvc repro` ended with exit code {done}", said)
    words = ("ingest", "features", "train", "export", "evaluate")
    ran = [line for line in said if line.startswith(words)]
    for line in ran:
        scene.note(line.split()[0], _short(line.split(" ", 1)[1]), time.monotonic())
        scene.steps[-1].seconds = _seconds(line)
    scene.note("repro", f"{len(ran)} of {len(words)} stages ran, the others are unchanged", started)


def call(command: list[str], scene: Scene) -> tuple[int, list[str]]:
    """Run a program in the clone, in a group of its own that never outlives this call; exit code and lines."""
    program = subprocess.Popen(command, cwd=scene.work, env=scene.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, encoding="utf-8", start_new_session=True)  # fmt: skip
    try:
        said, _ = program.communicate()
    except BaseException:
        end(program)
        raise
    return program.returncode, [line for line in said.splitlines() if line.strip()]


def end(program: subprocess.Popen[str], seconds: float = 5.0) -> None:
    """End a program and its group: asked first, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(seconds)


def _failed(what: str, said: list[str]) -> SlipwayError:
    return ConfigError(
        "loop: " + what + ":\n    " + "\n    ".join(said[-12:]),
        hint="run that verb by itself in .slipway/loop/work",
    )


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def _short(line: str) -> str:
    """A chapter's own line without its seconds."""
    return line.rsplit(" (", 1)[0] if line.endswith(" s)") else line


def _seconds(line: str) -> float:
    return float(line.rsplit("(", 1)[1].removesuffix(" s)")) if line.endswith(" s)") else 0.0


@contextlib.contextmanager
def alone(home: Path) -> Iterator[None]:
    """One loop at a time; the lock is the kernel's and dies with the process."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "loop.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(
                "another loop is running in this project", hint="wait for it, or stop it"
            ) from None
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP end the loop as Ctrl-C does: through every `finally`."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare(root: Path, ports: dict[str, int]) -> Scene:
    """A bare remote and a clone of HEAD under .slipway/loop, sharing the project's DVC cache."""
    started = time.monotonic()
    home = config.cache_home(root) / "loop"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    work = home / "work"
    head = git.commit(root=root)
    git.output("clone", "-q", "--bare", str(root), str(home / "remote.git"), root=root)
    git.output("update-ref", "refs/heads/main", head, root=home / "remote.git")
    git.output("symbolic-ref", "HEAD", "refs/heads/main", root=home / "remote.git")
    git.output("clone", "-q", "-b", "main", str(home / "remote.git"), str(work), root=root)
    for key, value in (
        ("user.name", "Slipway loop"),
        ("user.email", "loop@slipway.invalid"),
        ("commit.gpgsign", "false"),
    ):
        git.output("config", key, value, root=work)
    cache = root / ".dvc" / "cache"
    (work / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")
    env = config.environment(
        work, MLFLOW_TRACKING_URI=config.tracking_uri(root), COLUMNS="400", PYTHONUNBUFFERED="1"
    )
    scene = Scene(root=root, work=work, env=env, ports=ports)
    scene.say("Prepare")
    scene.note("clone", f"{head[:12]} into .slipway/loop/work, with a bare remote beside it", started)
    if changed := git.dirty(root):
        talk.print(
            f"  [yellow]note[/yellow] {len(changed)} changed files are not committed, so not part of this loop"
        )
    return scene


def commit(scene: Scene, title: str) -> None:
    """Commit what a developer commits: parameters, lock, metrics and plot data."""
    git.output("add", "--", *(name for name in COMMITTED if (scene.work / name).exists()), root=scene.work)
    if git.output("status", "--porcelain", "--untracked-files=no", root=scene.work):
        git.output("commit", "-q", "-m", title, root=scene.work)


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
                f"params.yaml has no key {key}, which section loop wants to set",
                hint="edit `loop` in params.yaml",
            )
        place[last] = value
    with files.whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        yaml.dump(document, file)


def propose(scene: Scene, change: config.Change, number: int) -> str:
    """A pull request: a branch with the change, reproduced and committed, pushed. Returns the branch."""
    started = time.monotonic()
    branch = f"change-{number}"
    git.output("checkout", "-q", "-b", branch, "main", root=scene.work)
    patch(scene.work / "params.yaml", change.set)
    config.load(scene.work / "params.yaml")
    commit(scene, change.title)
    what = ", ".join(f"{key} = {value}" for key, value in change.set.items())
    scene.note("branch", f"{branch}: {what}", started)
    repro(scene)
    commit(scene, f"{change.title}: lock and metrics")
    git.output("push", "-q", "origin", branch, root=scene.work)
    return branch


def merge(scene: Scene, branch: str, number: int, title: str) -> None:
    """What the merge button does."""
    started = time.monotonic()
    git.output("checkout", "-q", "main", root=scene.work)
    git.output(
        "merge",
        "-q",
        "--no-ff",
        "-m",
        f"Merge pull request #{number} from {branch}\n\n{title}",
        branch,
        root=scene.work,
    )
    git.output("push", "-q", "origin", "main", root=scene.work)
    scene.note("merge", f"#{number} into main, {git.commit(root=scene.work)[:12]}", started)


def deliver(scene: Scene) -> None:
    """main → bento → staging, judged under load → production."""
    chapter(scene, "package")
    chapter(scene, "release")
    bento = files.read_json(scene.work / "reports/package.json")["notes"]
    start(scene, "staging", bento)
    chapter(
        scene, "load", "--host", f"http://127.0.0.1:{scene.ports['staging']}", "--of", bento["bento_sha256"]
    )
    chapter(scene, "promote")
    start(scene, "production", bento)
    git.output("push", "-q", "origin", "main", root=scene.work)


def start(scene: Scene, env: str, bento: dict[str, Any]) -> None:
    """Replace an environment's process by one that serves `bento`, ready."""
    started = time.monotonic()
    if env in scene.running:
        server.stop(scene.running.pop(env))
    home, log = homes(scene.root)[env], homes(scene.root)[env] / "server.log"
    with talk.status(f"  {env} …"):
        scene.running[env] = server.start(
            scene.work / bento["path"], port=scene.ports[env], home=home, root=scene.work, log=log
        )
        server.wait_ready(scene.running[env])
    scene.note("serve", f"{env} serves {bento['bento']} on port {scene.ports[env]}", started)


def homes(root: Path) -> dict[str, Path]:
    """The two environments of this machine: a scratch folder each, by which their processes are found."""
    return {env: config.cache_home(root) / "loop" / env for env in ("staging", "production")}


def answer(scene: Scene, golden: list[dict[str, Any]], tolerance: float) -> None:
    """Production answers golden requests of the model it should serve, with that model's numbers."""
    started = time.monotonic()
    check = package.replay(scene.ports["production"], golden, tolerance=tolerance)
    if not check.ok:
        raise Refused(f"loop: production differs from its model by {check.value}, limit: {check.limit}")
    first = golden[0]["prediction"]
    scene.note(
        "serve",
        f"production answers {len(golden)} golden requests of its model, the first with {first:.3f}",
        started,
    )


def stop(root: Path) -> int:
    """Stop the servers that an earlier `--keep` left running; how many processes there were."""
    return sum(server.end(home) for home in homes(root).values())


def story(scene: Scene, params: config.Params) -> None:
    """The three acts."""
    scene.say("1 · main as it is: the first model reaches production")
    repro(scene)
    commit(scene, "Lock and metrics")
    for word in ("track", "judge"):
        chapter(scene, word)
    deliver(scene)

    scene.say(f"2 · pull request: {params.loop.good.title}")
    branch = propose(scene, params.loop.good, 1)
    for word in ("track", "judge", "report"):
        chapter(scene, word)
    golden = files.read_json(scene.work / "models/golden.json")
    merge(scene, branch, 1, params.loop.good.title)
    deliver(scene)
    answer(scene, golden, params.package.tolerance)
    chapter(scene, "track")  # the alias `champion` follows production
    keep_report(scene, "good")

    scene.say(f"3 · pull request: {params.loop.bad.title}")
    propose(scene, params.loop.bad, 2)
    chapter(scene, "judge", code=Refused.code)
    chapter(scene, "report")
    keep_report(scene, "bad")
    answer(scene, golden, params.package.tolerance)


def keep_report(scene: Scene, name: str) -> None:
    """Both reports stay to be opened: .slipway/loop/report-good and report-bad."""
    out = config.cache_home(scene.root) / "loop" / f"report-{name}"
    out.mkdir()
    for file in ("report.md", "report.html", "data.html"):
        shutil.copy2(scene.work / "reports" / file, out / file)


def closing(scene: Scene, seconds: float, *, keep: bool) -> None:
    """The table and where to look."""
    table = Table(title=f"The loop in {seconds:.0f} s", title_justify="left", caption_justify="left")
    for name in ("chapter", "what happened"):
        table.add_column(name, overflow="fold")
    table.add_column("s", justify="right")
    table.add_column("verdict")
    act = ""
    for step in scene.steps:
        if step.act != act:
            table.add_section()
            table.add_row(
                f"[bold]{step.act.split(' ·')[0]}[/bold]",
                f"[bold]{_plain(step.act.split('· ')[-1])}[/bold]",
                "",
                "",
            )
            act = step.act
        table.add_row(step.chapter, _plain(step.what), f"{step.seconds:.1f}", step.verdict)
    out = Console(highlight=False)
    out.print(table)
    where = scene.root.name
    out.print(f"Report of the good change   {where}/.slipway/loop/report-good/report.html", soft_wrap=True)
    out.print(f"Report of the refused one   {where}/.slipway/loop/report-bad/report.html", soft_wrap=True)
    out.print(
        "Ledger                      git -C .slipway/loop/work show main:releases/production.jsonl",
        soft_wrap=True,
    )
    out.print("MLflow                      make ui", soft_wrap=True)
    if keep:
        row = json.dumps(files.read_json(scene.work / "models/golden.json")[0]["row"])
        base = f"http://127.0.0.1:{scene.ports['production']}"
        out.print(f"Production                  {base}  (stop it: make loop ARGS=--stop)", soft_wrap=True)
        out.print(f"curl -s {base}/predict -H 'content-type: application/json' -d '{row}'", soft_wrap=True)
    else:
        out.print("Endpoint                    stopped; `make loop ARGS=--keep` leaves it up", soft_wrap=True)


def ports(wanted: int | None) -> dict[str, int]:
    """Ports of production and staging: `wanted` and the next (ConfigError when in use), else free ones from 3000."""
    if wanted is not None:
        for port in (wanted, wanted + 1):
            server.claim(port)
        return {"production": wanted, "staging": wanted + 1}
    free = (port for port in range(3000, 3100) if server.free(port))
    return {"production": next(free), "staging": next(free)}


def run(params: config.Params, *, keep: bool, target: str, port: int | None, root: Path = Path()) -> None:
    """Play the story; on any end, also an interrupt, no process and no lock stays (but `--keep`'s servers)."""
    if target != "machine":
        raise ConfigError(
            f"target {target!r} is not built yet, this machine is the only one", hint="make loop"
        )
    root, started = root.resolve(), time.monotonic()
    with alone(config.cache_home(root)), interruptible():
        stop(root)
        scene = prepare(root, ports(port))
        try:
            story(scene, params)
        except BaseException:
            stop(root)
            raise
        if not keep:
            stop(root)
        closing(scene, time.monotonic() - started, keep=keep)
