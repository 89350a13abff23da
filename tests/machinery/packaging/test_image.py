"""Images: what is built from what, its labels, where it goes, and what is said when it does not get there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.cluster import kustomization
from slipway.core import config, files, git
from slipway.errors import ConfigError, DataError
from slipway.packaging import image, image_builder, package
from support import committed_project, fake_container_tool, fake_registry
from support.paths import ROOT

STAGING = "k8s/overlays/staging/kustomization.yaml"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[fake_registry.Registry]:
    for name in ("BUILD_IMAGE", "REGISTRY_USER", "REGISTRY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with fake_registry.Registry() as found:
        yield found


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs are the only ones in reach, but for Git."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def work(bento: Path, registry: fake_registry.Registry, tmp_path: Path) -> Path:
    """A clean repository with a packaged bento, whose overlays name that registry."""
    folder = tmp_path / "work"
    for name in ("src/slipway", "requirements", "loadtests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Dockerfile", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    for name, of, path in (("serve", "bikes", STAGING), ("gate", "bikes-gate", image.COMPONENT.as_posix())):
        pinned = (
            f"images:\n  - name: {name}\n    newName: {registry.address}/{of}\n    digest: {kustomization.NOTHING}\n"
        )
        files.write_text(folder / path, pinned)
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


def test_image_of_a_bento_says_what_is_in_it(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params, bento: Path
) -> None:
    fake_container_tool.program(tools, "docker")
    said = image.run(params, root=work)
    record = files.read_json(work / image.RECORD)
    assert record["image"].startswith(f"{registry.address}/bikes@sha256:")
    assert record["image"] in said
    assert record["bytes"] > 100
    identity = {
        "bento_sha256": package.sha256(bento),
        "model_sha256": "m" * 64,
        "lock_sha256": files.sha256(work / "dvc.lock"),
    }
    assert {**record, **identity, "commit": git.commit(root=work), "bento": f"bikes:{bento.name}"} == record
    from slipway.packaging import registry as edge

    assert edge.labels(record["image"]) == {
        "org.opencontainers.image.revision": record["commit"], "org.opencontainers.image.title": f"bikes:{bento.name}",
        **{f"slipway.{key}": value for key, value in identity.items()},
        "slipway.data_sha256": files.sha256(work / "data/table.parquet"), "slipway.base": f"python:3.11-slim@{fake_container_tool.BASE}",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_any_builder_builds_over_the_resolved_base(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params, name: str
) -> None:
    fake_container_tool.program(tools, name)
    image.run(params, root=work)
    told = {call["words"][0]: call["words"] for call in fake_container_tool.calls(tools, name)}
    assert list(told) == ["pull", "inspect", "build", "push"]
    revision = f"REVISION={git.commit(root=work)}"
    assert fake_container_tool.option(told["build"], "--build-arg") == [
        f"BASE=python:3.11-slim@{fake_container_tool.BASE}",
        revision,
    ]
    assert fake_container_tool.option(told["build"], "--target") == ["serve"]
    assert ("--tls-verify=false" in told["push"]) == (name != "docker")
    assert (("bikes", files.read_json(work / image.RECORD)["image"].partition("@")[2])) in registry.manifests


def test_docker_without_a_daemon_is_passed_over(work: Path, tools: Path, params: config.Params) -> None:
    fake_container_tool.program(tools, "docker", daemon=False)
    fake_container_tool.program(tools, "buildah")
    image.run(params, root=work)
    assert fake_container_tool.calls(tools, "docker") == []
    assert fake_container_tool.calls(tools, "buildah")


@pytest.mark.usefixtures("tools")
def test_without_a_builder_the_way_to_one_is_told(work: Path, params: config.Params) -> None:
    with pytest.raises(ConfigError, match="nothing here builds images") as caught:
        image.run(params, root=work)
    assert "install docker, podman or buildah" in caught.value.hint
    assert not (work / image.RECORD).exists()


def test_a_program_of_ones_own_comes_first(work: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_container_tool.program(tools, "docker")
    own, printed = tools / "own", "localhost:1/bikes@" + fake_container_tool.BASE
    own.write_text(f'#!/bin/sh\necho "$@" > "$0.said"\necho built; echo {printed}\n')
    own.chmod(0o755)
    monkeypatch.setenv("BUILD_IMAGE", str(own))
    found = image_builder.build_image("gate", work / "bento", "localhost:1/bikes:7", {"a": "b"}, root=work)
    assert found == printed
    assert fake_container_tool.calls(tools, "docker") == []
    words = (tools / "own.said").read_text().split()
    assert words[:2] == ["localhost:1/bikes:7", str(work / "bento")]
    assert fake_container_tool.option(words, "--label") == ["a=b", "slipway.base=python:3.11-slim"]
    monkeypatch.setenv("BUILD_IMAGE", str(tools / "none"))
    with pytest.raises(ConfigError, match=r"none cannot be run: No such file"):
        image_builder.build_image("gate", work / "bento", "localhost:1/bikes:7", {}, root=work)
    own.write_text("#!/bin/sh\necho built\n")
    monkeypatch.setenv("BUILD_IMAGE", str(own))
    with pytest.raises(ConfigError, match=r"own printed 'built', limit: localhost:1/bikes@sha256"):
        image_builder.build_image("gate", work / "bento", "localhost:1/bikes:7", {}, root=work)


def test_a_push_that_names_no_digest_is_no_image(work: Path, tools: Path) -> None:
    docker = tools / "docker"
    docker.write_text('#!/bin/sh\ntest "$1" != version || echo 9.9\ntest "$1" != build || echo "$@" > "$0.said"\n')
    docker.chmod(0o755)
    with pytest.raises(ConfigError, match="docker push localhost:1/bikes:7 named no digest"):
        image_builder.build_image("serve", work / "bento", "localhost:1/bikes:7", {}, root=work)
    assert "BASE=python:3.11-slim " in (tools / "docker.said").read_text()  # the tag, where no digest is told


def test_a_login_goes_by_standard_input(
    work: Path, tools: Path, params: config.Params, monkeypatch: pytest.MonkeyPatch, registry: fake_registry.Registry
) -> None:
    fake_container_tool.program(tools, "docker")
    monkeypatch.setenv("REGISTRY_USER", "ada")
    monkeypatch.setenv("REGISTRY_TOKEN", "s3cret")
    image.run(params, root=work)
    (login,) = [call for call in fake_container_tool.calls(tools, "docker") if call["words"][0] == "login"]
    assert login["words"] == ["login", "--username", "ada", "--password-stdin", registry.address]
    assert login["given"] == "s3cret"


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_an_expired_login_is_told(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params, name: str
) -> None:
    fake_container_tool.program(tools, name)
    registry.login, registry.expired = ("ada", "s3cret"), True
    with pytest.raises(ConfigError, match="refuses the login, or it has expired") as caught:
        image.run(params, root=work)
    assert f"{name} login {registry.address}" in caught.value.hint
    assert not (work / image.RECORD).exists()


def test_a_failed_build_shows_its_end(work: Path, tools: Path) -> None:
    fake_container_tool.program(tools, "docker")
    (work / "bento/src/broken").touch()
    with pytest.raises(ConfigError, match=r"(?s)docker failed with exit code 1.*DO NOT MATCH THE HASHES"):
        image_builder.build_image("serve", work / "bento", "localhost:1/bikes:7", {}, root=work)


def test_only_what_was_packaged_and_committed_is_built(work: Path, tools: Path, params: config.Params) -> None:
    fake_container_tool.program(tools, "docker")
    with (work / "Dockerfile").open("a") as file:
        file.write("# not committed\n")
    with pytest.raises(ConfigError, match="1 tracked files are not committed: Dockerfile"):
        image.run(params, root=work)
    (work / "bento/src/late.py").touch()
    with pytest.raises(DataError, match="is not the bento that was packaged"):
        image.run(params, root=work)
    assert fake_container_tool.calls(tools, "docker") == []


def test_gate_is_built_from_its_few_files_and_pinned(
    work: Path, tools: Path, registry: fake_registry.Registry, params: config.Params
) -> None:
    fake_container_tool.program(tools, "docker")
    assert "commit that" in image.run(params, gate=True, root=work)
    pinned = kustomization.read((work / image.COMPONENT).read_text("utf-8"), "gate")
    assert ("bikes-gate", pinned.digest) in registry.manifests
    (told,) = [call for call in fake_container_tool.calls(tools, "docker") if call["words"][0] == "build"]
    assert fake_container_tool.option(told["words"], "--target") == ["gate"]
    expected = [path if path.parts[0] == "src" else "src" / path for path in image.contents(work)]
    assert told["context"] == sorted(path.as_posix() for path in expected)
    assert git.uncommitted_files(work) == [image.COMPONENT.as_posix()]


@pytest.fixture
def pinned(work: Path, tools: Path, params: config.Params) -> str:
    """The commit that the gate's image was built of; its pin is the commit after."""
    fake_container_tool.program(tools, "docker")
    since = git.commit(root=work)
    image.run(params, gate=True, root=work)
    committed_project.save(work)
    return since


