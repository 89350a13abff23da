"""A repository of the bikes problem with the project's own workflows, and act to run them for the events GitHub would send.

What act cannot bring (the third-party actions) is in support/actions, and really does its work: a clone of the event's
commit, caches, artifacts. GitHub's API is tests/machinery/support/fake_github.py. Nothing is written outside the given folder.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from slipway.core import git, ledger
from support import committed_project
from support.paths import ACTIONS, ROOT

REPOSITORY = "octo/bikes"
READING = "ghs_may_only_read"
WORKFLOWS = {"push": "check", "pull_request": "check", "workflow_run": "comment", "status": "promote",
             "workflow_dispatch": "promote"}  # fmt: skip
"""The workflow that an event starts, where several would do."""
GROUPS = ("dev", "pipeline", "serve", "load", "extra-s3", "extra-evidently")
PYPROJECT = """\
# What the bikes project is made of; its environment is given, so no group names a package.
[project]
name = "bikes"
version = "0.1.0"
requires-python = ">=3.11"

[dependency-groups]
dev = []
pipeline = []
serve = []
load = []
extra-s3 = []
extra-evidently = []

[tool.ruff]
line-length = 120
extend-exclude = ["src/slipway"]

[tool.mypy]
files = ["src/bikes"]
follow_imports = "skip"
ignore_missing_imports = true

[tool.importlinter]
root_package = "bikes"

[[tool.importlinter.contracts]]
name = "The model does not read sources"
type = "forbidden"
source_modules = ["bikes.model"]
forbidden_modules = ["bikes.ingest"]

[tool.pytest.ini_options]
addopts = "--strict-markers"
markers = ["cluster: none here", "act: none here"]
pythonpath = ["src"]
testpaths = ["tests"]

