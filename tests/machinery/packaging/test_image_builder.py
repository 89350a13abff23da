"""Builders: which one is taken, its command lines, its logins, and its errors."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway.core import environment, files
from slipway.errors import ConfigError
from slipway.packaging import image_builder
from slipway.packaging.image_builder import REVISION
from support import fake_container_tool, fake_registry
from support.executables import write_script
from support.fake_container_tool import BASE, calls, option
from support.paths import ROOT

TAG = "localhost:1/bikes:7"


@pytest.fixture
def registry() -> Iterator[fake_registry.Registry]:
    with fake_registry.Registry() as server:
        yield server


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose programs are the only ones on PATH."""
    for name in ("BUILD_IMAGE", "REGISTRY_USER", "REGISTRY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "bin é"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with the project's Dockerfile, and a context with one file."""
    folder = tmp_path / "a b é"
    files.write_text(folder / "context/src/a.py", "")
    shutil.copy(ROOT / "Dockerfile", folder)
    return folder


def build(work: Path, tag: str = TAG, labels: dict[str, str] | None = None) -> str:
    return image_builder.build_image("serve", work / "context", tag, labels or {}, root=work)


@pytest.mark.parametrize("name", ["docker", "podman", "buildah"])
def test_any_builder_builds_over_the_resolved_base(
    work: Path, tools: Path, registry: fake_registry.Registry, name: str
) -> None:
    fake_container_tool.program(tools, name)
    image = build(work, f"{registry.address}/bikes:7", {REVISION: "c0ffee"})
    words = {call["words"][0]: call["words"] for call in calls(tools, name)}
    assert list(words) == ["pull", "inspect", "build", "push"]
    assert option(words["build"], "--build-arg") == [f"BASE=python:3.11-slim@{BASE}", "REVISION=c0ffee"]
    assert option(words["build"], "--target") == ["serve"]
    assert option(words["build"], "--label") == [f"{REVISION}=c0ffee", f"slipway.base=python:3.11-slim@{BASE}"]
    assert ("--tls-verify=false" in words["push"]) == (name != "docker")
    repository, _, digest = image.partition("@")
    assert repository == f"{registry.address}/bikes"
    assert ("bikes", digest) in registry.manifests


def test_docker_without_a_server_is_passed_over(work: Path, tools: Path, registry: fake_registry.Registry) -> None:
    fake_container_tool.program(tools, "docker", daemon=False)
    fake_container_tool.program(tools, "buildah")
    build(work, f"{registry.address}/bikes:7")
    assert calls(tools, "docker") == []
    assert calls(tools, "buildah")


def test_builder_is_named_with_its_version(tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_script(tools / "docker", "echo client; exit 1")
    env = environment.for_programs(tmp_path)
    assert image_builder.find_builder(env) is None
    write_script(tools / "buildah", "echo buildah version 1.28.2")
    assert image_builder.find_builder(env) == "buildah 1.28.2"
    write_script(tools / "podman", "while :; do :; done")
    monkeypatch.setattr(image_builder, "VERSION_SECONDS", 0.2)
    assert image_builder.find_builder(env) == "buildah 1.28.2", "a program that hangs is passed over"


@pytest.mark.usefixtures("tools")
def test_without_a_builder_the_hint_names_some(work: Path) -> None:
    with pytest.raises(ConfigError, match="this machine has no program that builds images") as caught:
        build(work)
    assert "install docker, podman or buildah" in caught.value.hint


def test_named_program_comes_first(work: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_container_tool.program(tools, "docker")
    script = f"""printf '%s\\n' "$@" >"$here/words"; echo built; echo localhost:1/bikes@{BASE}"""
    monkeypatch.setenv("BUILD_IMAGE", str(write_script(tools / "mine", script)))
    assert build(work, labels={"a": "b"}) == f"localhost:1/bikes@{BASE}"
    assert calls(tools, "docker") == []
    words = (tools / "words").read_text().splitlines()
    assert words[:2] == [TAG, str(work / "context")]
    assert option(words, "--label") == ["a=b", "slipway.base=python:3.11-slim"]


def test_named_program_must_start_and_print_an_image(work: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUILD_IMAGE", str(tools / "none"))
    with pytest.raises(ConfigError, match=r"none cannot be run: No such file"):
        build(work)
    monkeypatch.setenv("BUILD_IMAGE", str(write_script(tools / "mine", "echo built")))
    with pytest.raises(
        ConfigError,
        match=r"mine \(BUILD_IMAGE\) printed 'built' as its last line; expected: the image, localhost:1/bikes@sha256",
    ) as caught:
        build(work)
    assert caught.value.allowed == "the image, localhost:1/bikes@sha256:…"


def test_push_without_a_digest_is_refused(work: Path, tools: Path) -> None:
    script = """test "$1" != version || echo 9.9; test "$1" != build || echo "$@" >"$here/words" """
    write_script(tools / "docker", script)
    with pytest.raises(ConfigError, match="`docker push localhost:1/bikes:7` printed no line `digest: "):
        build(work)
    assert "BASE=python:3.11-slim " in (tools / "words").read_text(), "the tag, when `inspect` prints no digest"


def test_password_goes_by_standard_input(
    work: Path, tools: Path, monkeypatch: pytest.MonkeyPatch, registry: fake_registry.Registry
) -> None:
    fake_container_tool.program(tools, "docker")
    monkeypatch.setenv("REGISTRY_USER", "ada")
    monkeypatch.setenv("REGISTRY_TOKEN", "s3cret")
    build(work, f"{registry.address}/bikes:7")
    (login,) = [call for call in calls(tools, "docker") if call["words"][0] == "login"]
    assert login["words"] == ["login", "--username", "ada", "--password-stdin", registry.address]
    assert login["given"] == "s3cret"


@pytest.mark.parametrize("name", ["docker", "podman"])
def test_expired_login_names_the_next_command(
    work: Path, tools: Path, registry: fake_registry.Registry, name: str
) -> None:
    fake_container_tool.program(tools, name)
    registry.login, registry.expired = ("ada", "s3cret"), True
    with pytest.raises(ConfigError, match="refused the login") as caught:
        build(work, f"{registry.address}/bikes:7")
    assert f"{name} login {registry.address}" in caught.value.hint


def test_failed_build_shows_its_end(work: Path, tools: Path) -> None:
    fake_container_tool.program(tools, "docker")
    (work / "context/src/broken").touch()
    with pytest.raises(ConfigError, match=r"(?s)docker failed with exit code 1.*DO NOT MATCH THE HASHES"):
        build(work)


def test_base_is_named_in_a_from(work: Path) -> None:
    assert image_builder.base_image(ROOT) == "python:3.11-slim"
    (work / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(ConfigError, match="Dockerfile has no line `FROM … AS slim`"):
        image_builder.base_image(work)
