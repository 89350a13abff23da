from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import files, git, ledger
from slipway.delivery import gitops_commit, policy_rules, release, rollback
from slipway.errors import CheckFailed, ConfigError, DataError
from slipway.packaging import image, registry
from support import fake_registry, remote_repository
from support.executables import write_script
from support.packaged_project import BENTO, packaged, record  # noqa: F401
from support.paths import ROOT, SUPPORT
from support.sample_ledger import line as ledger_line
from support.sample_ledger import repository  # noqa: F401

BIKES = ROOT / "tests/machinery/problems/bikes/params.yaml"
PASSED = dict.fromkeys(policy_rules.REQUIRED_VERDICTS, "pass")


def line(**changes: object) -> ledger.Line:
    values = {"env": "staging", "at": datetime(2026, 3, 9, tzinfo=UTC), "bento": BENTO, "commit": "c", "before": None,
              "metrics": {"auc": 0.7, "rows": 5}, "verdicts": PASSED, "run": None,
              "hashes": {"lock_sha256": "l", "data_sha256": "d"}} | changes  # fmt: skip
    return release.make_line(**values)  # type: ignore[arg-type]


def test_release_writes_one_line_in_one_commit(packaged, params):
    source = git.commit_hash(root=packaged)
    assert release.run(params, root=packaged) == "bikes:1 to staging: committed on this branch"
    assert git.run("show", "--name-only", "--format=%s", "HEAD", root=packaged).split("\n\n") == [
        "Release bikes:1 to staging",
        "releases/staging.jsonl",
    ]
    found = ledger.read("staging", packaged)[-1]
    assert (found.commit, found.pull_request, found.image, found.metrics) == (source, 12, None, {"auc": 0.7})


def test_restarted_comparison_is_in_the_line(packaged, params):
    path = packaged / "reports/judge.json"
    files.write_json(path, files.read_json(path) | {"notes": {"restart_at": "a" * 40}})
    release.run(params, root=packaged)
    assert ledger.read("staging", packaged)[-1].restart_at == "a" * 40


def test_proof_of_another_commit_releases_nothing(packaged, params):
    (packaged / "README.md").write_text("words")
    git.run("add", "README.md", root=packaged)
    git.run("commit", "-q", "-m", "Words", root=packaged)
    with pytest.raises(
        DataError, match=r"prove\.json is about commit \w{12}, and other files changed since \(1, such as README\.md\)"
    ):
        release.run(params, root=packaged)
    record(packaged, "prove", inputs={"commit": git.commit_hash(root=packaged)})
    ledger.append(ledger_line(1), packaged)  # what the ledgers say is no part of it
    git.run("add", "releases", root=packaged)
    git.run("commit", "-q", "-m", "Release", root=packaged)
    release.require_proof(packaged)


def test_second_release_of_the_same_bento_does_nothing(packaged, params):
    release.run(params, root=packaged)
    before = git.commit_hash(root=packaged)
    assert "nothing to release" in release.run(params, root=packaged)
    assert git.commit_hash(root=packaged) == before


@pytest.mark.parametrize("chapter", policy_rules.REQUIRED_VERDICTS)
@pytest.mark.parametrize("word", ["fail", "unsure", None])
def test_anything_but_a_pass_is_not_released(chapter, word):
    verdicts = PASSED | {chapter: word} if word else {k: v for k, v in PASSED.items() if k != chapter}
    with pytest.raises(CheckFailed, match=f"verdict of {chapter} is {word or 'missing'}; expected: pass"):
        release.require_verdicts_and_newer(line(verdicts=verdicts), [], root=Path())


def test_older_commit_is_not_released(repository):
    new, old = git.commit_hash("HEAD", root=repository), git.commit_hash("HEAD~1", root=repository)
    with pytest.raises(CheckFailed, match="is not a descendant of"):
        release.require_verdicts_and_newer(
            line(commit=old), [ledger_line(1, env="staging", commit=new)], root=repository
        )


