"""The habits of the house, held by tests: words, seams, stages and locks. README and docs: dev/tests."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from slipway import cli
from support.paths import ROOT

CHAPTERS = {
    "ingest", "features", "train", "export", "evaluate", "track", "prove", "judge",
    "report", "package", "serve", "load", "release", "verify", "monitor", "retrain",
}  # fmt: skip
BESIDE = {
    "status", "incident", "log", "labels",
    "loop", "doctor", "init", "replay", "drill", "image", "promote", "rollback", "policy", "review", "comment", "score",
    "latency", "stages", "slo", "observe",
}  # fmt: skip
"""Verbs that are no chapter."""
CI_VERBS = {
    "status",
    "monitor",
    "review",
    "comment",
    "changes",
    "ok",
    "due",
    "package",
    "image",
    "gate",
    "release",
    "promote",
    "rollback",
    "policy",
}
"""Targets that only the workflows run; `make` does not list them."""

PACKAGE = ROOT / "src/slipway"
MODULES = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py") if path.name[:2] != "__"}
WORDS = {path.stem for path in MODULES.values()}
NOT_MIRRORED = ("gates/", "clients/", "template/", "cluster_e2e/", "problems/", "support/")
"""Folders of tests/machinery that test more than one module."""
VERBS = set(typer.main.get_command(cli.app).commands)  # type: ignore[attr-defined]
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))


def tracked() -> list[Path]:
    """Files that are in Git, or would be with `git add .`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


def text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="ignore")


def targets() -> dict[str, str]:
    """The verbs of the Makefile, each with what it says about itself; those of the workflows say nothing."""
    lines = re.findall(r"^([a-z][a-z-]*):(?!=)(.*)$", text(ROOT / "Makefile"), re.M)
    return {name: rest.partition("## ")[2] for name, rest in lines}


# One word per chapter


def test_tests_mirror_the_rooms() -> None:
    machinery = ROOT / "tests/machinery"
    tests = {path.relative_to(machinery).as_posix() for path in machinery.rglob("test_*.py")}
    mirrored = {name for name in tests if not name.startswith(NOT_MIRRORED)}
    wanted = {(path.parent / f"test_{path.name}").relative_to(PACKAGE).as_posix() for path in MODULES.values()}
    assert wanted - mirrored == set(), "modules without their test file below tests/machinery"
    assert mirrored - wanted == set(), "test files below tests/machinery without a module"


def test_rooms_are_small() -> None:
    for room in {path.parent for path in MODULES.values()}:
        assert len([path for path in room.glob("*.py") if path.name[:2] != "__"]) <= 12, f"{room.name} is two rooms"
        lines = text(room / "__init__.py").splitlines()
        assert room == PACKAGE or len(lines) == 1, f"{room.name}/__init__.py is one sentence"


def test_chapters_and_verbs_are_one_to_one() -> None:
    assert {word for word in CHAPTERS if word in WORDS} - VERBS == set(), "chapters without a verb"
    assert CHAPTERS | BESIDE >= VERBS, "verbs outside the list of words"
    assert {"serve", "log"} == VERBS - WORDS, "verbs without a module"  # packaging/package.py, monitoring/log_files


def test_stages_are_chapters_and_call_their_verb() -> None:
    assert set(STAGES) <= CHAPTERS
    assert {name: stage["cmd"] for name, stage in STAGES.items()} == {
        name: f"python -m slipway {name}" for name in STAGES
    }


# Seams


def test_machinery_never_names_the_problem() -> None:
    problems = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()} - {"slipway"}
    for path in MODULES.values():
        for node in ast.walk(ast.parse(text(path))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & problems, f"{path.name} imports the problem"


OS = {"os.environ", "os.getenv", "os.environb"}


def test_only_one_module_reads_the_environment() -> None:
    for name, path in MODULES.items():
        reads = [n for n in ast.walk(ast.parse(text(path))) if isinstance(n, ast.Attribute) and ast.unparse(n) in OS]
        assert name == "core/environment.py" or not reads, f"{name} reads the environment"


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda p: f"{p.parent.name}.{p.stem}")
def test_modules_stay_short(path: Path) -> None:
    assert len(text(path).splitlines()) <= 400


# Verbs and locks


def test_makefile_has_few_verbs_that_describe_themselves() -> None:
    assert 0 < len(set(targets()) - CI_VERBS) <= 15
    assert {name for name, words in targets().items() if not words} == CI_VERBS


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.stem)
def test_lock_is_hashed_and_names_no_index(lock: Path) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", text(lock), flags=re.M | re.I)
    assert blocks[0] == ""
    assert [block.split()[0] for block in blocks[1:] if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)] == []
    assert (
        re.findall(r"^\s*-[-\w].*$|://|file:|#.*\s/\S+", re.sub(r"^    --hash=.*$", "", text(lock), flags=re.M), re.M)
        == []
    )


def test_locks_agree_with_each_other() -> None:
    pins = {lock.stem: dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text(lock), re.M | re.I)) for lock in LOCKS}
    assert set(pins) == {"dev", "load", "pipeline", "serve", "extra-evidently", "extra-s3"}
    for name in set(pins) - {"dev", "extra-evidently", "extra-s3"}:  # an extra has an environment of its own
        assert {p: v for p, v in pins[name].items() if pins["dev"].get(p) != v} == {}


def test_no_gate_is_propped_open() -> None:
    road = (
        "Makefile",
        "Dockerfile",
        "dvc.yaml",
        ".ci/",
        ".github/",
        ".pre-commit-config.yaml",
        "k8s/",
        "src/",
    )
    excuses = ("|| " + "true", "|| " + ":", "continue-on-" + "error", "--no-" + "verify")
    for path in tracked():
        if path.relative_to(ROOT).as_posix().startswith(road):
            assert [e for e in excuses if e in text(path)] == [], f"{path} excuses a failure"


# Files


def test_root_files_say_what_they_are_for() -> None:
    for path in tracked():
        if path.parent == ROOT and path.name not in ("LICENSE", "README.md", "dvc.lock") and path.suffix != ".json":
            lines = [line for line in text(path).splitlines() if line.strip()]
            said = " ".join(lines[: 2 if path.suffix == ".md" else 1])
            assert said.startswith(("#", "<!--", '"""')), f"{path.name} opens without a comment"
            assert len(said.split()) >= 5, f"{path.name} does not say what it is for"


def test_no_file_knows_this_machine_or_an_index() -> None:
    from pip._internal.models.index import PyPI

    hosts = {PyPI.netloc, PyPI.file_storage_domain}
    homes = {str(ROOT), *({str(Path.home())} if len(Path.home().parts) > 1 else ())}
    machine = re.compile(
        "|".join([*(rf"{re.escape(home)}(?=/|\b)" for home in sorted(homes)), r"/(?:Users|home)/[a-z]\w*/"])
    )
    for path in tracked():
        said = text(path)
        assert not machine.search(said), f"{path.relative_to(ROOT)}: {machine.search(said)}"
        assert [host for host in hosts if host in said] == [], f"{path.relative_to(ROOT)} names a package index"
