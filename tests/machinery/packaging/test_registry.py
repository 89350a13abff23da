from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from slipway.errors import ConfigError, DataError
from slipway.packaging import registry
from slipway.packaging.registry import ImageNotFound, RegistryUnavailable, Session, parse_reference
from slipway.serving.local_server import find_free_port
from support import fake_registry

LABELS = {"org.opencontainers.image.revision": "c" * 40, "slipway.model_sha256": "m" * 64}


@pytest.fixture
def hub() -> Iterator[fake_registry.Registry]:
    with fake_registry.Registry() as server:
        yield server


def test_server_takes_what_a_client_pushes(hub):
    image = fake_registry.push(hub.address, "flights", labels=LABELS, tag="one")
    assert httpx.get(f"http://{hub.address}/v2/flights/tags/list").json() == {"name": "flights", "tags": ["one"]}
    assert image.endswith(fake_registry.digest(hub.manifests["flights", "one"][1]))


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
def test_labels_are_read_from_every_kind_of_image(hub, docker, index):
    image = fake_registry.push(hub.address, "team/flights", labels=LABELS, docker=docker, index=index)
    assert registry.labels(image) == LABELS
    assert registry.labels(f"{hub.address}/team/flights:latest") == LABELS


def test_image_tells_its_digest_date_and_size(hub):
    image = fake_registry.push(hub.address, "flights", labels=LABELS)
    found = registry.inspect_image(f"{hub.address}/flights")
    assert image.endswith(found.digest)
    assert found.created == "2026-03-01T12:00:00Z"
    assert found.bytes == sum(map(len, hub.blobs.values()))


def test_image_without_labels_has_none(hub):
    assert registry.labels(fake_registry.push(hub.address, "flights")) == {}


def test_image_that_is_gone_is_known_to_be(hub):
    image = fake_registry.push(hub.address, "flights", labels=LABELS)
    assert registry.exists(image)
    httpx.delete(f"http://{hub.address}/v2/flights/manifests/{image.partition('@')[2]}")
    assert not registry.exists(image)
    with pytest.raises(DataError, match=r"flights: manifests/sha256:\w+ is not in the registry"):
        registry.labels(image)


def listed(hub: fake_registry.Registry, *rows: dict[str, object]) -> str:
    """An index of just these rows; its reference."""
    raw = json.dumps({"schemaVersion": 2, "mediaType": fake_registry.INDEX, "manifests": rows}).encode()
    hub.manifests["flights", fake_registry.digest(raw)] = (fake_registry.INDEX, raw)
    return f"{hub.address}/flights@{fake_registry.digest(raw)}"


def row(image: str, system: str = "linux") -> dict[str, object]:
    return {"digest": image.partition("@")[2], "platform": {"os": system, "architecture": "amd64"}}


def test_attestation_beside_the_image_is_left_out(hub):
    image, beside = (fake_registry.push(hub.address, "flights", labels=labels) for labels in (LABELS, {"a": "b"}))
    assert registry.labels(listed(hub, row(beside, "unknown"), row(image))) == LABELS


def test_platforms_must_say_the_same(hub):
    one, two = (fake_registry.push(hub.address, "flights", labels=labels) for labels in (LABELS, {"a": "b"}))
    with pytest.raises(DataError, match=r"the labels of .* differ between its platforms"):
        registry.labels(listed(hub, row(one), row(two)))


@pytest.mark.parametrize("count", [0, registry.MAX_PLATFORMS + 1])
def test_index_of_none_or_too_many_platforms_is_no_image(hub, count):
    image = listed(hub, *[row(fake_registry.push(hub.address, "flights"))] * count)
    with pytest.raises(DataError, match=f"has {count} platforms; allowed: 1 to 8"):
        registry.labels(image)


@pytest.mark.parametrize(
    "manifest",
    [{}, {"config": {"digest": "../../other", "size": 1}}, {"config": 3}, {"manifests": [3]}, {"manifests": {"a": 1}}],
)
def test_manifest_that_is_none_is_a_data_error(hub, manifest):
    raw = json.dumps(manifest).encode()
    hub.manifests["flights", fake_registry.digest(raw)] = (fake_registry.MANIFEST, raw)
    with pytest.raises(DataError, match="is not a valid image"):
        registry.labels(f"{hub.address}/flights@{fake_registry.digest(raw)}")