def test_bytes_changed_after_judging_are_refused(packaged, params):
    record(packaged, "judge", inputs={"challenger": "other"})
    with pytest.raises(DataError, match="the judged model is other"):
        release.run(params, root=packaged)
    assert ledger.read("staging", packaged) == []


def test_uncommitted_change_stops_a_release(packaged, params):
    (packaged / "dvc.lock").write_text("changed")
    with pytest.raises(ConfigError, match=r"1 file has uncommitted changes: dvc\.lock"):
        release.run(params, root=packaged)


def test_unknown_author_stops_a_release(packaged, params):
    git.run("config", "user.name", "", root=packaged)
    with pytest.raises(ConfigError, match="Git has no user name and email for commits"):
        release.run(params, root=packaged)


def test_run_is_quoted_only_for_its_own_lock(packaged):
    (packaged / "reports/track.json").write_text(json.dumps({"run": "r1", "lock_sha256": "l1"}))
    assert release.mlflow_run("l1", packaged) == "r1"
    assert release.mlflow_run("l2", packaged) is None


# The image, and the overlay that pins it


@pytest.fixture
def imaged(packaged: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same with a remote, an overlay, a Dockerfile, and the bento's image pushed."""
    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    for name, words in (("Dockerfile", "FROM a"), (".gitignore", ".slipway/"), ("README.md", "# words")):
        (packaged / name).write_text(words)
    file = kustomization.path("staging", packaged)
    file.parent.mkdir(parents=True)
    file.write_text(remote_repository.OVERLAY.format(env="staging", zero=remote_repository.ZERO))
    git.run("add", "Dockerfile", ".gitignore", "README.md", "k8s", root=packaged)
    git.run("commit", "-q", "-m", "An overlay (#13)", root=packaged)
    git.run("init", "-q", "--bare", "-b", "main", str(packaged.parent / "remote.git"), root=packaged)
    git.run("remote", "add", "origin", str(packaged.parent / "remote.git"), root=packaged)
    git.run("push", "-q", "origin", "main", root=packaged)
    record(packaged, "prove", inputs={"commit": git.commit_hash(root=packaged)})
    pushed(packaged, IMAGE)
    return packaged


IMAGE = f"{remote_repository.IMAGE}@{remote_repository.digest(1)}"


def pushed(folder: Path, image: str, bento: str = "b1") -> None:
    made = {"image": image, "bento": "bikes:1", "bento_sha256": bento, "commit": git.commit_hash(root=folder)}
    (folder / "reports/image.json").write_text(json.dumps(made))


def another(folder: Path, bento: str, image: str | None = None) -> None:
    """The next source commit's bento, judged, packaged and built."""
    record(
        folder,
        "package",
        notes=BENTO | {"bento_sha256": bento, "model_sha256": files.sha256(folder / "models/model.onnx")},
    )
    record(folder, "prove", inputs={"commit": git.commit_hash(root=folder)})
    pushed(folder, image or f"{remote_repository.IMAGE}@{remote_repository.digest(2)}", bento)


def commit(folder: Path, name: str, words: str, title: str = "A change") -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(words)
    git.run("add", "--", name, root=folder)
    git.run("commit", "-q", "-m", title, root=folder)
    git.run("push", "-q", "origin", "HEAD:main", root=folder)
    return git.commit_hash(root=folder)


def update(folder: Path) -> str:
    """As the workflow that a bump starts would check it out."""
    git.run("pull", "-q", "--ff-only", "origin", "main", root=folder)
    return git.commit_hash(root=folder)


def pinned(folder: Path, revision: str = "HEAD") -> str:
    found = kustomization.pinned_at("staging", revision, folder)
    assert found
    return found.image


def test_image_of_another_commit_is_refused(imaged, params):
    old = git.commit_hash(root=imaged)
    new = commit(imaged, "README.md", "other words")
    record(imaged, "prove", inputs={"commit": new})
    with pytest.raises(DataError, match=rf"the image was built from commit {old[:12]}; expected: {new[:12]}"):
        release.run(params, push=True, root=imaged)
    assert not ledger.read("staging", imaged)


def test_pushed_release_moves_one_line_of_one_overlay(imaged, params):
    source = git.commit_hash(root=imaged)
    said = release.run(params, push=True, root=imaged)
    assert git.commit_hash(root=imaged) == source
    assert said == f"bikes:1 to staging: pushed to main as {update(imaged)[:12]}"
    assert pinned(imaged) == IMAGE
    (found,) = ledger.read("staging", imaged)
    assert (found.image, found.identity, found.commit, found.pull_request) == (IMAGE, IMAGE, source, 13)
    rows = git.run("diff", "--numstat", "HEAD~1", "HEAD", root=imaged).splitlines()
    assert rows == ["1\t1\tk8s/overlays/staging/kustomization.yaml", "1\t0\treleases/staging.jsonl"]


def test_release_here_bumps_the_overlay_too(imaged, params):
    assert release.run(params, root=imaged) == "bikes:1 to staging: committed on this branch"
    assert pinned(imaged) == IMAGE


def test_the_bumps_own_push_releases_nothing(imaged, params):
    release.run(params, push=True, root=imaged)
    tip = update(imaged)
    assert "staging already has bikes:1: nothing to release" in str(release.reason_to_skip(imaged))
    record(imaged, "prove", inputs={"commit": tip})
    another(imaged, "rebuilt to other bytes")  # whatever was built anew, and whoever pushed
    assert release.run(params, push=True, root=imaged) == "staging already has bikes:1: nothing to release"
    assert update(imaged) == tip


def test_prose_releases_nothing_and_code_does(imaged, params):
    release.run(params, push=True, root=imaged)
    update(imaged)
    for name in ("README.md", "docs/a.svg", ".github/help.md", "LICENSE"):
        commit(imaged, name, "better words")
    assert release.reason_to_skip(imaged)
    commit(imaged, "src/README.md", "a template, perhaps")
    assert release.reason_to_skip(imaged) is None


def test_due_after_a_release_that_failed(imaged):
    commit(imaged, "src/a.py", "1")
    commit(imaged, "README.md", "words")
    assert release.reason_to_skip(imaged) is None


def test_same_bento_of_a_newer_commit_is_not_released_again(imaged, params):
    release.run(params, push=True, root=imaged)
    update(imaged)
    tip = commit(imaged, "tests/test_a.py", "1")
    another(imaged, "b1")
    assert release.reason_to_skip(imaged) is None
    assert release.run(params, push=True, root=imaged) == "staging already has bikes:1: nothing to release"
    assert update(imaged) == tip


@pytest.mark.parametrize("name", release.RECIPE)
def test_same_bento_by_another_recipe_is_released(imaged, params, name):
    release.run(params, push=True, root=imaged)
    update(imaged)
    commit(imaged, name, "FROM another")
    another(imaged, "b1")
    assert release.run(params, push=True, root=imaged).startswith("bikes:1 to staging: pushed")
    update(imaged)
    assert pinned(imaged) == f"{remote_repository.IMAGE}@{remote_repository.digest(2)}"
    assert [line.supersedes for line in ledger.read("staging", imaged)] == [None, IMAGE]


def test_image_of_another_bento_is_not_this_releases(imaged, params):
    pushed(imaged, IMAGE, bento="b0")
    with pytest.raises(DataError, match="bikes:1 has no image, so no cluster can run it") as error:
        release.run(params, push=True, root=imaged)
    assert error.value.hint == "slipway image"
    release.run(params, root=imaged)
    assert ledger.read("staging", imaged)[-1].image is None
    assert pinned(imaged).endswith(remote_repository.ZERO)


@pytest.mark.parametrize(
    "image",
    [
        f"ghcr.io/mallory/bikes@{remote_repository.digest(1)}",
        f"{remote_repository.IMAGE}-gate@{remote_repository.digest(1)}",
    ],
)
@pytest.mark.parametrize("push", [True, False])
def test_image_of_a_foreign_repository_is_refused(imaged, params, image, push):
    pushed(imaged, image)
    with pytest.raises(
        CheckFailed, match=rf"release: the image is {image}; expected: an image of registry.example.org/bikes"
    ):
        release.run(params, push=push, root=imaged)
    assert pinned(imaged, "origin/main").endswith(remote_repository.ZERO)


def test_image_without_an_overlay_is_refused(imaged, params):
    git.run("rm", "-q", "-r", "k8s", root=imaged)
    git.run("commit", "-q", "-m", "Gone", root=imaged)
    git.run("push", "-q", "origin", "main", root=imaged)
    record(imaged, "prove", inputs={"commit": git.commit_hash(root=imaged)})
    pushed(imaged, IMAGE)
    with pytest.raises(CheckFailed, match="expected: an image of staging's overlay, which does not exist"):
        release.run(params, push=True, root=imaged)


def test_what_was_never_merged_is_not_released(imaged, params):
    (imaged / "a.py").write_text("1")
    git.run("add", "a.py", root=imaged)
    git.run("commit", "-q", "-m", "Mine alone", root=imaged)
    record(imaged, "prove", inputs={"commit": git.commit_hash(root=imaged)})
    with pytest.raises(CheckFailed, match=r"release: commit \w{12} is not on main, whose tip is \w{12}"):
        release.run(params, push=True, root=imaged)


def test_a_newer_release_that_came_first_stands(imaged, params):
    other = remote_repository.clone(imaged.parent / "remote.git", imaged.parent / "other")
    newer = remote_repository.advance(other)
    make = remote_repository.maker(2, commit=newer)
    gitops_commit.commit_line("staging", make, title="Newer", push=True, params=params, root=other)
    with pytest.raises(CheckFailed, match=rf"is not a descendant of {newer[:12]}, which staging already ran"):
        release.run(params, push=True, root=imaged)
    assert pinned(imaged, "origin/main").endswith(remote_repository.digest(2))


def test_an_unmerged_bump_of_another_run_is_rebuilt_upon(imaged, params):
    other = remote_repository.clone(imaged.parent / "remote.git", imaged.parent / "other")
    make = remote_repository.maker(9, env="production", commit="c", image=None)
    gitops_commit.commit_line("production", make, title="Production meanwhile", push=True, params=params, root=other)
    release.run(params, push=True, root=imaged)
    update(imaged)
    assert (pinned(imaged), len(ledger.read("production", imaged))) == (IMAGE, 1)


def test_what_was_rolled_back_is_not_released_again(imaged, params):
    release.run(params, push=True, root=imaged)
    update(imaged)
    commit(imaged, "src/a.py", "a bad idea")
    another(imaged, "b2")
    release.run(params, push=True, root=imaged)
    update(imaged)
    rollback.run(params, env="staging", reason="it was bad", push=True, root=imaged)
    update(imaged)
    assert pinned(imaged) == IMAGE
    another(imaged, "b2")
    sentence = "staging already ran bikes:1 of this source, and runs bikes:1 now: nothing to release"
    assert release.reason_to_skip(imaged) == release.run(params, push=True, root=imaged) == sentence
    commit(imaged, "src/b.py", "what made it bad is mended")
    another(imaged, "b2", f"{remote_repository.IMAGE}@{remote_repository.digest(3)}")
    release.run(params, push=True, root=imaged)
    update(imaged)
    assert pinned(imaged).endswith(remote_repository.digest(3))


def test_due_says_when_no_registry_is_configured(imaged):
    file = kustomization.path("staging", imaged)
    file.write_text(file.read_text().replace("registry.example.org", "localhost:5000"))
    assert str(release.reason_to_skip(imaged)).startswith(
        "skipped, because no registry is configured: staging's overlay takes images from localhost:5000/bikes."
    )
    file.write_text(file.read_text().replace("localhost:5000", "127.0.0.1:5000"))
    assert release.reason_to_skip(imaged) is None
    file.unlink()
    assert str(release.reason_to_skip(imaged)).startswith(
        "skipped, because no registry is configured: staging has no overlay."
    )


def test_due_tells_later_jobs_and_people(imaged, cli, monkeypatch):
    monkeypatch.setenv("GITHUB_OUTPUT", str(imaged / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(imaged / "summary"))
    file = kustomization.path("staging", imaged)
    file.write_text(file.read_text().replace("registry.example.org", "localhost:5000"))
    said = cli(imaged, "release", "due")
    assert (said.returncode, said.stdout) == (0, "due=false\n")
    assert "no registry is configured" in said.stderr
    assert (imaged / "output").read_text() == "due=false\n"
    assert "no registry is configured" in (imaged / "summary").read_text()
    file.write_text(file.read_text().replace("localhost:5000", "registry.example.org"))
    assert cli(imaged, "release", "due").stdout == "due=true\n"
    assert (imaged / "output").read_text() == "due=false\ndue=true\n"
    assert (imaged / "summary").read_text().count("registry") == 1


def test_push_is_an_option_of_the_verb(imaged, cli):
    shutil.copy(BIKES, imaged / "params.yaml")
    said = cli(imaged, "release", "--push")
    assert (said.returncode, "pushed to main" in said.stderr) == (0, True), said.stderr


# The gate's image


@pytest.fixture
def gated(imaged: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same with what the gate is made of, a registry, and a program that builds."""
    for name in ("Dockerfile", "src/slipway", "loadtests", "requirements/load.lock"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (imaged / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, imaged / name)
    builder = imaged.parent / "builder"
    write_script(builder, f'exec {shlex.join([sys.executable, str(SUPPORT / "fake_image_builder.py")])} "$@"')
    monkeypatch.setenv("BUILD_IMAGE", str(builder))
    with fake_registry.server() as address:
        (imaged / image.GATE_KUSTOMIZATION).parent.mkdir(parents=True)
        text = f"images:\n  - name: gate\n    newName: {address}/gate\n    digest: {remote_repository.ZERO}\n"
        (imaged / image.GATE_KUSTOMIZATION).write_text(text)
        git.run("add", "-A", "Dockerfile", "src", "loadtests", "requirements", "k8s", root=imaged)
        git.run("commit", "-q", "-m", "A gate", root=imaged)
        git.run("push", "-q", "origin", "main", root=imaged)
        yield imaged


def test_gate_is_built_and_pinned_when_it_changed_and_only_then(gated, params):
    source = git.commit_hash(root=gated)
    said = release.gate(params, push=True, root=gated)
    assert said.startswith("load gate's image pinned to sha256:")
    assert "pushed to main" in said
    assert git.uncommitted_files(gated) == []
    update(gated)
    assert git.run("diff", "--name-only", source, "HEAD", root=gated) == image.GATE_KUSTOMIZATION.as_posix()
    pin = kustomization.read((gated / image.GATE_KUSTOMIZATION).read_text(), "gate")
    assert registry.exists(pin.image)
    assert release.gate(params, push=True, root=gated).startswith("the gate's image is up to date")
    assert source in release.commits_with_same_source(gated), "a pin is nothing to release"


def test_gate_is_pinned_here_without_a_push(gated, params):
    assert release.gate(params, root=gated).endswith(": committed on this branch")
    assert git.run("show", "--name-only", "--format=%s", "HEAD", root=gated).startswith("Pin the gate ")
    assert git.uncommitted_files(gated) == []
