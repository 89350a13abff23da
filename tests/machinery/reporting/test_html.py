from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from slipway.pipeline import plots
from slipway.reporting import html
from slipway.reporting.report_model import Facts
from support.sample_reports import DATA, DELIVERY, QUALITY, REGRESSION, RELIABILITY, facts, judged, paced

VOID = {"meta", "br", "link", "img", "hr", "input"}
DRAWN = {"reliability": plots.render_svg(plots.PLOTS["reliability"], RELIABILITY, name="reliability")}


class Reader(HTMLParser):
    """Fails on tags that do not nest; keeps tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    assert not reader.open
    return reader


@pytest.mark.parametrize("document", [html.report_page(facts(), DRAWN), html.data_page(facts(), DRAWN["reliability"])])
def test_a_page_stands_alone(document: str):
    reader = read(document)
    assert not {"script", "link", "img", "iframe"} & set(reader.tags)
    assert not [link for link in reader.links if ":" in link or link.startswith("//")]
    assert "@import" not in document
    assert not re.search(r"url\((?!#)", document)
    assert "Content-Security-Policy" in document
    assert len(reader.ids) == len(set(reader.ids))


def test_a_restarted_comparison_and_an_own_ingest_are_on_the_page():
    judge = judged(restart_at="b" * 40, champion_refusal="the table lacks <b>x", data=None, params_changed=[])
    text = read(html.report_page(facts(judge=judge), DRAWN)).text
    assert "This pull request restarts the comparison: judge.restart_at names commit bbbbbbbbbbbb" in text
    assert "so its own code ingested the sources: the table lacks <b>x" in text
    assert "restarts the comparison" not in read(html.report_page(facts(), DRAWN)).text


def test_the_verdict_and_its_numbers_are_on_the_page():
    text = read(html.report_page(facts(), DRAWN)).text
    for shown in (
        "Better than production",
        "0.4200",
        "−0.0100",
        "−0.0200 to −0.0050",
        "AUC, higher is better",
        "1,048",
        "Calibration",
        "d" * 40,
        "c" * 64,
    ):
        assert shown in text


@pytest.mark.parametrize(
    ("judge", "look"),
    [(judged(), "good"), (judged(low=0.01, high=0.02, ok=False), "bad"), (judged(ok=None), "unsure")],
)
def test_a_verdict_has_its_colour(judge: dict[str, Any], look: str):
    assert f'class="verdict {look}"' in html.report_page(facts(judge=judge), {})


def test_text_of_the_data_is_only_text():
    nasty = '"><script>alert(1)</script>\u202e'
    windows = [{"rows": nasty, "first": nasty, "last": nasty}] * 2
    data = DATA | {"train": windows, "inputs": [{**DATA["inputs"][0], "input": nasty}], "gone": [nasty]}
    given = facts(
        judge=judged(
            value_of_slice=nasty, params_changed=[nasty], limits_changed=[nasty], window=[nasty, nasty], data=data
        ),
        contract={"problem": nasty, "labels": {"title": nasty}},
        quality=QUALITY | {"columns": [{**QUALITY["columns"][0], "name": nasty, "top": {nasty: 3}}]},
        delivery=DELIVERY
        | {
            "ships": [nasty],
            "unknown": [nasty],
            "changes": [
                {
                    **DELIVERY["changes"][0],
                    "env": nasty,
                    "kind": nasty,
                    "name": nasty,
                    "fields": [[nasty, nasty, nasty]],
                }
            ],
        },
    )
    for document in (html.report_page(given, {}, f"# {nasty[:-1]}\n\n{nasty[:-1]}\n"), html.data_page(given, "")):
        reader = read(document)
        assert "script" not in reader.tags
        assert "\u202e" not in document
    assert nasty.replace("\u202e", "�") in reader.text


def test_what_does_not_exist_is_left_out():
    bare = Facts(metrics=REGRESSION)
    text = read(html.report_page(bare, {})).text
    assert "Not judged yet" in text
    assert "Plots" not in text
    assert "no commit yet" in text
    assert "No fault was found" in read(html.data_page(bare, "")).text


def test_what_changed_in_the_data_is_on_the_page():
    text = " ".join(re.sub("<[^>]*>", " ", html.report_page(facts(), {})).split())
    for shown in (
        "data.until: 2013-10-01 → 2013-11-01",
        "Training data: 8,000 rows, 2013-01-01 to 2013-09-01 → 9,000 rows, 2013-01-01 to 2013-10-01",
        "Inputs: 1 of 3 shifted (1 since the base, 1 between training and test)",
        "mean 0.2000 in production, 0.2500 now, shift 0.0300",
        "No longer an input: old.",
        "year 0.40 1.50 17.0 % 20.0 % new – 0.10 – – carrier 0.01 0.02 0 % 0 %",
    ):
        assert shown in text, shown


def test_what_happens_in_the_cluster_is_on_the_page():
    text = " ".join(re.sub("<[^>]*>", " ", html.report_page(facts(), {})).split())
    for shown in (
        "Delivery What happens in the cluster. staging: Argo CD applies 2 changed objects; pods restart: Deployment serve;",
        "2 rendered objects changed",
        "staging: Deployment serve spec.template.spec.containers[serve].image a@sha256:1… → a@sha256:2…",
        "staging: Job load-gate (hook) metadata.labels.a – → b",
    ):
        assert shown in text, shown
    assert "Delivery" not in html.report_page(facts(delivery={}), {})


def test_latency_is_on_the_page_where_it_was_measured():
    gates = {"judge": judged(limits_changed=["judge.margin: 1 → 2"]), "latency": paced()}
    text = " ".join(re.sub("<[^>]*>", " ", html.report_page(facts(gates=gates), {})).split())
    for shown in (
        "not slower than before: p50 of one row +1 % (noise interval −1 % to +3 %; allowed: at most +10 %)",
        "p50 of one row 0.2 0.202 +1 % −1 % to +3 % at most +10 %",
        "It was judged by the limits of its base: judge.margin: 1 → 2",
    ):
        assert shown in text, shown
    same = html.report_page(facts(gates={"latency": paced(table=False, value="the same service")}), {})
    assert "the same service" in same
    assert "noise interval" not in same
    assert "Latency" not in html.report_page(facts(), {})


def test_only_an_input_that_shifted_stands_out():
    bars = re.findall(r'class="reach( far)?".*?width:([\d.]+)%', html.report_page(facts(), {}))
    assert bars == [(" far", "40.0"), (" far", "100.0"), ("", "10.0"), ("", "1.0"), ("", "2.0")]


def test_inputs_that_moved_least_are_folded():
    inputs = [{"input": f"input {i}", "train": 0.01 * i, "test": 0.001 * i, "missing": [0.0, 0.0]} for i in range(20)]
    document = html.report_page(facts(judge=judged(data=DATA | {"inputs": inputs})), {})
    shown, folded = document.split("8 more that moved less")
    assert "input 19" in shown
    assert "input 7<" in folded
    assert "input 7<" not in shown


def test_without_the_bases_reference_only_the_test_is_compared():
    inputs = [{"input": "year", "train": None, "test": 1.5, "missing": None}]
    data = {"train": [None, DATA["train"][1]], "inputs": inputs, "gone": []}
    text = read(html.report_page(facts(judge=judged(data=data)), {})).text
    assert "the base left nothing to compare with" in text
    assert "Shift from training to test" in text
    for absent in ("since the base", "missing before", "No longer", "Predictions of the same rows"):
        assert absent not in text


def test_page_of_a_pipeline_that_stopped_shows_no_model():
    check = {"name": "dvc repro", "value": "ingest: 3 rows", "limit": "ends well", "ok": False}
    repro = {"verdict": "fail", "rows": 0, "checks": [check | {"low": None, "high": None}]}
    text = read(html.report_page(Facts(gates={"repro": repro}), DRAWN, "# Card\n")).text
    assert "Refused: the pipeline stops" in text
    assert "ingest: 3 rows" in text
    for absent in ("Metrics", "Plots", "Calibration", "What this pull request changes", "Cards", "– rows"):
        assert absent not in text


def test_cards_are_folded_parts_of_the_page():
    text = html.report_page(facts(), {}, "# One\n\n- a `b`\n\n# Two\n\n| c |\n|---|\n| d |\n")
    assert '<details class="card"><summary>One</summary><div class="folded">\n<ul>\n<li>a <code>b</code></li>' in text
    assert '<summary>Two</summary><div class="folded">\n<div class="scroll"' in text
    assert '<th scope="col">c</th>' in text
    read(text)


def test_every_column_is_on_the_data_page():
    text = read(html.data_page(facts(), "")).text
    for shown in (
        "carrier",
        "airline",
        "number · year",
        "1956",
        "median 2002",
        "missing 17",
        "never missing",
        "UA",
    ):
        assert shown in text


def test_a_reference_far_away_stays_on_the_line():
    document = html.report_page(facts(judge=judged(metrics={"champion": {"auc": 0.1}})), {})
    assert all(-1 <= float(at) <= 101 for at in re.findall(r"left:(-?[\d.]+)%", document))
