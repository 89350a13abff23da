from __future__ import annotations

from html import unescape
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
        (judged(), "## ✅ Better than production"),
        (judged(value=0.05, low=0.03, high=0.07, ok=False), "## ❌ Refused: worse than production"),
        (judged(ok=None), "## ❔ Inconclusive: too little was measured"),
    ],
)
def test_the_verdict_comes_first(judge: dict[str, Any], first: str):
    assert report_markdown.render(facts(judge=judge)).splitlines()[0] == first


def test_the_headline_numbers_stand_above_the_fold():
    above = report_markdown.render(facts()).split("<details>")[0]
    head = "| metric | production | this change | difference | its 95 % interval |  |"
    assert head in above
    assert "| log loss (lower is better) | 0.4300 | **0.4200** | −0.0100 | −0.0200 to −0.0050 | better |" in above
    assert "| AUC (higher is better) | 0.7200 | **0.7100** | −0.0100 | −0.0210 to −0.0040 | **worse** |" in above
    assert (
        "| Brier score (lower is better) | 0.1300 | **0.1300** | 0.0000 | −0.0010 to +0.0020 | no clear change |"
        in above
    )
    assert "2013-10-02 to 2013-10-31" in above
    assert len(above.splitlines()) < 30


def test_changed_limits_stand_above_the_fold():
    above = report_markdown.render(facts(judge=judged(limits_changed=["judge.margin: 0.003 → 0.1"]))).split(
        "<details>"
    )[0]
    assert "> - judge.margin: 0.003 → 0.1" in above


def test_restarted_comparison_stands_right_below_the_verdict():
    text = report_markdown.render(facts(judge=judged(restart_at="b" * 40, champion_commit=None, metrics={})))
    assert text.startswith("## ✅ Better than the baseline, not compared with production\n")
    above = unescape(text.split("**What this pull request changes**")[0])
    assert (
        "> [!CAUTION]\n> This pull request restarts the comparison: judge.restart_at names commit bbbbbbbbbbbb" in above
    )
    assert "restarts the comparison" not in report_markdown.render(facts())


def test_report_says_how_the_champion_was_compared():
    text = report_markdown.render(facts(judge=judged(
        champion_refusal="the table lacks <b>", uncompared_rows=12, restart_note="judge.restart_at names another",
    )))  # fmt: skip
    assert "<b>" not in text
    above = unescape(text.split("<details>")[0])
    assert "could not read this change's table, so its own code ingested the sources: the table lacks <b>" in above
    assert "- Not compared, because production's code does not have them: 12 rows of the test window" in above
    assert "- judge.restart_at names another" in above


def test_many_failed_checks_are_shortened_above_the_fold():
    checks = [Check(name=f"slice {i}", value=0.5, low=0.4, high=0.6, limit="< 0.1", ok=False) for i in range(30)]
    text = report_markdown.render(facts(judge=Verdict(chapter="judge", checks=checks).record()))
    assert "(and 29 more, below)" in text
    assert "25 more in `reports/report.html`" in text.split("<details>")[0]


def test_the_impossible_wind_shows_up_once():
    assert report_markdown.render(facts()).count("1,048") == 1


def test_everything_else_is_folded():
    text = report_markdown.render(facts())
    for summary in (
        "Inputs: 1 of 3 shifted &#40;1 since the base, 1 between training and test&#41;",
        "All checks: ✅ judge",
        "Comparison with production: 2 checks",
        "Loss by slice: 1 worse; most: carrier UA, +0.020",
        "Data quality: 1 kind of fault",
        "Reproduce this report",
    ):
        assert f"<details><summary>{summary}" in text
    assert text.count("<details>") == text.count("</details>")


