from __future__ import annotations

from typing import Any

import pytest

from slipway.reporting import report_markdown, sections
from slipway.reporting.report_model import Change, Delivery, Facts
from slipway.reporting.sections import change_rows, delivery_sentences, merge_sentence, planned_syncs
from support.sample_reports import DELIVERY, facts, judged, paced, ruled

POD, HOOK = DELIVERY["changes"]


def said(**notes: Any) -> list[str]:
    return delivery_sentences(facts(delivery=DELIVERY | notes))


def test_a_project_without_a_cluster_has_no_section():
    assert delivery_sentences(Facts()) == []


def test_what_is_synced_and_what_restarts_is_said_by_environment():
    assert said()[:1] == [
        "staging: Argo CD applies 2 changed objects; pods restart: Deployment serve; runs again: Job load-gate"
    ]


def test_hooks_alone_are_not_synced_and_do_not_run():
    [one, other] = planned_syncs(Delivery(**DELIVERY | {"changes": [HOOK]}))
    assert (one.env, one.synced, one.runs, one.pods) == ("staging", False, [], [])
    assert not other.synced
    assert "nothing is synced and nothing runs" in said(changes=[HOOK])[0]


def test_an_object_without_pods_restarts_nothing():
    service = POD | {"kind": "Service", "pods": False}
    assert said(changes=[service])[0] == (
        "staging: Argo CD applies 1 changed object; no pod restarts; runs again: Job load-gate"
    )


@pytest.mark.parametrize(
    ("what", "verb"), [("added", "pods start"), ("removed", "pods stop"), ("changed", "pods restart")]
)
def test_pods_start_stop_or_restart(what: str, verb: str):
    assert f"{verb}: Deployment serve" in said(changes=[POD | {"what": what, "env": "production"}])[0]


def test_a_hook_whose_template_changed_is_no_pod_that_restarts():
    assert planned_syncs(Delivery(**DELIVERY | {"changes": [POD, HOOK | {"pods": True}]}))[0].pods == [
        "pods restart: Deployment serve"
    ]


def test_what_no_application_follows_is_for_a_person():
    found = said(changes=[POD | {"env": "policy"}] * 2)
    assert found[0] == "policy: 2 objects changed; no Application syncs that, so a person must apply it"


def test_objects_that_the_record_left_out_are_counted():
    assert "5 more objects changed, not listed here" in said(objects=7)
    assert "not listed here" not in " ".join(said(objects=2))


def test_files_without_a_difference_in_objects_are_no_sync():
    assert said(changes=[], objects=0)[0] == (
        "2 files below k8s/ changed, but no rendered object, so Argo CD syncs nothing"
    )


def test_an_environment_that_does_not_build_is_unknown():
    assert said(unknown=["production"])[0].startswith("production: the effect is unknown")


def test_without_kustomize_it_is_said_and_nothing_is_claimed():
    bare = {"by": None, "files": 2, "ships": []}
    found = delivery_sentences(facts(delivery=bare))
    assert found[0] == "The manifests were not rendered: kustomize is not installed here"
    assert found[1] == "2 files below k8s/ changed; their effect on the cluster is unknown"
    assert "No file below k8s/ changes" in delivery_sentences(facts(delivery=bare | {"files": 0}))[1]


def test_a_change_of_nothing_below_k8s_is_two_short_sentences():
    found = said(files=0, changes=[], local=False, ships=["models/model.onnx"])
    assert found == [
        "No file below k8s/ changes, so this pull request itself changes nothing in the cluster",
        "The merge releases a new image, since models/model.onnx changed: "
        "staging's pods restart with it and are load-tested, production's follow by promotion",
    ]


def test_what_the_merge_leads_to_depends_on_what_ships():
    assert merge_sentence(Delivery(ships=[])) == "The merge releases nothing, since no file of the image changed"
    assert "since a, b, c and 2 more changed" in merge_sentence(Delivery(ships=list("abcde")))
    assert merge_sentence(Delivery(ships=["a"], local=True)).endswith(
        "by promotion; on GitHub only once newName in k8s/overlays/staging names a registry"
    )
    assert "GitHub" not in merge_sentence(Delivery(ships=["a"], local=False))


