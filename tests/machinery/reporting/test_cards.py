"""Both cards of the bikes problem: everything known is on them, nothing hostile works on them, and the bento has them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from slipway import problem
from slipway.core import config, git
from slipway.reporting import cards, html, report_data
from slipway.reporting.cards import Subject
from slipway.reporting.report_model import CalibrationGroup, Facts
from support.committed_project import begin
from support.sample_reports import judged, replaced

HOSTILE = [
    "</details><script>alert(1)</script>", "[x](http://evil)", "![x](http://evil)", "a|b|c", "`code`", "**bold**",
    "two\n\n# lines", "@someone", "https://evil.example", "a\u202eb", "{{ 7 * 7 }}", "&lt;b&gt;", "- item", "$x$",
]  # fmt: skip


@pytest.fixture(scope="module")
def measured(project: Path, tmp_path_factory: pytest.TempPathFactory, run: Callable[..., str]) -> Path:
    """The bikes project, evaluated. Read only."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("card") / "a b é")
    run(folder, "evaluate")
    return folder


@pytest.fixture
def of(measured: Path, params: config.Params) -> Subject:
    groups = report_data.load(list[CalibrationGroup], measured / cards.RELIABILITY)
    return Subject(facts=report_data.read(measured), spec=problem.load("bikes"), params=params, calibration=groups)


def judged_of(start: Facts, **changes: object) -> Facts:
    """The facts with a judgement of this very model; `changes` are other values of its second check."""
    judge = judged() | {"inputs": {"challenger": f"sha256:{start.hashes['model']}"}}
    judge["checks"][1] |= changes
    judge["notes"]["metrics"] = {"champion": {"mae": 9.87}}
    judge["notes"]["slices"] = [
        {"slice": "station", "value": "park", "rows": 168, "difference": 2.5, "low": 1, "high": 4}
    ]
    return replaced(start, gates=start.record()["gates"] | {"judge": judge})


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def test_model_card_has_the_headings_of_the_field(of: Subject):
    assert re.findall(r"^## (.*)", cards.model_card(of), re.M) == [
        "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
        "Quantitative analyses", "Caveats and recommendations",
    ]  # fmt: skip


def test_data_card_has_the_headings_of_the_field(of: Subject):
    assert re.findall(r"^## (.*)", cards.data_card(of), re.M) == [
        "Motivation", "Composition", "Collection", "Preprocessing", "Known faults", "Maintenance",
    ]  # fmt: skip


def test_every_input_is_named_with_type_and_range(of: Subject):
    text = cards.model_card(of)
    assert "| `station` | text | 3 known |  | where bikes are hired |" in text
    assert "| `weekday` | number | 1 to 7 | day | day of the week, Monday is 1 |" in text
    assert "| `temp` | number or nothing | -30 to 50 | °C | last temperature measured before asking |" in text
    contract = of.facts.record()["contract"]
    names = contract["categories"] + contract["numbers"]
    assert [name for name in names if f"| `{name}` |" not in text] == []


def test_model_card_says_what_is_known(of: Subject):
    text, given = cards.model_card(of), of.facts
    for said in (
        "# Model card: How many bikes will be hired?",
        "predicts `hires` in bikes",
        "Estimator `boosting` with `max_iter` 60, `learning_rate` 0.1",
        f"SHA-256 of the model: `{given.hashes['model']}`",
        f"SHA-256 of the data: `{given.hashes['data']}`",
        of.spec.labels["purpose"],
        "A prediction is made 1 hour before `start`",
        "501 rows of 28 days, from 2021-05-17 until the day before 2021-06-14",
        "2021-03-01 to 2021-05-16",
        "Weakest slices by mean loss: ",
        "the worst of 10 groups of predictions",
        "✅ evaluate: The test window has enough rows",
        "this model was not compared yet",
        of.spec.labels["limits"],
        "`temp` 5 %",
    ):
        assert said in text, said


def test_data_card_says_what_is_known(of: Subject):
    text = cards.data_card(of)
    sources = of.params.ingest.sources
    for said in (
        "one row per slot. The target is `hires`.",
        "| `temp` | number | °C | 5.",
        of.spec.labels["source"],
        "Licence: Apache-2.0",
        f"`bikes.csv`, SHA-256 `{sources['bikes.csv']}`",
        "the same slot twice | 1 | – | kept the first |",
        "the counter is stuck",
        "Rows from 2021-06-14 on are not used. The last 28 days",
    ):
        assert said in text, said


@pytest.mark.parametrize("write", [cards.model_card, cards.data_card])
@pytest.mark.parametrize("empty", [False, True])
def test_no_placeholder_is_left(of: Subject, write: Callable[[Subject], str], empty: bool):
    if empty:  # a pipeline that stopped, of a problem that says nothing of itself
        of = replace(of, facts=Facts(), spec=replace(of.spec, labels={}), calibration=())
    text = write(of)
    assert not re.search(r"[{}]|\bNone\b|undefined|\bnan\b|\.\.|  $", text, re.M)
    assert not re.search(r"\n\n\n|[^\n]\n## ", text)
    assert len(text.splitlines()) <= 80
    assert ("Not stated: the problem has no label `purpose`." in text) == empty


def test_changed_metric_shows_up(of: Subject):
    text = cards.model_card(of)
    changed = replace(of, facts=replaced(of.facts, metrics=of.facts.record()["metrics"] | {"mae": 12.3456}))
    assert "| mean absolute error | **12.35** |" in cards.model_card(changed)
    assert "12.35" not in text


