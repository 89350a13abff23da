"""Each link on made-up facts; tests/machinery/lineage/test_verify.py has the same over a real repository."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from slipway.core import ledger
from slipway.lineage import links
from slipway.lineage.links import LABELS, TAGS, Absent, Facts, Invalid, Link, Lock, Made, Pod, links

D, E = (f"localhost:5000/bikes@sha256:{letter * 64}" for letter in "de")
LINE = ledger.Line.model_validate({
    "at": datetime(2026, 3, 1, tzinfo=UTC), "env": "staging", "action": "release", "image": D, "bento": "bikes:bbbbbbbbbbbb",
    "bento_sha256": "b" * 64, "model_sha256": "1" * 64, "lock_sha256": "2" * 64, "data_sha256": "3" * 64, "commit": "c" * 40,
    "pull_request": 12, "mlflow_run": "r" * 32, "metrics": {}, "verdicts": {}, "evidence": None, "supersedes": None,
})  # fmt: skip
MADE = Made(
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
FACTS = Facts(env="staging", image=D, pod=Pod(name="serve-1", asked=D, runs=D), line=LINE, newest=True, entered="f" * 40,
              then=D, now=D, history="", made=MADE)  # fmt: skip
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


def words(facts: Facts) -> dict[str, str]:
    return {link.name: link.word for link in links(facts)}


def made(**changes: Any) -> Facts:
    return replace(FACTS, made=replace(MADE, **changes))


def line(**changes: Any) -> Facts:
    return replace(FACTS, line=LINE.model_copy(update=changes))


def test_chain_names_its_links_in_the_order_of_the_walk():
    assert words(FACTS) == dict.fromkeys(NAMES, "ok")
    assert list(words(FACTS)) == NAMES
    assert list(words(replace(FACTS, pod=None))) == NAMES[1:]


@pytest.mark.parametrize(
    ("facts", "name", "said"),
    [
        (replace(FACTS, pod=Pod(name="p", asked=D, runs=E)), "pod", "p was asked for sha256:dddddddddddd and runs sha256:eeee"),
        (replace(FACTS, pod=Pod(name="p", asked="bikes:latest", runs=D)), "pod", "p was asked for bikes:latest, not by a digest"),
        (replace(FACTS, now=E), "overlay", "pins sha256:eeeeeeeeeeee now, without a line"),
        (replace(FACTS, now=None), "overlay", "pins nothing now, without a line"),
        (replace(FACTS, then=E, now=E), "overlay", "at ffffffffffff, which added the ledger line, not sha256:dddd"),
        (replace(FACTS, line=None, made=None, now=E), "overlay", "eeeeeeeeeeee, and never pinned sha256:dddddddddddd"),
        (replace(FACTS, line=None, made=None), "ledger", "no line of releases/staging.jsonl holds sha256:dddddddddddd"),
        (replace(FACTS, history="commit 1 changed line 2"), "ledger", "commit 1 changed line 2"),
        (line(image=E), "ledger", "last line of releases/staging.jsonl holds sha256:eeeeeeeeeeee, the overlay sha256:dd"),
        (line(env="production"), "ledger", "the line of releases/staging.jsonl is of production"),
        (replace(FACTS, entered=None), "ledger", "the line of releases/staging.jsonl is not committed"),
        (made(labels=Invalid("gone")), "image", "gone"),
        *((made(labels={**MADE.labels, label: "x"}), "image", f"{label} is x, expected ") for label in LABELS),
        *((made(labels={k: MADE.labels[k] for k in LABELS if k != label}), "image", f"{label} is nothing") for label in LABELS),
        (replace(made(labels=Absent("no")), line=OTHER), "bento", "calls it bikes:0, its hash begins with bbbbbbbbbbbb"),
        (made(bento={**MADE.bento, "bento_sha256": "x"}), "bento", "the files of bikes:bbbbbbbbbbbb: bento_sha256 is x"),
        (made(bento={**MADE.bento, "model_sha256": "x"}), "bento", "model_sha256 is x"),
        (made(run=Invalid("deleted")), "run", "deleted"),
        *((made(run={**MADE.run, tag: "x"}), "run", f"the tags of MLflow run rrrrrrrr: {tag} is x") for tag in TAGS),
        (made(lock=Invalid("none")), "lock", "none"),
        (made(lock=replace(MADE.lock, sha256="x")), "lock", "dvc.lock at cccccccccccc: sha256 is x, expected 222222222222"),
        (made(model=Invalid("spoilt")), "model", "spoilt"),
        (made(model="9" * 64), "model", "is 999999999999, released was 111111111111, and nothing was proven"),
        (made(table=Invalid("spoilt")), "data", "spoilt"),
        (made(table="9" * 64), "data", "sha256 is 999999999999, expected 333333333333"),
        (made(sources={"a.csv": "9" * 64}), "sources", "a.csv is aaaaaaaaaaaa, expected 999999999999"),
        (made(sources={}), "sources", "a.csv is aaaaaaaaaaaa, expected nothing"),
        (made(sources={**MADE.sources, "b.csv": "b" * 64}), "sources", "b.csv is nothing, expected bbbbbbbbbbbb"),
        (made(commit=Invalid("is beside main")), "commit", "is beside main"),
        (made(pull_request=None), "pull request", "the commit's subject names none, the ledger line #12"),
        (line(pull_request=None), "pull request", "the commit's subject names #12, the ledger line none"),
    ],
)  # fmt: skip
def test_one_wrong_end_breaks_its_link_alone(facts, name, said):
    found = links(facts)
    first = next(link for link in found if link.word == "broken")
    assert (first.name, said in first.said, bool(first.hint)) == (name, True, True), first.said
    assert [link.name for link in found if link.word == "broken"] in ([name], [name, "ledger"])


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (replace(line(image=None), image=None, pod=None, then=None, now=None), {"overlay"}),
        (made(labels=Absent("no")), {"image"}),
        (made(bento=Absent("no")), {"bento"}),
        (made(run=Absent("no")), {"run"}),
        (made(lock=Absent("no"), model=Absent("no"), table=Absent("no"), commit=Absent("no")),
         {"lock", "model", "data", "sources", "commit", "pull request"}),
        (replace(made(pull_request=None), line=LINE.model_copy(update={"pull_request": None})), {"pull request"}),
    ],
)  # fmt: skip
def test_what_cannot_be_reached_is_absent_and_not_broken(facts, names):
    assert {name for name, word in words(facts).items() if word == "absent"} == names
    assert "broken" not in words(facts).values()


@pytest.mark.parametrize("model", ["9" * 64, Absent("not in the cache")])
def test_recorded_proof_stands_for_another_processors_bytes(model):
    proven = replace(made(model=model), line=LINE.model_copy(update={"verdicts": {"prove": "pass"}}))
    assert words(proven)["model"] == "ok"
    assert words(replace(proven, made=replace(proven.made, model=Invalid("spoilt"))))["model"] == "broken"


@pytest.mark.parametrize("word", ["fail", "unsure"])
def test_proof_that_is_no_pass_stands_for_nothing(word):
    unproven = replace(made(model="9" * 64), line=LINE.model_copy(update={"verdicts": {"prove": word}}))
    assert words(unproven)["model"] == "broken"


def test_older_line_holds_although_the_overlay_moved_on():
    found = links(replace(FACTS, newest=False, now=E))
    assert {link.word for link in found} == {"ok"}
    assert "and sha256:eeeeeeeeeeee now" in found[1].said


SHA = "sha256:" + "ab" * 32


def link(name: str, word: links.Word) -> Link:
    return Link(name=name, word=word, said="")


def test_first_broken_link_is_the_one_nearest_to_what_runs():
    found = [link("pod", "ok"), link("image", "absent"), link("run", "broken"), link("data", "broken")]
    assert links.first_broken(found) == found[2]
    assert links.first_broken(found[:2]) is None


def test_values_are_compared_and_the_wrong_one_shown():
    assert links.same("run", "the tags", {"a": ("1", "1"), "b": ("2", "2")}, "x") == links.ok(
        "run", "the tags: a, b as expected"
    )
    assert links.same("run", "the tags", {"a": ("1", "1"), "b": ("3", "2")}, "x") == links.broken(
        "run", "the tags: b is 3, expected 2", "x"
    )


def test_value_that_is_not_there_is_wrong_even_where_none_is_expected():
    assert links.same("run", "the tags", {"a": (None, None)}, "x").said == "the tags: a is nothing, expected nothing"
    assert links.same("run", "the tags", {}, "x") == links.broken("run", "the tags: there are none", "x")


def test_source_without_an_answer_is_absent_unless_it_is_wrong():
    assert links.none("data", Absent("far away"), "x") == Link(name="data", word="absent", said="far away")
    assert links.none("data", Invalid("edited"), "x") == links.broken("data", "edited", "x")


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