def test_gate_is_built_again_only_when_it_changed(work: Path, params: config.Params, pinned: str) -> None:
    files.write_text(work / "unrelated.txt", "x")
    committed_project.save(work)
    assert f"nothing in it has changed since {pinned[:12]}" in image.run(params, gate=True, root=work)
    with (work / "src/slipway/core/verdict.py").open("a") as file:
        file.write("\n")
    with pytest.raises(ConfigError, match=r"not committed: src/slipway/core/verdict\.py"):
        image.run(params, gate=True, root=work)
    committed_project.save(work)
    assert "commit that" in image.run(params, gate=True, root=work)


def test_gate_whose_image_is_gone_is_built_again(
    work: Path, params: config.Params, pinned: str, registry: fake_registry.Registry
) -> None:
    assert pinned
    registry.manifests.clear()
    assert "commit that" in image.run(params, gate=True, root=work)


def test_gate_of_a_squashed_commit_is_as_old_as_its_pin(work: Path, params: config.Params, pinned: str) -> None:
    git.run("checkout", "-q", "--orphan", "squashed", root=work)
    committed_project.save(work)
    git.run("branch", "-q", "-D", "main", root=work)
    git.run("reflog", "expire", "--expire=now", "--all", root=work)
    git.run("gc", "-q", "--prune=now", root=work)
    since = git.commit(root=work)
    assert since != pinned
    assert f"nothing in it has changed since {since[:12]}" in image.run(params, gate=True, root=work)


