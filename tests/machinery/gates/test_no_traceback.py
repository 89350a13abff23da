"""No command ends in a traceback: each one of the app is run with each edge that makes it fail.

Every file that a command reads is damaged, in ways of DAMAGES that take turns. Every program that it starts is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from slipway.core import config, files, git, ledger
from slipway.packaging import package
from slipway.pipeline import ingest
from slipway.serving.onnx_model import Model
from support import release_repository, verb_walk
from support.committed_project import edit, repository, save
from support.paths import ROOT
from support.verb_walk import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify and capabilities are Linux's")
ALL = False
"""Set it to make every damage to every file."""
LINES = verb_walk.command_lines()


@dataclass(frozen=True)
class Damage:
    """A way to damage a file, and the exit codes of a command that needs the file; 0 is for one that does not."""

    make: Callable[[Path], None]
    codes: tuple[int, ...]


DAMAGES = {
    "folder": Damage(verb_walk.replace_by_folder, (2, 3)),
    "not permitted": Damage(verb_walk.take_read_permission, (2,)),
    "undecodable": Damage(verb_walk.write_undecodable, (2, 3, 4, 5)),
    "truncated": Damage(verb_walk.truncate, (2, 3, 4, 5)),
    "empty": Damage(verb_walk.empty, (2, 3, 4, 5)),
    "other form": Damage(verb_walk.write_other_form, (2, 3, 4, 5)),
    "deep nesting": Damage(verb_walk.write_deep_nesting, (2, 3, 4, 5)),
}


SLOW = {"review": 9, "prove": 9, "loop": 2}
"""Commands that read many files, as others do: only every so many of them is damaged."""


INSTEAD = ("the bento ", "` was killed by signal")
"""What a message may name in place of a file: the bento that it is part of, and a program that reads it."""


@pytest.fixture(scope="module")
def world(project: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project with data, model, bento, records, overlays and two releases; only its DVC cache is empty."""
    folder = repository(tmp_path_factory.mktemp("whole") / "a b é")
    for name in ("data", "models"):
        shutil.copytree(project / name, folder / name)
    shutil.copy2(ROOT / "Dockerfile", folder)
    edit(folder / "params.yaml", "attempts: 5", "attempts: 1")  # of GitHub, which does not answer here
    for env in ledger.ENVIRONMENTS:
        overlay = folder / f"k8s/overlays/{env}/kustomization.yaml"
        overlay.parent.mkdir(parents=True)
        text = release_repository.OVERLAY.format(env=env, name="127.0.0.1:1/bikes", zeros="0" * 64)
        overlay.write_text(text, encoding="utf-8")
    with contextlib.chdir(folder):
        importlib.import_module("slipway.pipeline.evaluate").run(config.load())
        frame = ingest.read_parquet(Path("data/features.parquet"))
        model = Model()
        frame.select(model.categories + model.numbers).head(20).write_parquet("data/new.parquet")
    outs = [{"path": name, "md5": hashlib.md5((folder / name).read_bytes()).hexdigest()}  # noqa: S324
            for name in ("data/table.parquet", "data/features.parquet", "models/model.onnx", "models/contract.json")]  # fmt: skip
    with (folder / "dvc.lock").open("w", encoding="utf-8") as lock:
        YAML().dump({"schema": "2.0", "stages": {"export": {"cmd": "x", "outs": outs}}}, lock)
    save(folder)
    remote = folder.with_name("origin.git")
    git.run("init", "-q", "--bare", "-b", "main", str(remote), root=folder)
    git.run("remote", "add", "origin", str(remote), root=folder)
    source = git.commit_hash(root=folder)
    for number, env in ((1, "staging"), (1, "production"), (2, "staging")):
        action = "promote" if env == "production" else "release"
        release_repository.put(folder, release_repository.line(number, env, action=action, commit=source))
    release_repository.push(folder)
    bento = package.build(folder, name="bikes", readme="# A card\n")
    notes = {"bento": bento.tag, "path": bento.path.relative_to(folder).as_posix(), "bento_sha256": bento.sha256,
             "model_sha256": bento.model_sha256}  # fmt: skip
    inputs = {"challenger": bento.model_sha256, "model": bento.model_sha256, "commit": source}
    for chapter in ("judge", "prove", "package", "export", "evaluate"):
        record = {"chapter": chapter, "verdict": "pass", "checks": [], "rows": 1, "seconds": 1.0, "inputs": inputs}
        files.write_json(
            folder / f"reports/{chapter}.json", record | ({"notes": notes} if chapter == "package" else {})
        )
    return World(folder, folder.with_name("walked"))


