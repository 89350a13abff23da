"""No command ends in a traceback: each one of the app is run with each edge that makes it fail.

Every file that a command reads is damaged in each way of DAMAGES. Every program that it starts is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import shutil
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
from support.committed_project import repository, save
from support.paths import ROOT
from support.verb_walk import World

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


@pytest.fixture(scope="module")
def world(project: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project with data, model, bento, records, overlays and two releases; only its DVC cache is empty."""
    folder = repository(tmp_path_factory.mktemp("whole") / "a b é")
    for name in ("data", "models"):
        shutil.copytree(project / name, folder / name)
    shutil.copy2(ROOT / "Dockerfile", folder)
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
    for path in fewest(paths, world.root):
        name = path.relative_to(world.root).as_posix()
        for kind, damage in DAMAGES.items():
            damage.make(path)
            with verb_walk.modes_hold():
                outcome = world.call(*LINES[command])
            world.restore()
            is_about_it = (outcome.code, outcome.topic) != (whole.code, whole.topic)
            faults = outcome.faults([path.name] if is_about_it and outcome.code in (2, 3) else [])
            if outcome.code not in (0, whole.code, *damage.codes):
                faults.append(f"exit code {outcome.code}, expected {damage.codes}")
            wrong += [f"{name}, {kind}: {', '.join(faults)}: {outcome.err[-400:]}"] if faults else []
    assert not wrong, "\n".join(wrong)


def fewest(paths: list[Path], root: Path) -> list[Path]:
    """One file of each folder in which a command reads many files in the same way, and all others."""
    chosen: dict[str, Path] = {}
    for path in paths:
        name = path.relative_to(root)
        alike = name.parts[0] in ("src", ".slipway", ".dvc") or name.parent.name in ("plots", "pictures")
        chosen.setdefault(f"{name.parts[0]}{name.suffix}" if alike else str(name), path)
    return list(chosen.values())
