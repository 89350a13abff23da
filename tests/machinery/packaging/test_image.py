"""Images of the bento and of the gate: their content, labels and record."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, files, git
from slipway.errors import ConfigError, DataError
from slipway.packaging import image, package
from slipway.packaging import registry as registry_client
from support import committed_project, fake_container_tool, fake_registry
from support.paths import ROOT

STAGING = "k8s/overlays/staging/kustomization.yaml"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_registry.Registry]:
    for name in ("BUILD_IMAGE", "REGISTRY_USER", "REGISTRY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with fake_registry.Registry() as server:
        yield server


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs are the only ones in reach, but for Git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture(scope="module")
def template(bento: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a packaged bento, without overlays; each test takes a copy."""
    folder = tmp_path_factory.mktemp("image") / "a b é"
    for name in ("src/slipway", "requirements", "loadtests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("dvc.lock", "data/table.parquet"):
        files.write_text(folder / name, name)
    shutil.copytree(bento, folder / "bento")
    notes = {
        "bento": f"bikes:{bento.name}",
        "path": "bento",
        "bento_sha256": package.sha256(bento),
        "model_sha256": "m" * 64,
    }
    files.write_text(folder / ".git/info/exclude", "")
    committed_project.commit(folder)
    files.write_json(folder / package.VERDICT, {"notes": notes})
    return folder


@pytest.fixture
def work(template: Path, registry: fake_registry.Registry, tmp_path: Path) -> Path:
    """A clean copy whose overlays name the registry."""
    folder = shutil.copytree(template, tmp_path / "a b é")
    for name, repository, path in (
        ("serve", "bikes", STAGING),
        ("gate", "bikes-gate", image.GATE_KUSTOMIZATION.as_posix()),
    ):
        entry = f"name: {name}\n    newName: {registry.address}/{repository}\n    digest: {kustomization.NOTHING}"
        files.write_text(folder / path, f"images:\n  - {entry}\n")
    return committed_project.save(folder)


def test_image_of_a_bento_says_what_is_in_it(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params, bento: Path
) -> None:
    fake_container_tool.program(tools, "docker")
    message = image.run(params, root=work)
    record = files.read_json(work / image.RECORD)
    assert record["image"].startswith(f"{registry.address}/bikes@sha256:")
    assert record["image"] in message
    assert record["bytes"] > 100
    identity = {
        "bento_sha256": package.sha256(bento),
        "model_sha256": "m" * 64,
        "lock_sha256": files.sha256(work / "dvc.lock"),
    }
    assert {**record, **identity, "commit": git.commit_hash(root=work), "bento": f"bikes:{bento.name}"} == record
    assert registry_client.labels(record["image"]) == {
        "org.opencontainers.image.revision": record["commit"], "org.opencontainers.image.title": f"bikes:{bento.name}",
        **{f"slipway.{key}": value for key, value in identity.items()},
        "slipway.data_sha256": files.sha256(work / "data/table.parquet"),
        "slipway.base": f"python:3.11-slim@{fake_container_tool.BASE}",
    }  # fmt: skip


@pytest.mark.usefixtures("tools")
def test_an_image_that_cannot_be_built_leaves_no_record(work: Path, params: config.Params) -> None:
    with pytest.raises(ConfigError, match="this machine has no program that builds images"):
        image.run(params, root=work)
    assert not (work / image.RECORD).exists()


def test_only_what_was_packaged_and_committed_is_built(work: Path, tools: Path, params: config.Params) -> None:
    fake_container_tool.program(tools, "docker")
    with (work / "Dockerfile").open("a") as file:
        file.write("# not committed\n")
    with pytest.raises(ConfigError, match="1 file has uncommitted changes: Dockerfile"):
        image.run(params, root=work)
    (work / "bento/src/late.py").touch()
    with pytest.raises(DataError, match="is missing, or has changed since it was packaged"):
        image.run(params, root=work)
    assert fake_container_tool.calls(tools, "docker") == []


def test_gate_is_built_from_its_few_files_and_pinned(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params
) -> None:
    fake_container_tool.program(tools, "docker")
    assert "commit this file" in image.run(params, program=image.GATE, root=work)
    pinned = kustomization.read((work / image.GATE_KUSTOMIZATION).read_text("utf-8"), "gate")
    assert ("bikes-gate", pinned.digest) in registry.manifests
    (build,) = [call for call in fake_container_tool.calls(tools, "docker") if call["words"][0] == "build"]
    assert fake_container_tool.option(build["words"], "--target") == ["gate"]
    expected = [path if path.parts[0] == "src" else "src" / path for path in image.program_files(work, image.GATE)]
    assert build["context"] == sorted(path.as_posix() for path in expected)
    assert git.uncommitted_files(work) == [image.GATE_KUSTOMIZATION.as_posix()]


@pytest.fixture
def pinned(work: Path, tools: Path, params: config.Params) -> str:
    """The commit that the gate's image was built of; its pin is the commit after."""
    fake_container_tool.program(tools, "docker")
    since = git.commit_hash(root=work)
    image.run(params, program=image.GATE, root=work)
    committed_project.save(work)
    return since


def test_gate_is_built_again_only_when_it_changed(work: Path, params: config.Params, pinned: str) -> None:
    files.write_text(work / "unrelated.txt", "x")
    committed_project.save(work)
    assert f"its files are those of {pinned[:12]}" in image.run(params, program=image.GATE, root=work)
    with (work / "src/slipway/core/verdict.py").open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigError, match=r"uncommitted changes: src/slipway/core/verdict\.py"):
        image.run(params, program=image.GATE, root=work)
    committed_project.save(work)
    assert "commit this file" in image.run(params, program=image.GATE, root=work)