@pytest.mark.parametrize("command", LINES)
def test_damaged_file_is_named(command: str, world: World) -> None:
    whole, paths = world.files_read(*LINES[command])
    assert whole.faults() == [], whole.err
    wrong = []
    for turn, path in enumerate(fewest(paths, world.root)[:: SLOW.get(command, 1)], list(LINES).index(command)):
        name = path.relative_to(world.root).as_posix()
        for kind in damages_of(turn):
            damage = DAMAGES[kind]
            damage.make(path)
            with verb_walk.modes_hold():
                outcome = world.call(*LINES[command])
            world.restore()
            is_about_it = (outcome.code, outcome.topic) != (whole.code, whole.topic)
            faults = outcome.faults([path.name, *INSTEAD] if is_about_it and outcome.code in (2, 3) else [])
            if outcome.code not in (0, whole.code, *damage.codes):
                faults.append(f"exit code {outcome.code}, expected {damage.codes}")
            wrong += [f"{name}, {kind}: {', '.join(faults)}: {outcome.err[-400:]}"] if faults else []
    assert not wrong, "\n".join(wrong)


def damages_of(turn: int) -> list[str]:
    """Two damages: every file loses its permission, and has another one in turn; all of both take minutes."""
    others = [kind for kind in DAMAGES if kind != "not permitted"]
    return list(DAMAGES) if ALL else ["not permitted", others[turn % len(others)]]


def fewest(paths: list[Path], root: Path) -> list[Path]:
    """One file of each folder in which a command reads many files in the same way, and all others."""
    chosen: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(root)
        alike = name.parts[0] in ("src", ".slipway", ".dvc") or name.parent.name in ("plots", "pictures")
        chosen.setdefault(name.parts[0] if alike else str(name), path)
    return list(chosen.values())


# Programs that are killed, or fail

GIT = """\
for word; do
  case "$skip$word" in
    -c|-C) skip=y;;
    y*) skip=;;
    -*) ;;
    *) printf '%s\\n' "$word" >>"$LOG"; [ "$word" = "$KILLED" ] && kill -9 $$; break;;
  esac
done
exec /usr/bin/git "$@"
"""
"""A Git that writes its subcommands to $LOG, and is killed before the subcommand $KILLED."""


