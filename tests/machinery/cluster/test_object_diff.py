from __future__ import annotations

from typing import Any

import pytest

from slipway.cluster import object_diff
from slipway.cluster.object_diff import by_name, changes, compare, differences, format_value, is_hook

DIGESTS = ["sha256:" + digit * 64 for digit in "12"]


def one(kind: str = "Deployment", name: str = "serve", **more: Any) -> dict[str, Any]:
    """An object in namespace `s`; `more` are its other fields."""
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "s"}, **more}


def workload(image: str = "a@" + DIGESTS[0], *, kind: str = "Deployment", replicas: int = 1) -> dict[str, Any]:
    containers = [{"name": "log", "image": "log"}, {"name": "serve", "image": image}]
    return one(kind, spec={"replicas": replicas, "template": {"spec": {"containers": containers}}})


def test_nothing_differs_between_equal_renderings():
    assert compare([workload()], [workload()], "staging") == []


def test_a_new_image_is_one_field_of_a_named_container():
    [found] = compare([workload()], [workload("a@" + DIGESTS[1])], "staging")
    assert (found.env, found.kind, found.namespace, found.name, found.what) == (
        "staging", "Deployment", "s", "serve", "changed",
    )  # fmt: skip
    assert found.fields == [
        ("spec.template.spec.containers[serve].image", "a@sha256:111111111111…", "a@sha256:222222222222…")
    ]
    assert found.pods
    assert not found.hook


@pytest.mark.parametrize("kind", object_diff.WORKLOADS)
def test_pods_restart_when_their_template_changes_and_not_when_they_are_scaled(kind: str):
    assert compare([workload(kind=kind)], [workload("b", kind=kind)], "s")[0].pods
    assert not compare([workload(kind=kind)], [workload(kind=kind, replicas=2)], "s")[0].pods


def test_a_job_has_no_pods_that_restart():
    assert not compare([workload(kind="Job")], [workload("b", kind="Job")], "s")[0].pods


def test_what_comes_and_goes_is_said():
    found = compare([workload()], [workload(kind="Rollout")], "production")
    assert [(row.kind, row.what, row.pods, row.fields) for row in found] == [
        ("Deployment", "removed", True, []), ("Rollout", "added", True, []),
    ]  # fmt: skip


def test_a_generated_name_is_one_object_that_changed():
    old, new = (one("ConfigMap", f"slo-{hashed}", data={"a": hashed}) for hashed in ("4t52429mf5", "5bgh267fck"))
    [found] = compare([old], [new], "staging")
    assert (found.name, found.what) == ("slo", "changed")
    assert ("metadata.name", "slo-4t52429mf5", "slo-5bgh267fck") in found.fields


@pytest.mark.parametrize("name", ["slo-production", "slo-4t52429mf", "slo-4t52429mf5x", "slo-0123456789"])
def test_a_name_that_only_looks_generated_is_kept(name: str):
    assert [key[-1] for key in by_name([one("ConfigMap", name)])] == [name]


def test_names_that_would_become_one_stay_two():
    two = [one("ConfigMap", f"slo-{hashed}", data={"a": hashed}) for hashed in ("4t52429mf5", "5bgh267fck")]
    assert sorted(key[-1] for key in by_name(two)) == ["slo-4t52429mf5", "slo-5bgh267fck"]
    assert [key[-1] for key in by_name([one("Service", "slo-4t52429mf5")])] == ["slo-4t52429mf5"]


def test_the_same_name_of_another_kind_namespace_or_group_is_another_object():
    other = [one("Service"), {**one(), "apiVersion": "argoproj.io/v1alpha1"}, {**one(), "metadata": {"name": "serve"}}]
    assert len(by_name([one(), *other])) == 4
    assert len(by_name([one(), {**one(), "apiVersion": "apps/v2"}])) == 1, "a new version is no new object"


