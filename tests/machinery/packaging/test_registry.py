from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from slipway.errors import DataError
from slipway.packaging import registry
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
    found = registry.look(f"{hub.address}/flights")
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
    with pytest.raises(DataError, match="its labels differ between its platforms"):
        registry.labels(listed(hub, row(one), row(two)))


@pytest.mark.parametrize("count", [0, registry.MAX_PLATFORMS + 1])
def test_index_of_none_or_too_many_platforms_is_no_image(hub, count):
    image = listed(hub, *[row(fake_registry.push(hub.address, "flights"))] * count)
    with pytest.raises(DataError, match=f"has {count} platforms, limit: 1 to 8"):
        registry.labels(image)


@pytest.mark.parametrize(
    "manifest",
    [{}, {"config": {"digest": "../../other", "size": 1}}, {"config": 3}, {"manifests": [3]}, {"manifests": {"a": 1}}],
)
def test_manifest_that_is_none_is_a_data_error(hub, manifest):
    raw = json.dumps(manifest).encode()
    hub.manifests["flights", fake_registry.digest(raw)] = (fake_registry.MANIFEST, raw)
    with pytest.raises(DataError, match="is no image"):
        registry.labels(f"{hub.address}/flights@{fake_registry.digest(raw)}")
