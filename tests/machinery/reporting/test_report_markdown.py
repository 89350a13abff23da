from __future__ import annotations

from typing import Any

import pytest
from markdown_it import MarkdownIt

from slipway.core.verdict import Check, Verdict
from slipway.reporting import report_markdown
from slipway.reporting.report_model import Facts
from support.hostile_texts import HOSTILE
from support.sample_reports import DATA, DELIVERY, QUALITY, REGRESSION, facts, judged, ruled


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


@pytest.mark.parametrize(
    ("judge", "first"),
    [
        (judged(), "## ✅ Better than the champion"),
        (judged(value=0.05, low=0.03, high=0.07, ok=False), "## ❌ Refused: worse than the champion"),
        (judged(ok=None), "## ❔ Cannot tell: too little was measured"),
    ],
)
def test_the_verdict_comes_first(judge: dict[str, Any], first: str):
    assert report_markdown.render(facts(judge=judge)).splitlines()[0] == first


def test_the_headline_numbers_stand_above_the_fold():
    above = report_markdown.render(facts()).split("<details>")[0]
    assert "| log loss | 0.4300 | **0.4200** | ▼ 0.0100 better | – |" in above
    assert "| AUC | 0.7200 | **0.7100** | ▼ 0.0100 **worse** | 0.6900 … 0.7300 |" in above
    assert "2013-10-02 to 2013-10-31" in above
    assert len(above.splitlines()) < 20


def test_changed_limits_stand_above_the_fold():
    above = report_markdown.render(facts(judge=judged(limits_changed=["judge.margin: 0.003 → 0.1"]))).split(
        "<details>"
    )[0]
    assert "> - judge.margin: 0.003 → 0.1" in above


def test_many_failed_checks_are_shortened_above_the_fold():
    checks = [Check(name=f"slice {i}", value=0.5, low=0.4, high=0.6, limit="< 0.1", ok=False) for i in range(30)]
    text = report_markdown.render(facts(judge=Verdict(chapter="judge", checks=checks).record()))
    assert "and 29 more, below" in text
    assert "25 more in `reports/report.html`" in text.split("<details>")[0]


def test_the_impossible_wind_shows_up_once():
    assert report_markdown.render(facts()).count("1,048") == 1


def test_everything_else_is_folded():
    text = report_markdown.render(facts())
    for summary in (
        "Data: 8,000 → 9,000 rows, 1 of 2 inputs shifted",
        "Gates: ✅ judge",
        "Judge: 2 checks",
        "Slices: 1 worse, 0 better, of 1; most carrier UA by 0.0200",
        "Data quality: 1",
        "How to reproduce",
    ):
        assert f"<details><summary>{summary}" in text
    assert text.count("<details>") == text.count("</details>")


def test_changed_parameters_are_told_in_a_line_or_a_list():
    assert "\n\nParameter changed: data.until: 2013-10-01 → 2013-11-01\n" in report_markdown.render(facts())
    two = report_markdown.render(facts(judge=judged(params_changed=["seed: 1 → 2", "seeds: 3 → 4"])))
    assert "<summary>Parameters changed: 2</summary>\n\n- seed: 1 → 2\n- seeds: 3 → 4\n" in two
    assert "Parameter" not in report_markdown.render(facts(judge=judged(params_changed=[])))


def test_pipeline_that_stopped_has_no_metrics_to_show():
    stopped = Check(name="dvc repro", value="ingest: 3 rows", limit="every stage ends well", ok=False)
    text = report_markdown.render(
        facts(metrics={}, gates={"repro": Verdict(chapter="repro", checks=[stopped]).record()})
    )
    assert text.startswith("## ❌ Refused: the pipeline stops")
    assert "| metric" not in text
    assert "rows of" not in text


def test_what_changed_in_the_data_is_told_input_by_input():
    text = report_markdown.render(facts())
    assert "| training window of the base | 8,000 | 2013-01-01 | 2013-09-01 |" in text
    assert "mean 0.2000 → 0.2500, shift 0.0300 from the champion's" in text
    rows = [line for line in text.splitlines() if line.startswith(("| year", "| carrier | `", "| new"))]
    assert rows[0] == "| year | `██▍   ` 0.4000 | `██████` 1.5 | 0.1700 | 0.2000 |"
    assert rows[2] == "| new | – | `▋     ` 0.1000 | – | – |"
    assert "No longer an input: old" in text


def test_data_of_a_base_without_a_reference_is_told_so():
    known = {"train": [None, DATA["train"][1]], "inputs": [{**DATA["inputs"][2]}], "gone": []}
    text = report_markdown.render(facts(judge=judged(data=known)))
    assert "Data: 9,000 rows, the base left nothing to compare with" in text
    assert "training window of the base" not in text