def test_gate_whose_image_is_gone_is_built_again(
    work: Path, params: config.Params, pinned: str, registry: fake_registry.Registry
) -> None:
    assert pinned
    registry.manifests.clear()
    assert "commit this file" in image.run(params, program=image.GATE, root=work)


def test_gate_of_a_squashed_commit_is_as_old_as_its_pin(work: Path, params: config.Params, pinned: str) -> None:
    git.run("checkout", "-q", "--orphan", "squashed", root=work)
    committed_project.save(work)
    git.run("branch", "-q", "-D", "main", root=work)
    git.run("reflog", "expire", "--expire=now", "--all", root=work)
    git.run("gc", "-q", "--prune=now", root=work)
    since = git.commit_hash(root=work)
    assert since != pinned
    assert f"its files are those of {since[:12]}" in image.run(params, program=image.GATE, root=work)


def test_what_a_module_imports_comes_with_it(work: Path) -> None:
    with (work / "src/slipway/core/verdict.py").open("a") as file:
        file.write("\n\ndef late() -> None:\n    from slipway.core.base_limits import params_at\n")
    names = {path.stem for path in image.program_files(work, image.GATE)} - {
        path.stem for path in image.program_files(ROOT, image.GATE)
    }
    assert {"base_limits", "git"} <= names  # `git` is imported by `base_limits`


@pytest.mark.parametrize("target", ["serve", "gate", "uploader"])
def test_image_has_a_step_that_differs_with_its_commit(target: str) -> None:
    recipe = (ROOT / "Dockerfile").read_text("utf-8")
    stage = re.split(r"(?m)^FROM ", recipe.partition(f"FROM bare AS {target}\n")[2])[0]
    assert 'ARG REVISION\nRUN : "$REVISION"\n' in stage


@pytest.mark.parametrize("target", ["serve", "gate", "uploader"])
def test_what_a_release_changes_is_a_layer_of_its_own(target: str) -> None:
    stages = {
        one.partition("\n")[0].split()[-1]: one
        for one in re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text("utf-8"))
    }
    copied = {name: re.findall(r"(?m)^COPY (?:--from=)?(\S+)", text) for name, text in stages.items()}
    assert copied[target] == ["venv", "code"]
    assert (copied["venv"], copied["code"]) == (["src/requirements/*.lock"], ["."])


def test_gate_files_of_a_strict_umask_are_readable(work: Path, tmp_path: Path) -> None:
    for path in image.program_files(work, image.GATE):
        (work / path).chmod(0o600)
    before = os.umask(0o077)
    try:
        image.copy_program_files(work, image.GATE, tmp_path / "gate")
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "gate").rglob("*") if path.is_file()}
    folders = {
        path.stat().st_mode & 0o777 for path in (tmp_path / "gate", *(tmp_path / "gate").rglob("*")) if path.is_dir()
    }
    assert (modes, folders) == ({0o644}, {0o755})