def test_what_a_module_imports_comes_with_it(work: Path) -> None:
    with (work / "src/slipway/core/verdict.py").open("a") as file:
        file.write(
            "\n\ndef late() -> None:\n    from slipway.core import console\n    from slipway.core.git import output\n"
        )
    names = {path.stem for path in image.contents(work)} - {path.stem for path in image.contents(ROOT)}
    assert names == {"console", "git", "config"}  # and what those import


def test_the_base_is_named_in_a_from(work: Path) -> None:
    assert image_builder.base_image(ROOT) == "python:3.11-slim"
    (work / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ConfigError, match="Dockerfile has no line `FROM … AS slim`"):
        image_builder.base_image(work)


@pytest.mark.parametrize("target", ["serve", "gate"])
def test_image_has_a_step_that_differs_with_its_commit(target: str) -> None:
    recipe = (ROOT / "Dockerfile").read_text("utf-8")
    stage = re.split(r"(?m)^FROM ", recipe.partition(f"FROM bare AS {target}\n")[2])[0]
    assert 'ARG REVISION\nRUN : "$REVISION"\n' in stage


@pytest.mark.parametrize("target", ["serve", "gate"])
def test_what_a_release_changes_is_a_layer_of_its_own(target: str) -> None:
    stages = {
        one.partition("\n")[0].split()[-1]: one
        for one in re.split(r"(?m)^FROM ", (ROOT / "Dockerfile").read_text("utf-8"))
    }
    copied = {name: re.findall(r"(?m)^COPY (?:--from=)?(\S+)", text) for name, text in stages.items()}
    assert copied[target] == ["venv", "code"]
    assert (copied["venv"], copied["code"]) == (["src/requirements/*.lock"], ["."])