def test_values_of_a_secret_are_never_shown():
    old, new = (
        one("Secret", data={"password": word}, stringData={"b": word}, immutable=word) for word in ("hush", "hark")
    )
    new["metadata"]["annotations"] = {"last": "hark"}
    [found] = compare([old], [new], "staging")
    assert "hush" not in str(found)
    assert "hark" not in str(found)
    assert ("data", "(hidden)", "(hidden)") in found.fields


@pytest.mark.parametrize("annotation", object_diff.HOOKS)
def test_a_hook_is_known_by_its_annotation(annotation: str):
    hook = one("Job") | {"metadata": {"name": "gate", "annotations": {annotation: "PostSync"}}}
    assert is_hook(hook)
    assert not is_hook(one("Job"))
    assert compare([], [hook], "s")[0].hook
    plain = hook | {"metadata": {"name": "gate", "namespace": ""}}
    assert not compare([hook], [plain], "s")[0].hook, "what becomes an object of the application is compared"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ({"a": {"b/c": 1}}, {"a": {"b/c": 2}}, ("a[b/c]", "1", "2")),
        ({"a": [1, 2]}, {"a": [1, 3]}, ("a", "[1, 2]", "[1, 3]")),
        ({"a": True}, {}, ("a", "true", None)),
        ({}, {"a": {"b": 1}}, ("a", None, '{"b": 1}')),
        ({"a": "x"}, {"a": 1}, ("a", "x", "1")),
        ({"v": [{"name": "t", "mountPath": "/a"}]}, {"v": [{"name": "t", "mountPath": "/b"}]},
         ("v[t].mountPath", "/a", "/b")),
        ({"v": [{"name": "t", "mountPath": "/a"}, {"name": "t", "mountPath": "/b", "readOnly": True}]},
         {"v": [{"name": "t", "mountPath": "/a"}, {"name": "t", "mountPath": "/b"}]}, ("v[/b].readOnly", "true", None)),
        ({"e": [{"name": "A"}]}, {"e": [{"name": "A"}, {"name": "B", "value": "1"}]},
         ("e[B]", None, '{"name": "B", "value": "1"}')),
        ({"t": "a: 1\nb: 2\nc: 3"}, {"t": "a: 1\nb: 9\nc: 3"}, ("t", "b: 2", "b: 9")),
        ({"t": "a: 1\n"}, {"t": "a: 1\nb: 2\n  c: 3\n"}, ("t", None, "b: 2 ⏎ c: 3")),
    ],
)  # fmt: skip
def test_a_difference_is_a_path_and_two_values(before: Any, after: Any, said: tuple[str, str | None, str | None]):
    assert list(differences(before, after)) == [said]


def test_named_items_in_another_order_do_not_differ_in_their_fields():
    assert list(differences({"a": [{"name": "x"}, {"name": "y"}]}, {"a": [{"name": "y"}, {"name": "x"}]})) == []


def test_values_are_short_and_harmless():
    assert format_value("x" * 999) == "x" * 119 + "…"
    assert format_value("a\u202eb\x1b[31m\n") == "a�b�[31m "
    assert format_value({"b": [1]}) == '{"b": [1]}'
    assert format_value(None) is None


def test_many_fields_of_one_object_are_counted():
    old, new = (one(data={f"k{i}": side for i in range(99)}) for side in "ab")
    assert compare([old], [new], "s")[0].fields[-1] == ("…", None, "and 74 more")
    assert len(compare([old], [new], "s")[0].fields) == 26


def test_a_long_path_is_cut():
    old, new = (one(data={"k" * 999: side}) for side in "ab")
    assert [len(path) for path, _, _ in compare([old], [new], "s")[0].fields] == [120]


def test_an_environment_that_does_not_build_is_not_compared():
    assert changes({"staging": "no"}, {"staging": [one()]}) == changes({"staging": [one()]}, {"staging": "no"}) == []
    assert [row.what for row in changes({}, {"new": [one()]})] == ["added"]
    assert [row.what for row in changes({"old": [one()]}, {})] == ["removed"]