@pytest.mark.parametrize(
    "command", [name for name in LINES if name not in ("doctor", "drill")]
)  # they only look for Git
def test_killed_git_is_named(command: str, world: World, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    world.program("git", GIT)
    try:
        world.call(*LINES[command], LOG=str(log))
        world.restore()
        wrong = []
        for subcommand in sorted(set(log.read_text().split())):
            outcome = world.call(*LINES[command], LOG=str(log), KILLED=subcommand)
            world.restore()
            faults = outcome.faults([f"`git {subcommand}` was killed by signal SIGKILL"])
            faults += [] if outcome.code == 2 else [f"exit code {outcome.code}, expected 2"]
            wrong += [f"git {subcommand}: {', '.join(faults)}: {outcome.err[-400:]}"] if faults else []
    finally:
        (world.programs / "git").unlink()
    assert not wrong, "\n".join(wrong)


STARTS_PYTHON = {
    "loop": "`dvc repro` ended with signal SIGKILL", "review": "did not pass", "prove": "`dvc status` was killed",
    "judge": "`dvc checkout` was killed", "latency": "`dvc repro` was killed", "package": "`bentoml build` was killed",
    "serve": "stopped with signal SIGKILL",
}  # fmt: skip
"""The commands that start a Python here, and what they print when it is killed at once."""


@pytest.mark.parametrize("command", LINES)
def test_killed_python_is_named(command: str, world: World, tmp_path: Path) -> None:
    log = tmp_path / "log"
    world.program("python", f"echo $* >>{log}; kill -9 $$")
    outcome = world.call(*LINES[command])
    world.restore()
    assert log.exists() == (command in STARTS_PYTHON), f"this belongs into STARTS_PYTHON: {outcome.err}"
    if command in STARTS_PYTHON:
        assert (outcome.code, outcome.faults([STARTS_PYTHON[command]])) == (2, []), outcome.err


@pytest.mark.parametrize("command", LINES)
def test_killed_tool_is_named(command: str, world: World, tmp_path: Path) -> None:
    """kubectl, docker and the like: those that the command calls are killed, and all others fail."""
    log = tmp_path / "log"
    for tool in verb_walk.TOOLS:
        world.program(tool, f"echo {tool} >>{log}; kill -9 $$")
    try:
        outcome = world.call(*LINES[command])
        world.restore()
    finally:
        world.fail_tools()
    assert outcome.faults() == [], outcome.err


# Errors of the libraries

RUN = {"id": 1, "run_attempt": 1, "event": "pull_request", "conclusion": "success", "head_sha": "a" * 40, "head_branch": "x",
       "head_repository": {"full_name": "o/r"}}  # fmt: skip
LIBRARIES = {
    "DVC": ("review", "python", "echo 'ERROR: dvc.yaml is broken' >&2; exit 255", {}, "repro"),
    "DVC, of the judge": ("judge", "python", "echo 'ERROR: no cache' >&2; exit 255", {}, "ERROR: no cache"),
    "BentoML": ("package", "python", "echo 'Error: no service' >&2; exit 1", {}, "Error: no service"),
    "uvicorn": ("serve", "python", "echo 'Address in use'; exit 1", {}, "Address in use"),
    "MLflow: address": ("track", "", "", {"MLFLOW_TRACKING_URI": "nonsense://x"}, "nonsense://x"),
    "MLflow: closed": ("track", "", "", {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, "http://127.0.0.1:9"),
    "MLflow: no database": ("track", "", "", {"MLFLOW_TRACKING_URI": "sqlite:////proc/x/y.db"}, "/proc/x"),
    "SQLAlchemy: address": ("track", "", "", {"MLFLOW_TRACKING_URI": "postgresql://me:secret@h/x"}, "postgresql://h/x"),
    "httpx: no GitHub": ("comment", "", "", {"GITHUB_API_URL": "http://127.0.0.1:9"}, "127.0.0.1"),
    "httpx: address": ("comment", "", "", {"GITHUB_API_URL": "http://[::1"}, "http://[::1"),
    "httpx: token": ("comment", "", "", {"GITHUB_TOKEN": "géheim\n"}, "GITHUB_TOKEN"),
}  # fmt: skip
"""A command, a program to replace, its script, variables, and a part of the message, by what fails."""


@pytest.mark.parametrize("name", LIBRARIES)
def test_error_of_a_library_is_a_sentence(name: str, world: World, tmp_path: Path) -> None:
    command, program, script, variables, words = LIBRARIES[name]
    if command == "comment":
        (tmp_path / "event.json").write_text(json.dumps({"workflow_run": RUN}), encoding="utf-8")
        variables = {"GITHUB_EVENT_PATH": str(tmp_path / "event.json"), "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t",
                     "GITHUB_API_URL": "http://127.0.0.1:9", "GITHUB_SERVER_URL": "http://127.0.0.1:9"} | variables  # fmt: skip
    if program:
        world.program(program, script)
    try:
        outcome = world.call(*LINES[command], **variables)
    finally:
        world.program("python", "kill -9 $$")
        world.restore()
    assert outcome.faults([words]) == [], outcome.err
    assert "secret" not in outcome.err