def test_the_rules_are_told_with_who_read_them():
    told = delivery_sentences(facts(gates={"manifests": ruled()}))[-1]
    assert told == "The objects keep the one rule of k8s/policy (checked without a cluster)"
    assert delivery_sentences(facts(gates={"manifests": ruled(ok=False)}))[-1].startswith(
        "Rules of k8s/policy that are broken: images ("
    )
    assert delivery_sentences(facts(gates={"manifests": ruled(ok=None)}))[-1].startswith(
        "Rules of k8s/policy that are broken: images ("
    )


def test_a_rule_that_was_broken_before_is_told_even_where_nothing_changes():
    quiet = DELIVERY | {"files": 0, "changes": []}
    assert not delivery_sentences(facts(delivery=quiet, gates={"manifests": ruled()}))[-1].startswith("The objects")
    assert delivery_sentences(facts(delivery=quiet, gates={"manifests": ruled(ok=False)}))[-1].startswith(
        "Rules of k8s/policy that are broken"
    )


def test_a_table_has_a_row_for_each_field():
    assert change_rows([Change(**POD), Change(**HOOK)], 6) == [
        ["staging: Deployment serve", "spec.template.spec.containers[serve].image", "a@sha256:1… → a@sha256:2…"],
        ["staging: Job load-gate (hook)", "metadata.labels.a", "– → b"],
    ]


def test_a_long_object_is_cut_and_an_added_one_is_a_row():
    many = POD | {"fields": [[f"f{i}", "a", None] for i in range(9)]}
    assert change_rows([Change(**many)], 2) == [
        ["staging: Deployment serve", "f0", "a → –"], ["", "f1", "a → –"], ["", "and 7 more", ""],
    ]  # fmt: skip
    assert change_rows([Change(**POD | {"what": "added", "fields": []})], 2) == [
        ["staging: Deployment serve", "", "added"]
    ]


def told(**how: Any) -> Facts:
    return facts(gates={"judge": judged(), "latency": paced(**how)})


def test_a_pass_is_one_line_to_open_with_its_table_inside():
    text = sections.latency_section(told())
    assert text.startswith(
        "<details><summary>Latency: not slower than before: p50 of one row +1 % &#40;noise interval −1 % to +3 %; "
        "allowed: at most +10 %&#41;<"
    )
    assert "| p50 of one row | 0.2 | 0.202 | +1 % | −1 % to +3 % | at most +10 % |" in text


def test_a_refusal_stands_with_its_table_in_sight():
    text = sections.latency_section(told(more=0.2, ok=False))
    assert text.startswith(
        "**Latency**: slower than before: p50 of one row +20 % &#40;noise interval +18 % to +22 %; allowed: at most +10 %&#41;"
    )
    assert "| p50 of one row | 0.2 | 0.24 | +20 % | +18 % to +22 % | at most +10 % |" in text
    assert "details" not in text


def test_what_could_not_be_told_is_said_so():
    assert sections.latency_outcome(told(more=0.1, ok=None)).startswith(
        "inconclusive: p50 of one row, more than the base's"
    )


def test_nothing_to_compare_is_said_and_has_no_table():
    text = sections.latency_section(told(table=False, value="the same service as the base's", ok=True))
    assert text == "**Latency**: the same service as the base&#39;s"
    assert sections.latency_rows(told(table=False)) == []


def test_without_the_check_there_is_no_part():
    assert sections.latency_section(facts()) == sections.latency_outcome(facts()) == ""
    assert "Latency" not in report_markdown.render(facts())


def test_it_stands_in_the_comment_above_the_cluster():
    text = report_markdown.render(told())
    assert text.index("Latency: not slower than before") < text.index("**Delivery**")


@pytest.mark.parametrize("hostile", ["<img src=x>", "a|b", "@all", "[x](http://x)"])
def test_names_of_strangers_cannot_break_out(hostile: str):
    record = paced()
    record["notes"]["table"][0][0] = hostile
    assert hostile not in sections.latency_section(facts(gates={"latency": record}))


def test_a_service_that_fails_is_quoted_with_its_check():
    text = sections.latency_outcome(told(table=False, value="1 of 9 requests", ok=False))
    assert text == "service: 1 of 9 requests; expected: nothing to compare"


def test_what_is_no_number_is_no_percentage():
    assert sections.percent("1") == "–"
    assert sections.percent(0.25) == "+25 %"