LOGIN = ("ada", "s3cret")
SHA = "sha256:" + "0" * 64


@pytest.fixture
def hub() -> Iterator[fake_registry.Registry]:
    with fake_registry.Registry() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """Whatever this machine's logins are."""
    for name in ("REGISTRY_USER", "REGISTRY_TOKEN", "REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


@pytest.fixture
def ada(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_USER", LOGIN[0])
    monkeypatch.setenv("REGISTRY_TOKEN", LOGIN[1])


def kept(hub: fake_registry.Registry, **labels: str) -> str:
    """An image that lies in a registry, however it came there."""
    made = fake_registry.image(labels)
    hub.blobs |= {fake_registry.digest(made[part]): made[part] for part in ("config", "layer")}
    hub.manifests["flights", fake_registry.digest(made["manifest"])] = (made["type"], made["manifest"])
    return f"{hub.address}/flights@{fake_registry.digest(made['manifest'])}"


@pytest.mark.parametrize(
    ("image", "url", "ref"),
    [
        (f"localhost:5000/flights@{SHA}", "http://localhost:5000/v2/flights", SHA),
        (f"ghcr.io/octo/flights:v1@{SHA}", "https://ghcr.io/v2/octo/flights", SHA),
        ("registry:5000/a/b_c-d:v1.2", "https://registry:5000/v2/a/b_c-d", "v1.2"),
        ("docker.io/library/python", "https://registry-1.docker.io/v2/library/python", "latest"),
        ("[::1]:5000/flights", "http://[::1]:5000/v2/flights", "latest"),
    ],
)
def test_reference_says_where_an_image_is(image, url, ref):
    found = parse_reference(image)
    assert (found.url, found.ref) == (url, ref)


def test_reference_without_tag_and_digest_is_what_overlays_name():
    assert parse_reference(f"ghcr.io/octo/flights:v1@{SHA}").repository == "ghcr.io/octo/flights"


@pytest.mark.parametrize(
    "image",
    ["", "flights", "flights:v1", "octo/flights", "ghcr.io/octo/../flights", "ghcr.io/Octo", "ghcr.io/a@sha256:0", "ghcr.io/a b",
     "http://ghcr.io/a", "ghcr.io/a?x=1", "user@ghcr.io/a", f"ghcr.io/a@{SHA}0", "ghcr.io//a"],
)  # fmt: skip
def test_other_text_is_no_image(image):
    with pytest.raises(ConfigError, match="; expected: HOST"):
        parse_reference(image)


def test_login_is_asked_for_when_there_is_none():
    with (
        fake_registry.Registry(login=LOGIN) as hub,
        pytest.raises(ConfigError, match="returned status 401: a login is required"),
    ):
        registry.labels(kept(hub))


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.usefixtures("ada")
def test_login_opens_what_is_closed(scheme):
    with fake_registry.Registry(login=LOGIN, scheme=scheme) as hub:
        assert registry.labels(kept(hub, a="b")) == {"a": "b"}


@pytest.mark.parametrize("scheme", ["basic", "bearer"])
@pytest.mark.usefixtures("ada")
def test_expired_login_says_so_and_what_to_do(scheme):
    with fake_registry.Registry(login=LOGIN, scheme=scheme) as hub:
        image = kept(hub)
        hub.expired = True
        with pytest.raises(ConfigError, match="returned status 401: the login is wrong, expired") as told:
            registry.exists(image)
    assert told.value.hint.startswith(f"docker login {hub.address}")


def test_anonymous_visitor_takes_a_token_where_one_is_given():
    with fake_registry.Registry(login=LOGIN, scheme="bearer", anonymous=True) as hub:
        assert registry.labels(kept(hub, a="b")) == {"a": "b"}
        (asked,) = [one for one in hub.requests if one.path == "/token"]
    assert asked.query == {"scope": "repository:flights:pull", "service": "registry"}
    assert "authorization" not in asked.headers


@pytest.mark.usefixtures("ada")
def test_login_is_not_sent_before_it_is_asked_for(hub):
    registry.labels(kept(hub))
    assert {"authorization" in one.headers for one in hub.requests} == {False}


@pytest.mark.usefixtures("ada")
def test_login_stays_with_its_registry_when_it_redirects():
    with fake_registry.Registry() as storage, fake_registry.Registry(login=LOGIN) as hub:
        image = kept(hub, a="b")
        storage.blobs = dict(hub.blobs)

        def elsewhere(request: fake_registry.Request) -> fake_registry.Reply | None:
            if "/blobs/" not in request.path:
                return None
            return fake_registry.Reply(307, b"", {"location": f"http://{storage.address}{request.path}"})

        hub.when = elsewhere
        assert registry.labels(image) == {"a": "b"}
        assert [("authorization" in one.headers) for one in storage.requests] == [False]


def test_token_service_in_the_clear_elsewhere_is_refused(hub):
    challenge = {"www-authenticate": 'Bearer realm="http://tokens.example.org/token"'}
    hub.when = lambda _: fake_registry.Reply(401, b"", challenge)
    with pytest.raises(ConfigError, match=r"redirects to http://tokens\.example\.org/token.*; expected: https"):
        registry.exists(f"{hub.address}/flights")


def test_forbidden_is_no_missing_image(hub):
    hub.when = lambda _: fake_registry.problem(403, "DENIED")
    with pytest.raises(ConfigError, match="returned status 403"):
        registry.exists(f"{hub.address}/flights")


@pytest.mark.parametrize("part", ["manifest", "config"])
def test_other_bytes_than_the_digest_names_are_refused(hub, part):
    image = kept(hub, a="b")
    if part == "manifest":
        ((key, (kind, raw)),) = hub.manifests.items()
        hub.manifests[key] = (kind, raw + b" ")
    else:
        hub.blobs = {name: raw.replace(b'"b"', b'"c"') for name, raw in hub.blobs.items()}
    with pytest.raises(DataError, match="the registry returned bytes with another digest, sha256:"):
        registry.labels(image)


def test_endless_manifest_is_cut(hub):
    hub.when = lambda _: fake_registry.Reply(200, b"x" * (registry.MAX_BYTES + 1))
    with pytest.raises(DataError, match="more than 4,000,000 bytes; allowed: at most 4,000,000"):
        registry.exists(f"{hub.address}/flights")


def test_manifest_that_is_no_json_is_a_data_error(hub):
    hub.when = lambda _: fake_registry.Reply(200, b"<html>")
    with pytest.raises(DataError, match="is not a JSON object"):
        registry.labels(f"{hub.address}/flights")


def test_image_that_is_not_there_is_missing(hub):
    with pytest.raises(ImageNotFound, match="flights: manifests/latest is not in the registry") as told:
        registry.labels(f"{hub.address}/flights")
    assert "slipway rollback" in told.value.hint


@pytest.mark.parametrize("status", [429, 500, 503])
def test_registry_in_trouble_leaves_it_unknown(hub, status):
    hub.when = lambda _: fake_registry.problem(status, "UNAVAILABLE")
    with pytest.raises(RegistryUnavailable, match=f"the registry returned status {status}"):
        registry.exists(f"{hub.address}/flights")


def test_registry_that_is_down_leaves_it_unknown():
    with pytest.raises(RegistryUnavailable, match="flights: manifests/latest: ") as told:
        registry.exists(f"127.0.0.1:{find_free_port()}/flights")
    assert told.value.code == 5


def test_redirects_in_a_circle_end(hub):
    hub.when = lambda request: fake_registry.Reply(307, b"", {"location": request.path})
    with pytest.raises(RegistryUnavailable, match="redirects"):
        registry.exists(f"{hub.address}/flights")


def test_trickle_of_bytes_is_left(hub):
    hub.when = lambda _: fake_registry.Reply(200, b"x" * 100, pause=0.05)
    with (
        Session(parse_reference(f"{hub.address}/flights"), seconds=0.3) as session,
        pytest.raises(RegistryUnavailable, match=r"not complete within 0\.3 s"),
    ):
        session.fetch("manifests/latest", None)


def test_push_asks_for_a_token_that_may():
    with fake_registry.Registry(login=LOGIN, scheme="bearer", anonymous=True) as closed:
        token = httpx.get(f"http://{closed.address}/token").json()["token"]
        sent = httpx.post(f"http://{closed.address}/v2/a/blobs/uploads/", headers={"authorization": f"Bearer {token}"})
    assert sent.status_code == 401
