"""Seconds of a pull request's verdict, measured as its workflow works; a limit that is missed ends in exit code 4.

    make bench NAME=review      about two minutes

Fresh clones on this machine: main with a released model, a branch that changes one stage, and their merge commit.
A cache is here what a workflow has restored; the time to download it from GitHub is not in these seconds.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline import ROOT, at_most, closing, guarded
from slipway.core import config, dvc, environment, files, git, ledger
from slipway.core.verdict import Check
from slipway.github import comment

sys.path.insert(0, str(ROOT / "tests/machinery"))
from support.fake_github import GitHub

CHANGE = {"train.estimators.boosting.max_iter": 149}


def clone_at(origin: Path, folder: Path, branch: str, cache: Path) -> Path:
    """A clone at `branch`, with DVC's cache as it was restored: a copy of `cache`."""
    git.run("clone", "-q", "-b", branch, str(origin), str(folder), root=origin.parent)
    for key, value in (
        ("user.name", "Bench"),
        ("user.email", "bench@slipway.invalid"),
        ("core.hooksPath", "/dev/null"),
    ):
        git.run("config", key, value, root=folder)
    shutil.copytree(cache, folder / ".dvc/cache")
    return folder


def run(folder: Path, *command: str) -> str:
    """Run a program in `folder`; its output."""
    done = subprocess.run(
        command, cwd=folder, env=environment.for_programs(folder), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout + done.stderr


def released(folder: Path) -> None:
    """Production runs the model of HEAD: a line in its ledger, committed."""
    line = {
        "at": ledger.now(), "env": "production", "action": "promote", "image": None, "bento": "flights:bench",
        "bento_sha256": "0" * 64, "model_sha256": "0" * 64, "lock_sha256": "0" * 64, "data_sha256": "0" * 64,
        "commit": git.commit_hash(root=folder), "pull_request": None, "mlflow_run": None, "metrics": {}, "verdicts": {},
        "evidence": None, "supersedes": None,
    }  # fmt: skip
    ledger.append(ledger.Line.model_validate(line), folder)
    git.run("add", "releases", root=folder)
    git.run("commit", "-q", "-m", "Release", root=folder)
    git.run("push", "-q", "origin", "main", root=folder)


def propose(folder: Path) -> None:
    """Change a parameter, `make repro`, commit and push, as a developer does on another machine."""
    git.run("checkout", "-q", "-b", "change", root=folder)
    config.set_values(folder / "params.yaml", CHANGE, hint="edit params.yaml")
    run(folder, sys.executable, "-m", "dvc", "repro", "-q")
    git.run("add", "params.yaml", "dvc.lock", "reports", root=folder)
    git.run("commit", "-q", "-m", "Train a little less", root=folder)
    git.run("push", "-q", "origin", "change", root=folder)


def merged(folder: Path) -> Path:
    """The merge commit that GitHub checks out for a pull request."""
    git.run("checkout", "-q", "--detach", "main", root=folder)
    git.run("merge", "-q", "--no-ff", "-m", "Merge change into main", "origin/change", root=folder)
    return folder


def timed(folder: Path, environment: Path, name: str, limit: float) -> list[Check]:
    """The work of model.yml in seconds, set-up included, and its parts; `environment` is the archive a cache holds."""
    started = time.perf_counter()
    run(folder, "tar", "-xf", str(environment))
    run(folder, "make", "setup")
    ready = time.perf_counter()
    said = run(folder, "make", "review", "BASE=HEAD^1")
    ended = time.perf_counter()
    parts = re.findall(r"^(prove|repro|judge|latency|report) .*\(([\d.]+) s\)$", said, re.M)
    return [
        at_most(f"{name}, seconds", ended - started, limit),
        at_most("  of it set-up, unpacking the cached environment", ready - started, None),
        *(at_most(f"  of it {word}", float(value), None) for word, value in parts),
    ]


def upsert(record: Path) -> list[Check]:
    """The comment from event to written, against a server on this machine that speaks GitHub's API; the slower of two."""
    params, taken = config.load(ROOT / "params.yaml"), []
    with GitHub() as github, tempfile.TemporaryDirectory() as name:
        pull = github.pull(7)
        for number in range(120):  # a long discussion: two pages of comments
            github.comment(7, f"comment {number}", author="somebody")
        for run_id in (90, 91):  # the first creates it, the second updates it
            github.artifact(run_id, "report", zipped(record, Path(name)))
            folder = Path(name) / str(run_id)
            folder.mkdir()
            env = github.environment(github.event(pull, run=run_id), folder)
            given = environment.Actions(
                event=Path(env["GITHUB_EVENT_PATH"]),
                repository=env["GITHUB_REPOSITORY"],
                api=env["GITHUB_API_URL"],
                server=env["GITHUB_SERVER_URL"],
                token=env["GITHUB_TOKEN"],
            )
            started = time.perf_counter()
            comment.run(params, actions=given)
            taken.append(time.perf_counter() - started)
        written = [body for body in github.bodies(7) if body.startswith("<!-- slipway:report")]
    assert len(written) == 1
    assert "run=91" in written[0]
    return [at_most("the comment, from event to written, seconds", max(taken), 1.0)]


def zipped(record: Path, folder: Path) -> bytes:
    """The artifact of a run."""
    (folder / "report").mkdir(exist_ok=True)
    shutil.copy(record, folder / "report/facts.json")
    return Path(shutil.make_archive(str(folder / "report"), "zip", folder / "report")).read_bytes()


def main() -> None:
    home, started = files.make_folder(environment.cache_home(ROOT)), time.monotonic()
    run(ROOT, sys.executable, "-m", "dvc", "repro", "-q")  # as main's own run leaves its cache
    with tempfile.TemporaryDirectory(dir=home, prefix="bench-") as name:
        folder, cache = Path(name), dvc.cache_folder(ROOT)
        origin = folder / "origin"
        git.run("clone", "-q", "--bare", str(ROOT), str(origin), root=folder)
        git.run("update-ref", "refs/heads/main", git.commit_hash(root=ROOT), root=origin)
        git.run("symbolic-ref", "HEAD", "refs/heads/main", root=origin)
        developer = clone_at(origin, folder / "developer", "main", cache)
        released(developer)
        propose(developer)
        first = merged(clone_at(origin, folder / "first", "main", cache))
        packed = folder / "environment.tar"
        run(ROOT, "tar", "-cf", str(packed), ".venv")
        found = timed(first, packed, "pull request, one stage changed", 60)
        again = merged(clone_at(origin, folder / "again", "main", first / ".dvc/cache"))
        found += timed(again, packed, "pull request, everything cached", 20)
        found += upsert(first / "reports/facts.json")
    closing("review", found, time.monotonic() - started)


if __name__ == "__main__":
    guarded(main)
