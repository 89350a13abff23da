from __future__ import annotations

import pytest

from slipway.lineage import chain
from slipway.lineage.chain import Absent, Link, Wrong

SHA = "sha256:" + "ab" * 32


def link(name: str, word: chain.Word) -> Link:
    return Link(name=name, word=word, said="")


def test_first_broken_link_is_the_one_nearest_to_what_runs():
    found = [link("pod", "ok"), link("image", "absent"), link("run", "broken"), link("data", "broken")]
    assert chain.first_broken(found) == found[2]
    assert chain.first_broken(found[:2]) is None


def test_values_are_compared_and_the_wrong_one_shown():
    assert chain.same("run", "the tags", {"a": ("1", "1"), "b": ("2", "2")}, "x") == chain.ok(
        "run", "the tags: a, b as expected"
    )
    assert chain.same("run", "the tags", {"a": ("1", "1"), "b": ("3", "2")}, "x") == chain.broken(
        "run", "the tags: b is 3, expected 2", "x"
    )


def test_value_that_is_not_there_is_wrong_even_where_none_is_expected():
    assert chain.same("run", "the tags", {"a": (None, None)}, "x").said == "the tags: a is nothing, expected nothing"
    assert chain.same("run", "the tags", {}, "x") == chain.broken("run", "the tags: there are none", "x")


def test_source_without_an_answer_is_absent_unless_it_is_wrong():
    assert chain.none("data", Absent("far away"), "x") == Link(name="data", word="absent", said="far away")
    assert chain.none("data", Wrong("edited"), "x") == chain.broken("data", "edited", "x")


@pytest.mark.parametrize("image", [f"localhost:5000/flights@{SHA}", f"docker-pullable://a/b@{SHA}", SHA])
def test_digest_is_found_in_every_way_of_naming_it(image):
    assert chain.digest(image) == SHA


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "nothing"),
        ("a" * 64, "a" * 12),
        (f"a/b@{SHA}", SHA[:19]),
        ("bikes:1", "bikes:1"),
        ("a/b:latest", "a/b:latest"),
    ],
)
def test_hashes_are_shown_short(value, shown):
    assert chain.short(value) == shown