def test_changed_parameters_are_told_in_a_line_or_a_list():
    head = "\n\n**What this pull request changes**\n\n"
    assert f"{head}- Parameter data.until: 2013-10-01 → 2013-11-01\n- Training data" in report_markdown.render(facts())
    many = report_markdown.render(facts(judge=judged(params_changed=[f"seed{i}: 1 → 2" for i in range(12)])))
    assert "- Parameter seed9: 1 → 2\n- and 2 more parameters in `reports/report.html`\n" in many
    assert f"{head}- Parameters: none\n" in report_markdown.render(facts(judge=judged(params_changed=[])))


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
    assert "- Training data: 8,000 rows, 2013-01-01 to 2013-09-01 → 9,000 rows, 2013-01-01 to 2013-10-01" in text
    assert "- Predictions of the same rows: mean 0.2000 → 0.2500, shift 0.0300\n" in text
    rows = [line for line in text.splitlines() if line.startswith(("| year", "| carrier | `", "| new"))]
    assert rows[0] == "| year | `██▍   ` 0.40 | `██████` 1.50 | 17.0 % | 20.0 % |"
    assert rows[1] == "| new | – | `▋     ` 0.10 | – | – |"
    assert "No longer an input: old" in text


def test_data_of_a_base_without_a_reference_is_told_so():
    known = {"train": [None, DATA["train"][1]], "inputs": [{**DATA["inputs"][2]}], "gone": []}
    text = report_markdown.render(facts(judge=judged(data=known)))
    assert "- Training data: 9,000 rows, 2013-01-01 to 2013-10-01\n" in text
    assert "- Inputs: 0 of 1 shifted between training and test; the base left nothing to compare with\n" in text


def test_what_happens_in_the_cluster_stands_above_the_fold():
    above, _, folded = report_markdown.render(facts()).partition("<details>")
    assert "- staging: Argo CD applies 2 changed objects; pods restart: Deployment serve; runs again:" in above
    assert "The merge releases nothing" in above
    assert "<summary>Cluster: 2 rendered objects changed</summary>" in folded
    digests = [f"a&#64;\u200bsha256:{digit}…" for digit in "12"]
    path = "spec.template.spec.containers&#91;serve&#93;.image"
    row = f"| staging: Deployment serve | {path} | {' → '.join(digests)} |"
    assert row in folded


def test_things_in_the_cluster_are_a_list():
    text = report_markdown.render(facts(gates={"judge": judged(), "manifests": ruled()}))
    assert "\n\n**Delivery**\n\n- staging: Argo CD applies" in text
    assert "\n- The objects keep the one rule of k8s/policy &#40;checked" in text


def test_very_many_things_in_the_cluster_are_counted():
    text = report_markdown.render(facts(delivery=DELIVERY | {"unknown": [f"env{i}" for i in range(30)]}))
    assert "- env9: the effect is unknown" in text
    assert "- env10" not in text
    assert "- and 22 more in `reports/report.html`" in text


def test_a_project_without_a_cluster_says_nothing_of_one():
    text = report_markdown.render(facts(delivery={}))
    assert "Delivery" not in text
    assert "Cluster" not in text


def test_a_broken_rule_is_said_whole():
    text = report_markdown.render(facts(gates={"judge": judged(), "manifests": ruled(ok=False)}))
    assert text.startswith("## ❌ Refused: the Kubernetes manifests do not build, or break a rule")
    assert "rule images: staging Job x: x has x:1; expected: pinned by digest" in text


def test_what_stopped_it_is_more_than_a_few_words():
    said = Check(name="kustomize build staging", value="service.yaml: " + "x" * 90, limit="ends well", ok=False)
    text = report_markdown.render(
        facts(gates={"manifests": Verdict(chapter="manifests", checks=[said, said]).record()})
    )
    assert "**Fails (2)**" in text
    assert f"| manifests | kustomize build staging: service.yaml: {'x' * 90} | ends well |" in text


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
    assert "| squared error (lower is better) | 342.2 | **19.2** | −323 | – | no interval |" in text
    assert "AUC" not in text