[tool.coverage.run]
source_pkgs = ["bikes"]
parallel = true
"""
LINT_IMPORTS = """\
#!/bin/sh
exec "$(dirname "$0")/python" -c "from importlinter.cli import lint_imports_command; lint_imports_command()" "$@"
"""
TESTS = {
    "machinery/template/test_repository": """\
        from pathlib import Path


        def test_readme_names_a_file_that_is_there() -> None:
            assert Path(Path("README.md").read_text().split("`")[1]).exists()
        """,
    "machinery/template/test_names": """\
        def test_nothing_has_an_old_name() -> None:
            assert True
        """,
    "machinery/template/test_plain_english": """\
        def test_nothing_is_hard_to_read() -> None:
            assert True
        """,
    "machinery/template/test_fix_pages": """\
        def test_no_page_is_missing() -> None:
            assert True
        """,
    "machinery/template/test_stages": """\
        def test_nothing_is_staged() -> None:
            assert True
        """,
    "machinery/template/test_workflows": """\
        from pathlib import Path


        def test_there_are_workflows() -> None:
            assert list(Path(".github/workflows").glob("*.yml"))
        """,
    "machinery/template/test_manifests_written": """\
        from pathlib import Path


        def test_there_are_overlays() -> None:
            assert list(Path("k8s/overlays").glob("*/kustomization.yaml"))
        """,
    "project/test_bikes": """\
        from bikes import problem


        def test_problem_has_its_name() -> None:
            assert problem.PROBLEM.name == "bikes"
        """,
}
"""By their place below tests: those that `make check` runs, and the project's own."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run: `results` by job, act's output as `said`, the stubs' `log`, the artifact's bytes, the step summary."""

    folder: Path
    results: Mapping[str, str]
    said: str
    log: list[str]
    artifact: bytes | None
    summary: str
    seconds: float


@dataclass
class Project:
    """A finished repository in `folder`: `work` is the developer's clone, `remote` what GitHub has."""

    folder: Path
    runs: int = 0

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    def git(self, *args: str) -> str:
        return git.run(*args, root=self.work)

    def make(self, *words: str) -> None:
        """A verb, as the developer types it."""
        done = subprocess.run(
            ["make", *words], cwd=self.work, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def commit(self, title: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", title)
        return git.commit_hash(root=self.work)

    def edit(self, name: str, was: str, becomes: str) -> None:
        path = self.work / name
        text = path.read_text(encoding="utf-8")
        assert was in text, f"{name} has no {was!r}"
        path.write_text(text.replace(was, becomes), encoding="utf-8")

    def branch(self, name: str, *, at: str = "main") -> None:
        """A new branch, with nothing left of another."""
        self.git("checkout", "-q", "-f", "-B", name, at)

    def propose(self, number: int) -> str:
        """Push the branch as a pull request; GitHub makes the merge commit, whose hash this is."""
        head = git.commit_hash(root=self.work)
        self.git("checkout", "-q", "--detach", "main")
        self.git("merge", "-q", "--no-ff", "-m", f"Merge {head} into main", head)
        merged = git.commit_hash(root=self.work)
        self.git("push", "-q", "-f", "origin", f"{head}:refs/pull/{number}/head", f"{merged}:refs/pull/{number}/merge")
        return merged

    def advance(self, title: str) -> None:
        """A commit on main that somebody else pushed."""
        self.git("checkout", "-q", "main")
        self.commit(title)
        self.git("push", "-q", "origin", "main")

    def run(
        self,
        event: str,
        payload: Mapping[str, Any],
        *,
        at: str,
        workflow: str = "",
        job: str = "",
        inline: bool = False,
        token: str = READING,
        variables: Mapping[str, str] | None = None,
        **env: str,
    ) -> Ran:
        """A workflow of `event` (or one `job` of it), as it is at the commit `at`, on that commit; `inline` as in `inlined`.

        `variables` are those of the repository's settings.
        """
        self.runs += 1
        here = self.folder / f"run-{self.runs}"
        checkout = self._clone(here, at)
        if inline:
            inlined(checkout / ".github/workflows")
        (here / "event.json").write_text(json.dumps(payload), encoding="utf-8")
        given = {
            "GITHUB_REPOSITORY": REPOSITORY, "GITHUB_RUN_ID": str(90 + self.runs), "STUB_REMOTE": str(self.remote),
            "STUB_CACHE": str(self.folder / "cache"), "STUB_LOG": str(here / "log"), "STUB_PYTHON": sys.executable,
            "STUB_ARTIFACTS": str(here / "artifacts"), "PATH": os.environ["PATH"], "TMPDIR": str(here / "tmp"),
            "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "TERM": "dumb", **env,
        }  # fmt: skip
        command = [
            str(Path(sys.executable).parent / "act"), event, "-C", str(checkout), "--eventpath", str(here / "event.json"),
            "-W", f".github/workflows/{workflow or WORKFLOWS[event]}.yml", *(("-j", job) if job else ()),
            "-P", "ubuntu-latest=-self-hosted", "--json", "--no-skip-checkout", "--no-cache-server",
            "--action-offline-mode", "--action-cache-path", str(here / "act"), "--pull=false", "-s", f"GITHUB_TOKEN={token}",
            *(word for name, value in given.items() for word in ("--env", f"{name}={value}")), *stubs(checkout),
            *(word for name, value in (variables or {}).items() for word in ("--var", f"{name}={value}")),
        ]  # fmt: skip
        started = time.monotonic()
        done = subprocess.run(command, cwd=here, env=environment(home=here), capture_output=True, text=True, check=False,
                              timeout=900)  # fmt: skip
        return read(here, done.stdout, done.stderr, time.monotonic() - started)

    def _clone(self, here: Path, at: str) -> Path:
        """A checkout of a commit, and the folders of a run beside it."""
        for name in ("artifacts", "act", "tmp"):
            (here / name).mkdir(parents=True)
        (here / "log").touch()
        git.run("clone", "-q", "--no-checkout", "--shared", str(self.remote), "checkout", root=here)
        git.run("fetch", "-q", "origin", at, root=here / "checkout")
        git.run("checkout", "-q", "--detach", "FETCH_HEAD", root=here / "checkout")
        return here / "checkout"


def read(here: Path, said: str, errors: str, seconds: float) -> Ran:
    """Read a run's results from its folder and act's output."""
    (here / "said").write_text(said + errors, encoding="utf-8")
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    zipped = here / "artifacts/report.zip"
    return Ran(
        folder=here,
        results={row["jobID"]: row["jobResult"] for row in rows if "jobResult" in row},
        said="".join(f"{row.get('jobID', '')}| {row['msg'].rstrip()}\n" for row in rows) + errors,
        log=(here / "log").read_text(encoding="utf-8").splitlines(),
        artifact=zipped.read_bytes() if zipped.exists() else None,
        summary="".join(row["content"] for row in rows if row.get("command") == "summary"),
        seconds=seconds,
    )


def inlined(workflows: Path) -> None:
    """Put the job of model.yml into check.yml, for what act runs.

    When a called workflow fails, act stops at once and never comes to `ok`; GitHub gives the job the result `failure`.
    """
    yaml = YAML(typ="safe")
    check, model = (yaml.load(workflows / f"{name}.yml") for name in ("check", "model"))
    (called,) = model["jobs"].values()
    caller = check["jobs"]["model"]
    assert caller.pop("uses") == "./.github/workflows/model.yml"
    check["jobs"]["model"] = called | caller
    yaml.dump(check, workflows / "check.yml")


def stubs(checkout: Path) -> list[str]:
    """act's options that put a stub in the place of each action the workflows pin."""
    texts = [path.read_text("utf-8") for path in (checkout / ".github").rglob("*.yml")]
    pins = sorted({pin for text in texts for pin in re.findall(r"uses: *(actions/[\w/-]+@\w+)", text)})
    found = {}
    for pin in pins:
        name, ref = pin.split("@")
        found["/".join(name.split("/")[:2]) + f"@{ref}"] = ACTIONS / name.split("/")[1]
    return [word for pin, folder in found.items() for word in ("--local-repository", f"{pin}={folder}")]


def environment(*, home: Path | None = None) -> dict[str, str]:
    """This machine's, without what tests, an outer make or an outer workflow have set."""
    drop = re.compile(
        r"^(MAKE|MFLAGS|PYTHON|GITHUB_|ACTIONS_|COV_|COVERAGE_|VIRTUAL_ENV|(CI|ARGS|BASE|NAME|ONLY)$|PYTEST)"
    )
    kept = {name: value for name, value in os.environ.items() if not drop.match(name)}
    homes = {"XDG_CONFIG_HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")} if home else {}
    return kept | homes | {"OMP_NUM_THREADS": "1"}


def project(folder: Path) -> Project:
    """A reproduced repository whose main is pushed, its environment in the cache as main would have saved it."""
    made = Project(folder)
    made.work.mkdir()
    committed_project.repository(made.work)
    for name in (".github", ".ci", "k8s"):
        shutil.copytree(ROOT / name, made.work / name)
    shutil.copy(ROOT / "Makefile", made.work / "Makefile")
    (made.work / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (made.work / "README.md").write_text("# Bikes\n\nThe numbers are in `params.yaml`.\n", encoding="utf-8")
    (made.work / "docs").mkdir()
    for name, text in TESTS.items():
        lines = [line.removeprefix("        ") for line in text.splitlines(keepends=True)]
        path = made.work / f"tests/{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), encoding="utf-8")
    for group in GROUPS:
        (made.work / f"requirements/{group}.lock").write_text("", encoding="utf-8")
    venv(made.work / ".venv", made.work / "requirements/dev.lock")
    venv(folder / "cache/venv/content", made.work / "requirements/dev.lock")
    made.make("lock", "repro")
    source = made.commit("Everything, reproduced")
    ledger.append(released(source), made.work)
    made.commit("Release it: this is what production runs")
    git.run("init", "-q", "--bare", "-b", "main", str(made.remote), root=folder)
    for key in ("uploadpack.allowAnySHA1InWant", "uploadpack.allowReachableSHA1InWant"):
        git.run("config", key, "true", root=made.remote)
    made.git("remote", "add", "origin", str(made.remote))
    made.git("push", "-q", "origin", "main")
    return made


def copied(first: Project, folder: Path) -> Project:
    """Another project like a finished one; their environments are hard links of one."""
    here = shutil.ignore_patterns(".venv", "venv")
    made = Project(shutil.copytree(first.folder, folder / "project", symlinks=True, ignore=here))
    for name in ("work/.venv", "cache/venv"):
        subprocess.run(["cp", "-al", str(first.folder / name), str(made.folder / name)], check=True)
    made.git("remote", "set-url", "origin", str(made.remote))
    return made


def released(commit: str) -> ledger.Line:
    """Production's line for the model of a commit."""
    words = {"env": "production", "action": "promote", "bento": "bikes:1", "commit": commit}
    hashes = dict.fromkeys(("bento_sha256", "model_sha256", "lock_sha256", "data_sha256"), "0" * 64)
    blank = dict.fromkeys(("image", "pull_request", "mlflow_run", "evidence", "supersedes"))
    rest = {"at": "2026-03-01T12:00:00Z", "metrics": {}, "verdicts": {"judge": "pass"}}
    return ledger.Line.model_validate(words | hashes | blank | rest)


def venv(folder: Path, lock: Path) -> None:
    """This environment as hard links (on another disk a copy), with the code of the project it lies in, set up by `lock`."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    near = folder.parent.stat().st_dev == Path(sys.prefix).stat().st_dev
    subprocess.run(["cp", "-al" if near else "-a", sys.prefix, str(folder)], check=True)
    (pointer,) = folder.glob("lib/python3*/site-packages/slipway.pth")
    pointer.unlink()  # a new file: the old one is also the real environment's
    pointer.write_text("../../../../src\n", encoding="utf-8")
    script = (
        folder / "bin/lint-imports"
    )  # its first line names the real environment's interpreter, which knows no bikes
    script.unlink()
    script.write_text(LINT_IMPORTS, encoding="utf-8")
    script.chmod(0o755)
    (folder / "ready").unlink(missing_ok=True)
    shutil.copy(lock, folder / "ready")
