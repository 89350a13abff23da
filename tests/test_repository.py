"""The habits of the house, held by tests: words, seams, stages, locks, and a README that is true."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import typer
from ruamel.yaml import YAML

from slipway import cli

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = (
    "ingest features train export evaluate track prove judge report package serve load release verify monitor retrain"
).split()
BESIDE = {"loop", "doctor", "init", "replay", "drill", "promote"}
"""Verbs that are no chapter."""
OTHER_TESTS = {"repository", "make", "cluster", "flights"}
"""Test files that belong to no one module of src/slipway."""
GENERATED = re.compile(
    r"^(\.slipway|\.venv|\.dvc/cache|data|models|reports|releases|bentos)(/|$)|^mlflow\.db$"
)

MODULES = {path.stem: path for path in (ROOT / "src/slipway").glob("*.py") if not path.stem.startswith("__")}
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
    """The targets of the Makefile that people type, each with what it says about itself."""
    lines = re.findall(r"^([a-z][a-z-]*):(?!=)(.*)$", text(ROOT / "Makefile"), re.M)
    return {name: rest.partition("## ")[2] for name, rest in lines}


# One word per chapter


def test_every_module_has_its_test_file() -> None:
    tests = {path.stem.removeprefix("test_") for path in (ROOT / "tests").glob("test_*.py")}
    assert set(MODULES) - tests == set(), "modules without tests/test_<module>.py"
    assert tests - set(MODULES) - OTHER_TESTS == set(), "test files without a module"


def test_chapters_and_verbs_are_one_to_one() -> None:
    assert {word for word in CHAPTERS if word in MODULES} - VERBS == set(), "chapters without a verb"
    assert VERBS - set(CHAPTERS) - BESIDE == set(), "verbs outside the list of words"
    assert VERBS - set(MODULES) == set(), "verbs without a module"


def test_stages_are_chapters_and_call_their_verb() -> None:
    assert set(STAGES) <= set(CHAPTERS)
    assert {name: stage["cmd"] for name, stage in STAGES.items()} == {
        name: f"python -m slipway {name}" for name in STAGES
    }


# Stages declare what they read


class Reach:
    """What a stage's code reaches from `run`: first-party modules, and the sections of params it reads.

    A module that is imported runs its top level; a function body counts only when it is called by name.
    What `problem.load` gives is followed through the attributes that are read of it.
    """

    def __init__(self, stage: str, problem: str) -> None:
        self.problem = f"{problem}.problem"
        self.files: set[str] = set()
        self.sections: set[str] = set()
        self.read: set[str] = set()
        self.seen: set[tuple[str, str]] = set()
        self.module(f"slipway.{stage}")
        self.name(f"slipway.{stage}", "run")
        if "slipway.problem" in map(_module, self.files):
            self.module(self.problem)
            for field, value in _fields(self.problem).items():
                if field in self.read:
                    self.value(value)

    def module(self, name: str) -> None:
        path = _path(name)
        if path is None or path in self.files:
            return
        self.files.add(path)
        for statement in _tree(name).body:
            if not isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.If):
                self.code(name, statement)

    def name(self, module: str, name: str) -> None:
        if (module, name) in self.seen:
            return
        self.seen.add((module, name))
        for statement in _tree(module).body:
            if isinstance(statement, ast.FunctionDef | ast.ClassDef) and statement.name == name:
                self.code(module, statement)

    def value(self, value: ast.expr) -> None:
        if isinstance(value, ast.Name):
            self.name(self.problem, value.id)
        elif isinstance(value, ast.Constant) and isinstance(value.value, str):
            self.module(value.value)

    def code(self, module: str, code: ast.stmt) -> None:
        known = _imports(_tree(module)) | _imports(code)
        for target, _ in _imports(code).values():
            self.module(target)
        for node in ast.walk(code):
            if isinstance(node, ast.Name) and not _is_problem(code):
                self.name(*known.get(node.id, (module, node.id)))
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                target, name = known.get(node.value.id, ("", ""))
                if node.value.id == "params":
                    self.sections.add(node.attr)
                elif target and not name:
                    self.name(target, node.attr)
                else:
                    self.read.add(node.attr)


def _path(module: str) -> str | None:
    path = ROOT / "src" / f"{module.replace('.', '/')}.py"
    return path.relative_to(ROOT).as_posix() if path.exists() else None


def _module(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


def _tree(module: str) -> ast.Module:
    path = _path(module)
    return ast.parse(text(ROOT / path) if path else "")


def _imports(code: ast.AST) -> dict[str, tuple[str, str]]:
    """First-party imports by local name: (module, "") or (module, name in it); not those for types only."""
    found = {}
    nodes = code.body if isinstance(code, ast.Module) else list(ast.walk(code))
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {(a.asname or a.name): (a.name, "") for a in node.names if _path(a.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for a in node.names:
                whole = _path(f"{node.module}.{a.name}")
                if whole or _path(node.module):
                    found[a.asname or a.name] = (
                        (f"{node.module}.{a.name}", "") if whole else (node.module, a.name)
                    )
    return found


def _is_problem(code: ast.AST) -> bool:
    """`PROBLEM = Problem(…)` names every function of the problem; only those that are read count."""
    return isinstance(code, ast.Assign) and any(
        isinstance(t, ast.Name) and t.id == "PROBLEM" for t in code.targets
    )


def _fields(module: str) -> dict[str, ast.expr]:
    call = next(s.value for s in _tree(module).body if _is_problem(s))  # type: ignore[attr-defined]
    return {keyword.arg: keyword.value for keyword in call.keywords}


PROBLEM = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))["problem"]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_depends_on_all_code_it_reaches(stage: str) -> None:
    assert Reach(stage, PROBLEM).files - set(STAGES[stage]["deps"]) == set()


@pytest.mark.parametrize("stage", STAGES)
def test_stage_declares_all_params_it_reads(stage: str) -> None:
    declared = {str(key).split(".")[0] for key in STAGES[stage]["params"]}
    assert Reach(stage, PROBLEM).sections - declared == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_and_deps_exist(stage: str) -> None:
    params = YAML(typ="safe").load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key in STAGES[stage]["params"]:
        place = params
        for part in key.split("."):
            assert part in place, f"{key} is not in params.yaml"
            place = place[part]
    assert [
        dep for dep in STAGES[stage]["deps"] if dep.startswith("src/") and not (ROOT / dep).exists()
    ] == []


def test_reach_sees_lazy_imports_and_params() -> None:
    reach = Reach("ingest", "flights")
    assert {"src/flights/ingest.py", "src/slipway/contract.py", "src/slipway/files.py"} <= reach.files
    assert "src/flights/features.py" not in reach.files
    assert {"problem", "data", "ingest"} <= reach.sections


# Seams


def test_machinery_never_names_the_problem() -> None:
    problems = {path.name for path in (ROOT / "src").iterdir() if path.is_dir()} - {"slipway"}
    for path in MODULES.values():
        for node in ast.walk(ast.parse(text(path))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & problems, f"{path.name} imports the problem"


def test_only_config_reads_the_environment() -> None:
    for name, path in MODULES.items():
        reads = [
            n
            for n in ast.walk(ast.parse(text(path)))
            if isinstance(n, ast.Attribute) and n.attr in ("environ", "getenv")
        ]
        assert name == "config" or not reads, f"{name} reads the environment"


@pytest.mark.parametrize(
    "path", [*MODULES.values(), *(ROOT / "src").glob("*/*.py")], ids=lambda p: f"{p.parent.name}.{p.stem}"
)
def test_modules_stay_short(path: Path) -> None:
    assert len(text(path).splitlines()) <= 250


# Verbs and locks


def test_makefile_has_few_verbs_that_describe_themselves() -> None:
    assert 0 < len(targets()) <= 12
    assert [name for name, words in targets().items() if not words] == []


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.stem)
def test_lock_is_hashed_and_names_no_index(lock: Path) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", text(lock), flags=re.M | re.I)
    assert blocks[0] == ""
    assert [
        block.split()[0] for block in blocks[1:] if not re.search(r"--hash=sha256:[0-9a-f]{64}", block)
    ] == []
    assert (
        re.findall(
            r"^\s*-[-\w].*$|://|file:|#.*\s/\S+", re.sub(r"^    --hash=.*$", "", text(lock), flags=re.M), re.M
        )
        == []
    )


def test_locks_agree_with_each_other() -> None:
    pins = {lock.stem: dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text(lock), re.M | re.I)) for lock in LOCKS}
    assert set(pins) == {"dev", "load", "pipeline", "serve"}
    for name in set(pins) - {"dev"}:
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
        if path.parent == ROOT and path.name not in ("LICENSE", "dvc.lock") and path.suffix != ".json":
            words = [line for line in text(path).splitlines() if line.strip()][:2]
            assert words and words[0].startswith(("#", "<!--", '"""')), f"{path.name} opens without a comment"
            assert len(" ".join(words if path.suffix == ".md" else words[:1]).split()) >= 5, (
                f"{path.name} does not say what it is for"
            )


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
        assert [host for host in hosts if host in said] == [], (
            f"{path.relative_to(ROOT)} names a package index"
        )


# The README is true


README = text(ROOT / "README.md")
CODE = [
    part
    for fenced, inline in re.findall(r"```\w*\n(.*?)```|`([^`\n]+)`", README, re.S)
    for part in (fenced or inline).splitlines()
]


def test_readme_is_short() -> None:
    assert 20 <= len(README.splitlines()) <= 200


def test_readme_commands_exist() -> None:
    said = [
        (word, verb) for line in CODE for word, verb in re.findall(r"\b(make|slipway) ([a-z][a-z-]*)", line)
    ]
    assert said
    assert [
        f"{word} {verb}" for word, verb in said if verb not in (targets() if word == "make" else VERBS)
    ] == []


def test_readme_paths_exist() -> None:
    paths = {
        part.rstrip("/") for line in CODE for part in re.findall(r"(?<![\w/:.<>-])[\w.-]+/[\w./-]*", line)
    }
    wrong = [path for path in sorted(paths) if not (ROOT / path).exists() and not GENERATED.match(path)]
    assert [path for path in wrong if Path(path).parts[0] in {p.name for p in ROOT.iterdir()}] == []
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
