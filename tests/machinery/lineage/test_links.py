"""Each link on made-up facts; tests/machinery/lineage/test_verify.py has the same over a real repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.core import ledger
from slipway.lineage import links
from slipway.lineage.links import (
    LABELS,
    TAGS,
    Absent,
    Artifacts,
    ChainFacts,
    Invalid,
    Link,
    Lock,
    PodImages,
    build_chain,
)

D, E = (f"localhost:5000/bikes@sha256:{letter * 64}" for letter in "de")
LINE = ledger.Line.model_validate({
    "at": datetime(2026, 3, 1, tzinfo=UTC), "env": "staging", "action": "release", "image": D, "bento": "bikes:bbbbbbbbbbbb",
    "bento_sha256": "b" * 64, "model_sha256": "1" * 64, "lock_sha256": "2" * 64, "data_sha256": "3" * 64, "commit": "c" * 40,
    "pull_request": 12, "mlflow_run": "r" * 32, "metrics": {}, "verdicts": {}, "evidence": None, "supersedes": None,
})  # fmt: skip
ARTIFACTS = Artifacts(
    labels={label: str(getattr(LINE, field)) for label, field in LABELS.items()},
    bento={"bento_sha256": "b" * 64, "model_sha256": "1" * 64},
    run={tag: str(getattr(LINE, tag)) for tag in TAGS},
    lock=Lock(sha256="2" * 64, outs={}, sources={"a.csv": "a" * 64}),
    model="1" * 64,
    table="3" * 64,
    sources={"a.csv": "a" * 64},
    commit="c" * 40,
    pull_request=12,
)
FACTS = ChainFacts(env="staging", image=D, pod=PodImages(name="serve-1", requested=D, running=D), line=LINE, is_newest=True,
                   added_in="f" * 40,
              pinned_then=D, pinned_now=D, ledger_fault="", artifacts=ARTIFACTS)  # fmt: skip
OTHER = LINE.model_copy(update={"bento": "bikes:0"})
NAMES = [
    "pod",
    "overlay",
    "ledger",
    "image",
    "bento",
    "run",
    "lock",
    "model",
    "data",
    "sources",
    "commit",
    "pull request",
]


def words(facts: ChainFacts) -> dict[str, str]:
    return {link.name: link.word for link in build_chain(facts)}


def with_artifacts(**changes: Any) -> ChainFacts:
    return replace(FACTS, artifacts=replace(ARTIFACTS, **changes))


def line(**changes: Any) -> ChainFacts:
    return replace(FACTS, line=LINE.model_copy(update=changes))


def test_chain_names_its_links_in_the_order_of_the_walk():
    assert words(FACTS) == dict.fromkeys(NAMES, "ok")
    assert list(words(FACTS)) == NAMES
    assert list(words(replace(FACTS, pod=None))) == NAMES[1:]


@pytest.mark.parametrize(
    ("facts", "name", "said"),
    [
        (replace(FACTS, pod=PodImages(name="p", requested=D, running=E)), "pod",
         "pod p requests sha256:dddddddddddd but runs sha256:eeee"),
        (replace(FACTS, pod=PodImages(name="p", requested="bikes:latest", running=D)), "pod",
         "pod p requests bikes:latest, which has no digest"),
        (replace(FACTS, pinned_now=E), "overlay", "pins sha256:eeeeeeeeeeee now, without a ledger line"),
        (replace(FACTS, pinned_now=None), "overlay", "pins nothing now, without a ledger line"),
        (replace(FACTS, pinned_then=E, pinned_now=E), "overlay", "which added the ledger line, instead of sha256:dddd"),
        (replace(FACTS, line=None, artifacts=None, pinned_now=E), "overlay",
         "eeeeeeeeeeee, and no ledger line is about sha256:dddddddddddd"),
        (replace(FACTS, line=None, artifacts=None), "ledger", "no line of releases/staging.jsonl has the image sha256:ddd"),
        (replace(FACTS, ledger_fault="commit 1 changed line 2"), "ledger", "commit 1 changed line 2"),
        (line(image=E), "ledger", "last line of releases/staging.jsonl has sha256:eeeeeeeeeeee, but the overlay pins sha256:dd"),
        (line(env="production"), "ledger", "the last line of releases/staging.jsonl belongs to production"),
        (replace(FACTS, added_in=None), "ledger", "the last line of releases/staging.jsonl is not committed"),
        (with_artifacts(labels=Invalid("gone")), "image", "gone"),
        *((with_artifacts(labels={**ARTIFACTS.labels, label: "x"}), "image", f"{label} is x; expected: ") for label in LABELS),
        *((with_artifacts(labels={k: ARTIFACTS.labels[k] for k in LABELS if k != label}), "image",
           f"{label} is nothing") for label in LABELS),
        (replace(with_artifacts(labels=Absent("no")), line=OTHER), "bento",
         "names bikes:0, but its hash begins with bbbbbbbbbbbb"),
        (with_artifacts(bento={**ARTIFACTS.bento, "bento_sha256": "x"}), "bento",
         "files of bikes:bbbbbbbbbbbb: bento_sha256 is x"),
        (with_artifacts(bento={**ARTIFACTS.bento, "model_sha256": "x"}), "bento", "model_sha256 is x"),
        (with_artifacts(run=Invalid("deleted")), "run", "deleted"),
        *((with_artifacts(run={**ARTIFACTS.run, tag: "x"}), "run",
           f"tags of MLflow run rrrrrrrr: {tag} is x") for tag in TAGS),
        (with_artifacts(lock=Invalid("none")), "lock", "none"),
        (with_artifacts(lock=replace(ARTIFACTS.lock, sha256="x")), "lock",
         "dvc.lock at cccccccccccc: sha256 is x; expected: 222222222222"),
        (with_artifacts(model=Invalid("spoilt")), "model", "spoilt"),
        (with_artifacts(model="9" * 64), "model", "is 999999999999, but 111111111111 was released, and prove did not pass"),
        (with_artifacts(table=Invalid("spoilt")), "data", "spoilt"),
        (with_artifacts(table="9" * 64), "data", "sha256 is 999999999999; expected: 333333333333"),
        (with_artifacts(sources={"a.csv": "9" * 64}), "sources", "a.csv is aaaaaaaaaaaa; expected: 999999999999"),
        (with_artifacts(sources={}), "sources", "a.csv is aaaaaaaaaaaa; expected: nothing"),
        (with_artifacts(sources={**ARTIFACTS.sources, "b.csv": "b" * 64}), "sources", "b.csv is nothing; expected: bbbbbbbbbbbb"),
        (with_artifacts(commit=Invalid("is beside main")), "commit", "is beside main"),
        (with_artifacts(pull_request=None), "pull request", "the commit's subject names none, but the ledger line names #12"),
        (line(pull_request=None), "pull request", "the commit's subject names #12, but the ledger line names none"),
    ],
)  # fmt: skip
def test_one_wrong_end_breaks_its_link_alone(facts, name, said):
    chain = build_chain(facts)
    first = next(link for link in chain if link.word == "broken")
    assert (first.name, said in first.message, bool(first.hint)) == (name, True, True), first.message
    assert [link.name for link in chain if link.word == "broken"] in ([name], [name, "ledger"])


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (replace(line(image=None), image=None, pod=None, pinned_then=None, pinned_now=None), {"overlay"}),
        (with_artifacts(labels=Absent("no")), {"image"}),
        (with_artifacts(bento=Absent("no")), {"bento"}),
        (with_artifacts(run=Absent("no")), {"run"}),
        (with_artifacts(lock=Absent("no"), model=Absent("no"), table=Absent("no"), commit=Absent("no")),
         {"lock", "model", "data", "sources", "commit", "pull request"}),
        (replace(with_artifacts(pull_request=None), line=LINE.model_copy(update={"pull_request": None})), {"pull request"}),
    ],
)  # fmt: skip
def test_what_cannot_be_reached_is_absent_and_not_broken(facts, names):
    assert {name for name, word in words(facts).items() if word == "absent"} == names
    assert "broken" not in words(facts).values()


@pytest.mark.parametrize("model", ["9" * 64, Absent("not in the cache")])
def test_recorded_proof_stands_for_another_processors_bytes(model):
    proven = replace(with_artifacts(model=model), line=LINE.model_copy(update={"verdicts": {"prove": "pass"}}))
    assert words(proven)["model"] == "ok"
    assert words(replace(proven, artifacts=replace(proven.artifacts, model=Invalid("spoilt"))))["model"] == "broken"


@pytest.mark.parametrize("word", ["fail", "unsure"])
def test_proof_that_is_no_pass_stands_for_nothing(word):
    unproven = replace(with_artifacts(model="9" * 64), line=LINE.model_copy(update={"verdicts": {"prove": word}}))
    assert words(unproven)["model"] == "broken"


def test_older_line_holds_although_the_overlay_moved_on():
    chain = build_chain(replace(FACTS, is_newest=False, pinned_now=E))
    assert {link.word for link in chain} == {"ok"}
    assert "and pins sha256:eeeeeeeeeeee now" in chain[1].message


SHA = "sha256:" + "ab" * 32


def link(name: str, word: links.Word) -> Link:
    return Link(name=name, word=word, message="")


def test_first_broken_link_is_the_one_nearest_to_what_runs():
    found = [link("pod", "ok"), link("image", "absent"), link("run", "broken"), link("data", "broken")]
    assert links.first_broken(found) == found[2]
    assert links.first_broken(found[:2]) is None


def test_values_are_compared_and_the_wrong_one_shown():
    assert links.compare("run", "the tags", {"a": ("1", "1"), "b": ("2", "2")}, "x") == links.ok(
        "run", "the tags: a, b match"
    )
    assert links.compare("run", "the tags", {"a": ("1", "1"), "b": ("3", "2")}, "x") == links.broken(
        "run", "the tags: b is 3; expected: 2", "x"
    )


def test_value_that_is_not_there_is_wrong_even_where_none_is_expected():
    assert (
        links.compare("run", "the tags", {"a": (None, None)}, "x").message
        == "the tags: a is nothing; expected: nothing"
    )
    assert links.compare("run", "the tags", {}, "x") == links.broken(
        "run", "the tags: there is nothing to compare", "x"
    )


def test_source_without_an_answer_is_absent_unless_it_is_wrong():
    assert links.without_value("data", Absent("far away"), "x") == Link(name="data", word="absent", message="far away")
    assert links.without_value("data", Invalid("edited"), "x") == links.broken("data", "edited", "x")


@pytest.mark.parametrize("image", [f"localhost:5000/flights@{SHA}", f"docker-pullable://a/b@{SHA}", SHA])
def test_digest_is_found_in_every_way_of_naming_it(image):
    assert links.digest(image) == SHA


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
    assert links.short(value) == shown