def test_what_happens_in_the_cluster_stands_above_the_fold():
    above, _, folded = report_markdown.render(facts()).partition("<details>")
    assert "**Delivery**: staging: synced, 2 objects changed; pods restart: Deployment serve; runs again:" in above
    assert "the merge releases nothing" in above
    assert "<summary>Cluster: 2 rendered objects differ</summary>" in folded
    digests = [f"a&#64;\u200bsha256:{digit}…" for digit in "12"]
    path = "spec.template.spec.containers&#91;serve&#93;.image"
    row = f"| staging: Deployment serve | {path} | {' → '.join(digests)} |"
    assert row in folded


def test_more_than_two_things_in_the_cluster_are_a_list():
    text = report_markdown.render(facts(gates={"judge": judged(), "manifests": ruled()}))
    assert "\n\n**Delivery**\n\n- staging: synced" in text
    assert "\n- rules of k8s/policy: all 1 hold &#40;as this" in text


def test_very_many_things_in_the_cluster_are_counted():
    text = report_markdown.render(facts(delivery=DELIVERY | {"unknown": [f"env{i}" for i in range(30)]}))
    assert "- env9: what changes" in text
    assert "- env10" not in text
    assert "- and 22 more in `reports/report.html`" in text


def test_a_project_without_a_cluster_says_nothing_of_one():
    text = report_markdown.render(facts(delivery={}))
    assert "Delivery" not in text
    assert "Cluster" not in text


def test_a_broken_rule_is_said_whole():
    text = report_markdown.render(facts(gates={"judge": judged(), "manifests": ruled(ok=False)}))
    assert text.startswith("## ❌ Refused: what it deploys does not build, or breaks a rule")
    assert "rule images staging Job x: x has x:1, limit pinned by digest" in text


def test_what_stopped_it_is_more_than_a_few_words():
    said = Check(name="kustomize build staging", value="service.yaml: " + "x" * 90, limit="ends well", ok=False)
    text = report_markdown.render(
        facts(gates={"manifests": Verdict(chapter="manifests", checks=[said, said]).record()})
    )
    assert f"| service.yaml: {'x' * 90} |" in text


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_the_data_cannot_break_out(text: str):
    row = {"slice": "carrier", "value": text, "rows": 400, "target": 0.2, "loss": 0.4}
    given = facts(
        slices=[row],
        judge=judged(value_of_slice=text, params_changed=[text], limits_changed=[text], data={text: [1, text]}),
        contract={"labels": {"title": text}},
        quality=QUALITY | {"faults": [{**QUALITY["faults"][0], "column": text, "worst": text}]},
        delivery=DELIVERY
        | {
            "ships": [text],
            "unknown": [text],
            "hooks": {"staging": [text]},
            "changes": [
                {**DELIVERY["changes"][0], "env": env, "kind": text, "name": text, "fields": [[text, text, text]]}
                for env in ("staging", text)
            ],
        },
    )
    page = rendered(report_markdown.render(given))
    other = DELIVERY | {"unknown": ["x"], "changes": [DELIVERY["changes"][0], {**DELIVERY["changes"][0], "env": "x"}]}
    plain = rendered(report_markdown.render(facts(judge=judged(limits_changed=["x"], data={"x": 1}), delivery=other)))
    for mark in (
        "<table",
        "<tr",
        "<td",
        "<details",
        "</details>",
        "<p>",
        "<li>",
        "<code",
        "<h2",
        "<strong",
        "<em",
    ):
        assert page.count(mark) == plain.count(mark), mark
    assert "<script" not in page
    assert "<a " not in page
    assert "<img" not in page


def test_a_long_report_is_cut_and_says_so():
    nasty = "|" * 500
    many = [{"slice": nasty, "value": str(i) + nasty, "rows": 9, "target": 0.1, "loss": 0.4} for i in range(400)]
    faults = [{**QUALITY["faults"][0], **dict.fromkeys(("source", "column", "what", "action"), nasty)}] * 400
    given = facts(slices=many, quality=QUALITY | {"faults": faults}, judge=judged(params_changed=[nasty] * 400))
    text = report_markdown.render(given)
    assert len(text.encode()) <= report_markdown.MAX_BYTES
    assert "Left out to stay below 60,000 bytes: data quality" in text
    assert text.startswith("## ✅")


def test_a_long_table_says_how_much_is_missing():
    rows = [{"slice": "dest", "value": str(i), "rows": 9, "target": 0.1, "loss": 0.4} for i in range(100)]
    assert "_60 more in `reports/report.html`._" in report_markdown.render(facts(slices=rows))


def test_a_regression_without_records_is_reported():
    text = report_markdown.render(Facts(metrics=REGRESSION))
    assert text.startswith("## ❔ Not judged yet")
    assert "| squared error | 342.2 | **19.2** | ▼ 323 better | – |" in text
    assert "AUC" not in text
