from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from slipway.core import environment
from slipway.errors import ConfigError, DataError
from slipway.packaging import registry_login
from support.executables import write_script


def auth(user: str = "ada") -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:s3cret".encode()).decode()}


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where docker keeps its logins, and nothing else does."""
    for name in ("REGISTRY_USER", "REGISTRY_TOKEN", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def keep(file: Path, **values: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))


def who(host: str = "ghcr.io", name: str = "octo/flights") -> tuple[str, str] | None:
    found = registry_login.find_login(host, name)
    return (found.user, found.password) if found else None


def test_visitor_without_a_login_is_anonymous(file):
    assert who() is None
    keep(file, auths={"quay.io": auth()})
    assert who() is None


def test_environment_comes_before_files(file, monkeypatch):
    keep(file, auths={"ghcr.io": auth()})
    monkeypatch.setenv("REGISTRY_USER", "bot")
    monkeypatch.setenv("REGISTRY_TOKEN", "t0ken")
    assert who() == ("bot", "t0ken")


@pytest.mark.parametrize("name", ["REGISTRY_USER", "REGISTRY_TOKEN"])
@pytest.mark.usefixtures("file")
def test_half_a_login_is_none(monkeypatch, name):
    monkeypatch.setenv(name, "x")
    with pytest.raises(ConfigError, match=f"{name} is set, but .* is not"):
        who()


@pytest.mark.parametrize(
    "key", ["ghcr.io", "https://ghcr.io", "https://ghcr.io/", "ghcr.io/octo", "ghcr.io/octo/flights"]
)
def test_login_is_found_under_the_names_that_clients_write(file, key):
    keep(file, auths={key: auth()})
    assert who() == ("ada", "s3cret")


def test_docker_hub_goes_by_its_old_name(file):
    keep(file, auths={"https://index.docker.io/v1/": auth()})
    assert who("docker.io") == ("ada", "s3cret")


def test_longest_name_counts(file):
    keep(file, auths={"ghcr.io": auth("all"), "ghcr.io/octo": auth("octo"), "ghcr.io/octo/other": auth("other")})
    assert who() == ("octo", "s3cret")


def test_login_of_a_named_file_comes_first(file, tmp_path, monkeypatch):
    keep(file, auths={"ghcr.io": auth("docker")})
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    keep(tmp_path / "run/containers/auth.json", auths={"ghcr.io": auth("podman")})
    assert who() == ("podman", "s3cret")
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(tmp_path / "named.json"))
    keep(tmp_path / "named.json", auths={"ghcr.io": auth("named")})
    assert who() == ("named", "s3cret")


@pytest.mark.parametrize(
    "text", ["no base64!", base64.b64encode(b"nobody").decode(), base64.b64encode(b"\xff:x").decode()]
)
def test_broken_login_names_its_file(file, text):
    keep(file, auths={"ghcr.io": {"auth": text}})
    with pytest.raises(ConfigError, match=r"config\.json: the login for ghcr\.io is not user:password"):
        who()


def test_file_that_is_no_json_is_named(file):
    file.write_text("{")
    with pytest.raises(DataError, match=r"config\.json is not valid JSON"):
        who()


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """A credential helper called `safe` on PATH."""
    program = folder / "bin/docker-credential-safe"
    program.parent.mkdir()
    write_script(program, script)
    monkeypatch.setenv("PATH", f"{program.parent}:/bin:/usr/bin")


@pytest.mark.parametrize("values", [{"credsStore": "safe"}, {"credHelpers": {"ghcr.io": "safe"}}])
def test_credential_helper_is_asked(file, tmp_path, monkeypatch, values):
    helper(tmp_path, monkeypatch, """read host; printf '{"Username":"ada","Secret":"of %s"}' "$host" """)
    keep(file, auths={"ghcr.io": {}}, **values)
    assert who() == ("ada", "of ghcr.io")


def test_helper_that_knows_nothing_leaves_it_anonymous(file, tmp_path, monkeypatch):
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    keep(file, credsStore="safe")
    assert who() is None


def test_helper_that_says_something_else_is_named(file, tmp_path, monkeypatch):
    helper(tmp_path, monkeypatch, "echo hello")
    keep(file, credsStore="safe")
    with pytest.raises(ConfigError, match="docker-credential-safe printed something that is not JSON"):
        who()


def test_helper_that_hangs_is_named(tmp_path, monkeypatch):
    helper(tmp_path, monkeypatch, "exec sleep 9")
    with pytest.raises(ConfigError, match=r"docker-credential-safe did not finish within 0\.2 s"):
        registry_login.login_from_helper("safe", "ghcr.io", seconds=0.2)


def test_helper_that_is_missing_is_named(file):
    keep(file, credsStore="nowhere")
    with pytest.raises(
        ConfigError, match="docker-credential-nowhere, which holds the logins for docker, is not on PATH"
    ):
        who()


def test_password_is_not_shown():
    assert "s3cret" not in repr(environment.Login(user="ada", password="s3cret"))