def test_champion_and_slices_that_got_worse_are_on_the_card(of: Subject):
    text = cards.model_card(replace(of, facts=judged_of(of.facts)))
    assert re.search(r"\| mean absolute error \| \*\*[\d.]+\*\* \| [\d.]+ to [\d.]+ \| – \| 9.87 \|", text)
    assert "Clearly worse than production: station park by 2.5." in text
    assert "✅ judge: Log loss is 0.0100 better than production" in text
    assert "not compared yet" not in text


def test_judgement_of_another_model_is_left_out(of: Subject):
    given = judged_of(of.facts)
    text = cards.model_card(replace(of, facts=replaced(given, hashes={**given.hashes, "model": "0" * 64})))
    assert "this model was not compared yet" in text
    assert "9.87" not in text


def test_broken_check_is_what_a_gate_is_quoted_with(of: Subject):
    records = judged_of(of.facts).record()
    records["gates"]["judge"]["verdict"], records["gates"]["judge"]["checks"][0]["ok"] = "fail", False
    assert "❌ judge: Rows to compare on: 1,000; allowed: at least 500" in cards.model_card(
        replace(of, facts=Facts(**records))
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_inert(of: Subject, text: str):
    assert shapes(of, text) == shapes(of, "words")


def shapes(of: Subject, text: str) -> list[list[str]]:
    """The tags of both cards as they render, where everything that can be said from outside says `text`."""
    labels = dict.fromkeys(("title", "purpose", "limits", "source", "licence", "unit"), text)
    inputs = {"properties": {text: {"type": text, "description": text, "unit": text}}}
    fault = {"source": text, "column": text, "what": text, "rows": 1, "worst": text, "action": text}
    column = {"name": text, "kind": text, "unit": text, "description": text, "missing": 0.5}
    row = {"slice": text, "value": text, "rows": 9, "target": 0.1, "loss": 0.4}
    given = replaced(
        judged_of(of.facts, name=text),
        contract={"inputs": inputs},
        quality={"rows": 3, "first": text, "last": text, "faults": [fault], "columns": [column]},
        slices=[row],
        metrics={**of.facts.record()["metrics"], text: 0.5, "train": {"rows": text, "first": text, "last": text}},
    )
    wrong = replace(of, facts=given, spec=replace(of.spec, labels=labels), merged=f"merged by {text}")
    pages = [
        rendered(cards.model_card(wrong)),
        rendered(cards.data_card(wrong)),
        html.report_page(given, {}, cards.model_card(wrong)),
    ]
    return [
        [tag for tag in re.findall(r"</?[a-z][^>]*>", document) if not re.fullmatch("</?code>", tag)]
        for document in pages
    ]


def test_a_long_text_is_cut(of: Subject):
    long = replace(of, spec=replace(of.spec, labels={"purpose": "x" * 10**6}))
    assert len(cards.model_card(long)) < 10_000


def test_report_writes_both_and_shows_them_folded(measured: Path, tmp_path: Path, run: Callable[..., str]):
    folder = shutil.copytree(measured, tmp_path / "a b é")
    run(folder, "report")
    document = (folder / "reports/report.html").read_text("utf-8")
    for name, heading in ((cards.MODEL, "Intended use"), (cards.DATA, "Composition")):
        assert f"## {heading}" in (folder / name).read_text("utf-8")
        assert f"<h3>{heading}</h3>" in document


def test_both_cards_are_written_and_returned(measured: Path, params: config.Params, tmp_path: Path):
    folder = shutil.copytree(measured, tmp_path / "a b é")
    text = cards.write(params, report_data.read(folder), root=folder)
    assert text == "\n".join((folder / name).read_text("utf-8") for name in (cards.MODEL, cards.DATA))


# Who merged


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    begin(tmp_path)
    git.run("commit", "-q", "--allow-empty", "-m", "Begin", root=tmp_path)
    return tmp_path


def commit(folder: Path, *args: str) -> None:
    git.run("commit", "-q", "--allow-empty", *args, root=folder)


def merge(folder: Path, *args: str) -> None:
    git.run("checkout", "-q", "-b", "change", root=folder)
    commit(folder, "-m", "Change")
    git.run("checkout", "-q", "main", root=folder)
    git.run("merge", "-q", "--no-ff", *args, "change", root=folder)


def test_nothing_is_merged_without_a_repository(tmp_path: Path):
    assert cards.merge_note(tmp_path) == "not merged yet"


def test_change_on_a_branch_is_not_merged_yet(repository: Path):
    git.run("checkout", "-q", "-b", "change", root=repository)
    commit(repository, "-m", "Change (#12)")
    assert cards.merge_note(repository) == "not merged yet"


def test_merge_that_only_tries_a_change_is_not_merged_yet(repository: Path):
    git.run("checkout", "-q", "-b", "try", root=repository)
    merge_into = ("-m", "Merge pull request #3 from x/change")
    git.run("checkout", "-q", "-b", "change", "main", root=repository)
    commit(repository, "-m", "Change")
    git.run("checkout", "-q", "try", root=repository)
    git.run("merge", "-q", "--no-ff", *merge_into, "change", root=repository)
    assert cards.merge_note(repository) == "not merged yet"


def test_merged_pull_request_has_its_number_and_merger(repository: Path):
    merge(repository, "-m", "Merge pull request #3 from x/change")
    assert cards.merge_note(repository) == "pull request 3, merged by A Tester"


def test_merge_by_hand_has_its_merger(repository: Path):
    merge(repository, "-m", "Merge it")
    assert cards.merge_note(repository) == "merged by A Tester"


def test_squashed_pull_request_names_author_and_committer(repository: Path):
    commit(repository, "-m", "Change (#12)", "--author", "B Author <b@example.org>")
    assert cards.merge_note(repository) == "pull request 12, merged by B Author, committed by A Tester"


def test_commit_without_a_pull_request_says_so(repository: Path):
    assert cards.merge_note(repository) == "put on the main branch by A Tester"
