"""Every write of every verb fails once, as on a full disk: a message and exit code 2, nothing half, and a next run that works."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway.core import git
from support import executables, release_repository
from support.full_disk import Disk, run_verb
from support.packaged_project import packaged  # noqa: F401

MESSAGE = (
    r"error (\S.* cannot be written( by `[^`]+`)?: (No space|Disk quota|Read-only|File too large|Input/output|No usable)"
    r"|`git [\w-]+` failed: .*write .* next: free disk space)"
)
OPEN, INSIDE = False, True
"""Whether a file cannot be created, or no byte can be written into it."""


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A command, the fixture with its project, and what must be done to that before each run."""

    words: Sequence[str]
    project: str = "complete"
    prepare: Callable[[Path], None] = lambda _: None
    slow: bool = False
    """Whether only programs find no space inside, since it takes seconds and files are covered by the other half."""


def forget_bento(folder: Path) -> None:
    """Remove the bentos, which would not be built again."""
    shutil.rmtree(folder / ".slipway/bentoml", ignore_errors=True)


def change_lock(folder: Path) -> None:
    """Let the project have a lock that no run of MLflow has."""
    with (folder / "dvc.lock").open("a", encoding="utf-8") as file:
        file.write("# another\n")


def forget_fingerprint(folder: Path) -> None:
    """Let requirements/stages.yaml be of other code."""
    path = folder / "requirements/stages.yaml"
    path.write_text(path.read_text("utf-8").replace("train: ", "train: 0", 1), "utf-8")


VERBS = {
    **{word: Verb(words=[word]) for word in ("ingest", "features", "train", "export", "evaluate", "judge", "report")},
    "stages": Verb(words=["stages", "--write"], prepare=forget_fingerprint),
    "score": Verb(words=["score", "data/features.parquet", "predictions.parquet", "--overwrite"]),
    "track": Verb(words=["track"], prepare=change_lock),
    "package": Verb(words=["package"], prepare=forget_bento, slow=True),
    "release": Verb(words=["release"], project="packaged_copy"),
    "promote": Verb(words=["promote", "--source", "machine"], project="promotable"),
    "rollback": Verb(words=["rollback", "--env", "staging", "--reason", "slow"], project="promotable"),
}


@pytest.fixture(scope="module")
def complete(honest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reproduced repository, with its experiment in MLflow."""
    folder = shutil.copytree(honest, tmp_path_factory.mktemp("complete") / "a b é", symlinks=True)
    assert run_verb(folder, "track", disk=Disk())[0] == 0
    return folder


@pytest.fixture
def packaged_copy(packaged: Path, params_file: Path) -> Path:
    shutil.copy(params_file, packaged)
    return packaged


@pytest.fixture
def promotable(tmp_path: Path) -> Path:
    """Two releases; the second one was load-tested."""
    root = release_repository.two_releases(tmp_path / "a b é")
    record = {"chapter": "load", "verdict": "pass", "inputs": {"image": release_repository.digest(2)}, "rows": 3600,
              "checks": [{"name": "POST /predict p95_ms", "value": 7.25}]}  # fmt: skip
    (root / "reports").mkdir()
    (root / "reports/load.json").write_text(json.dumps(record))
    return root


@pytest.fixture(autouse=True)
def _git_that_lives(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit of the size of files is an error for `git`, as a full disk is; otherwise the kernel would kill it."""
    folder = tmp_path_factory.mktemp("bin")
    executables.write_script(folder / "git", f"""trap '' XFSZ; exec {shutil.which("git")} "$@" """)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.fixture(scope="session")
def params_file(bare: Path) -> Path:
    return bare / "params.yaml"


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files, but those of other programs' caches and of Git."""
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    ignored = (".git/", ".slipway/", ".dvc/", "mlartifacts/", "mlflow.db", ".predictions.parquet.parts/")
    return {
        name: path.read_bytes()
        for name, path in names.items()
        if not name.startswith(ignored) and "__pycache__" not in name
    }


def first_and_last(writes: Sequence[str]) -> list[int]:
    """The numbers of the writes; of many files that a library copies into one folder only the first and the last."""

    def group(write: str) -> str:
        top = re.match(rf"{tempfile.gettempdir()}/(?!pytest)[^/]+", write)
        return top[0] if top else str(Path(write).parent) if "mlartifacts/" in write else write

    groups = [group(write) for write in writes]
    return [
        number
        for number, name in enumerate(groups)
        if name not in (groups[number - 1] if number else "", "") or groups[number + 1 : number + 2] != [name]
    ]


@pytest.mark.parametrize("inside", [OPEN, INSIDE], ids=["open", "inside"])
@pytest.mark.parametrize("name", VERBS)
def test_full_disk_leaves_nothing_half(name: str, inside: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    verb = VERBS[name]
    folder = shutil.copytree(request.getfixturevalue(verb.project), tmp_path / "p é", symlinks=True)
    every = Disk(inside=inside)
    trial = shutil.copytree(folder, tmp_path / "trial", symlinks=True)
    verb.prepare(trial)
    assert run_verb(trial, *verb.words, disk=every)[0] == 0
    after, missed = contents(trial), []
    for number in first_and_last(every.writes):
        if verb.slow and inside and " -m " not in every.writes[number]:
            continue
        verb.prepare(folder)
        before, head = contents(folder), git.find_commit("HEAD", root=folder)
        disk = Disk(full_at=number, inside=inside)
        code, text = run_verb(folder, *verb.words, disk=disk)
        if code == 0 and (inside or not disk.full):
            if head != git.find_commit("HEAD", root=folder):
                return  # it is released
            continue  # nothing was written after this
        left = contents(folder)
        half = [
            path
            for path, content in left.items()
            if content not in (before.get(path), after.get(path)) and not whole(path, content)
        ]
        said = re.search(MESSAGE, " ".join(text.split()))
        moved = head != git.find_commit("HEAD", root=folder) or git.worktrees(folder)[1:]
        stray = sorted(set(left) - set(before) - set(after))
        if code != 2 or not said or "next: " not in text or "Traceback" in text or half or stray or moved:
            missed.append((every.writes[number], code, half, stray, moved, text[-600:]))
    assert not missed, "\n".join(map(str, missed))
    verb.prepare(folder)
    assert run_verb(folder, *verb.words, disk=Disk())[0] == 0
    assert set(contents(folder)) == set(after)


def whole(path: str, content: bytes) -> bool:
    """Return whether a file that differs from run to run, such as by its seconds, is complete."""
    if not path.endswith(".json"):
        return content.endswith((b"\n", b"PAR1"))
    with contextlib.suppress(ValueError):
        json.loads(content)
        return True
    return False


@pytest.mark.parametrize("number", [1, 2, 4], ids=["worktree", "configuration", "dvc repro"])
def test_full_disk_ends_the_proof(number: int, complete: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(complete, tmp_path / "p é", symlinks=True)
    git.run("checkout", "-q", "--", ".", root=folder)
    code, text = run_verb(folder, "prove", disk=Disk(full_at=number, inside=True))
    assert (code, git.worktrees(folder)[1:]) == (2, [])
    assert re.search(MESSAGE, " ".join(text.split())), text
    assert not (folder / "reports/prove.json").exists()
