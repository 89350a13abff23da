from __future__ import annotations

import json
import struct
import tracemalloc
import zipfile
from io import BytesIO
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slipway.errors import CheckFailed
from slipway.github import untrusted_report
from slipway.reporting import report_markdown
from slipway.reporting.report_model import Facts
from support.sample_reports import REGRESSION, facts, judged, paced, ruled

MOST = 100_000
GOOD = facts().record()


def taken(raw: bytes) -> Facts | str:
    """The facts of a zip, or the words of its refusal."""
    try:
        return untrusted_report.read_facts(raw, max_bytes=MOST)
    except CheckFailed as error:
        return str(error)


def pack(text: str | bytes, *names: str, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip with `text` as each of `names`."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name in names or ("facts.json",):
            archive.writestr(name, text)
    return target.getvalue()


def packed(value: Any) -> bytes:
    return pack(json.dumps(value))


def changed(path: str, value: Any, start: Any = GOOD) -> Any:
    """A copy of the good facts with the value at a dotted path replaced."""
    found = json.loads(json.dumps(start))
    at = found
    *way, last = path.split(".")
    for key in way:
        at = at[int(key) if isinstance(at, list) else key]
    at[int(last) if isinstance(at, list) else last] = value
    return found


@pytest.mark.parametrize(
    "given_facts",
    [
        facts(),
        facts(judge=judged(ok=False)),
        facts(metrics=REGRESSION),
        facts(metrics={}),
        Facts(),
        facts(gates={"manifests": ruled(ok=False)}),
        facts(gates={"judge": judged(), "latency": paced()}),
        facts(gates={"judge": judged(), "latency": paced(table=False, value="the same")}),
        facts(delivery={"by": None, "files": 3, "ships": ["Dockerfile"]}),
    ],
    ids=["binary", "refused", "regression", "stopped", "empty", "rules", "latency", "same", "not rendered"],
)
def test_an_honest_report_says_the_same_on_both_sides(given_facts: Facts):
    read = untrusted_report.read_facts(packed(given_facts.record()), max_bytes=MOST)
    assert report_markdown.render(read) == report_markdown.render(given_facts)


def test_a_report_of_before_there_was_a_cluster_is_taken():
    told = {name: value for name, value in GOOD.items() if name != "delivery"}
    assert untrusted_report.read_facts(packed(told), max_bytes=MOST).record()["delivery"] == {}


def test_what_no_report_shows_is_dropped():
    told = changed("contract.labels", {"title": "T", "evil": "x" * 99, "deep": [[[]]]})
    told["more"] = told["metrics"]["confusion"] = {"a": [1]}
    read = untrusted_report.read_facts(packed(told), max_bytes=MOST)
    assert read.record()["contract"] == {"labels": {"title": "T"}}
    assert "confusion" not in read.metrics.by_name


def test_other_entries_of_the_zip_are_not_looked_at():
    target = BytesIO(
        pack(json.dumps(GOOD), "facts.json", "../../facts.json", "/etc/passwd", "a/facts.json", "report.html")
    )
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr("bomb", bytes(10_000_000), zipfile.ZIP_DEFLATED)
    assert untrusted_report.read_facts(target.getvalue(), max_bytes=MOST).commit == "d" * 40


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not a readable zip file"),
        (b"not a zip", "not a readable zip file"),
        (packed(GOOD)[:-30], "not a readable zip file"),
        (packed(GOOD)[:40] + b"\0" * 9 + packed(GOOD)[49:], "not a readable zip file: "),
        (bytes(MOST + 1), r"has 100,001 bytes; allowed: at most 100,000 bytes"),
        (pack("{}", "other.json"), r"contains 0 files facts\.json; expected: exactly 1"),
        (pack("{}", "../facts.json"), r"contains 0 files"),
        (pack("{}", "/facts.json"), r"contains 0 files"),
        (pack("{}", "x/facts.json"), r"contains 0 files"),
        (pack("{}", "FACTS.JSON"), r"contains 0 files"),
        (pack("{}", method=zipfile.ZIP_BZIP2), "compressed by method 12; expected: stored or deflated"),
        (pack("{}", method=zipfile.ZIP_LZMA), "compressed by method 14; expected: stored or deflated"),
        (
            pack(b" " * 5_000_000),
            r"facts\.json has more than 100,000 bytes when inflated; allowed: at most 100,000 bytes",
        ),
        (pack(b"\xff\xfe"), "byte 0 is not UTF-8"),
        (pack("{}".encode("utf-16")), "is not UTF-8"),
        (pack("\ufeff{}"), "is not JSON: Unexpected UTF-8 BOM"),
        (pack(""), "is not JSON: Expecting value"),
        (pack("{} {}"), "is not JSON: Extra data"),
        (pack("[" * 20_000), "nested too deeply"),
        (pack('{"a":' * 20_000), "nested too deeply"),
        (pack('{"metrics": {"auc": NaN}}'), "is not JSON: NaN is not a number"),
        (pack('{"metrics": {"auc": -Infinity}}'), "is not JSON: -Infinity is not a number"),
        (pack('{"a": 1, "b": {"::x": 1, "::x": 2}}'), "is not JSON: key '::x' appears twice"),
        (pack('{"a": ' + "9" * 5000 + "}"), "is not JSON: Exceeds the limit"),
        (pack("[]"), "not a valid report: the file is list: "),
        (
            pack("{}"),
            "not a valid report: metrics: Field required; gates: Field required; quality: Field required; and 4 more",
        ),
    ],
)
def test_what_is_no_report_is_refused_and_named(raw: bytes, said: str):
    with pytest.raises(CheckFailed, match=said) as caught:
        untrusted_report.read_facts(raw, max_bytes=MOST)
    assert caught.value.code == 4


def test_a_bomb_is_never_inflated():
    raw = pack(b" " * 20_000_000)
    tracemalloc.start()
    with pytest.raises(CheckFailed, match="when inflated"):
        untrusted_report.read_facts(raw, max_bytes=MOST)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * MOST


def test_two_entries_of_the_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate name"):
        raw = pack(json.dumps(GOOD), "facts.json", "facts.json")
    with pytest.raises(CheckFailed, match=r"contains 2 files facts\.json; expected: exactly 1"):
        untrusted_report.read_facts(raw, max_bytes=MOST)


def test_an_encrypted_entry_is_refused():
    raw = bytearray(packed(GOOD))
    at = raw.index(b"PK\x01\x02")
    raw[at + 8] |= 1
    with pytest.raises(CheckFailed, match="is encrypted; expected: no encryption"):
        untrusted_report.read_facts(bytes(raw), max_bytes=MOST)


@pytest.mark.parametrize("size", [10, 4_000_000_000])
def test_a_size_that_lies_is_refused(size: int):
    raw = bytearray(pack(b" " * 1_000_000))
    struct.pack_into("<I", raw, raw.index(b"PK\x01\x02") + 24, size)
    with pytest.raises(CheckFailed):
        untrusted_report.read_facts(bytes(raw), max_bytes=MOST)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("metrics.auc", True, "metrics.auc is True: Input should be a valid"),
        ("metrics.auc", "0.9", r"metrics.auc is '0.9': Input should be a valid"),
        ("metrics.auc", 1e31, r"metrics.auc is 1e.31: Input should be less than or equal to 1000"),
        ("metrics.rows", 10**31, "metrics.rows is 1000.*: Input should be less than or equal to"),
        ("metrics.rows", 10**400, "metrics.rows is 1000.*…: Input should be"),
        ("metrics", [], "metrics is list: "),
        ("metrics", {"x" * 81: 1}, "the name of a metric has 81 characters; allowed: 80"),
        ("metrics", {f"m{i}": 1 for i in range(5001)}, "5,001 metrics; allowed: 5,000"),
        ("metrics.intervals", {"auc": [0, 1]}, "metrics.intervals.auc is list"),
        ("gates", {"evil": {}}, "gate 'evil' is none of repro, export"),
        ("gates", [], "gates is list"),
        ("gates.judge.verdict", "fine", "gates.judge.verdict is 'fine': Input should be 'pass', 'fail' or 'unsure'"),
        ("gates.judge.verdict", "fail", "gates.judge: verdict is fail, its checks say pass"),
        ("gates.judge.checks.0.ok", False, "gates.judge: verdict is pass, its checks say fail"),
        ("gates.judge.checks.0.ok", None, "gates.judge: verdict is pass, its checks say unsure"),
        ("gates.judge.checks", [], "gates.judge: verdict is pass, its checks say unsure"),
        ("gates.judge.checks.0.name", 7, "gates.judge.checks.0.name is 7: Input should be a valid string"),
        ("gates.judge.checks.1.low", "-1", "gates.judge.checks.1.low is '-1'"),
        ("gates.judge.seconds", "1", "gates.judge.seconds is '1'"),
        ("gates.judge.checks", [{}] * 5001, "gates.judge.checks is list: List should have at most 5000 items"),
        ("gates.judge.notes.window", ["0001-01-01", "0001-01-01"], "gates.judge.notes.window.0 is '0001-01-01'"),
        ("gates.judge.notes.window", ["2013-01-01"], "gates.judge.notes.window is list: List should have at least 2"),
        ("gates.judge.notes.limits_changed", ["x" * 20_001], "limits_changed.0 is 'xxx.*at most 20000 characters"),
        ("gates.judge.notes.params_changed", "x", "params_changed is 'x'"),
        ("gates.judge.notes.slices.0.difference", None, "slices.0.difference is None"),
        ("gates.judge.notes.data.train", [None, None], "gates.judge.notes.data.train: the window of this change"),
        ("gates.judge.notes.data.inputs.0.test", [], "gates.judge.notes.data.inputs.0.test is list"),
        ("gates.judge.notes.metrics.champion", {"auc": "x"}, "metrics.champion.auc is 'x'"),
        ("slices.0.loss", None, "slices.0.loss is None"),
        ("slices.0.value", 1, "slices.0.value is 1"),
        ("slices", {}, "slices is dict"),
        ("quality.faults.0.rows", "1", "quality.faults.0.rows is '1'"),
        ("quality.faults.0.action", [], "quality.faults.0.action is list"),
        ("contract.labels", None, "contract.labels is None"),
        ("contract.labels.title", ["x"], "contract.labels.title is list"),
        ("hashes", {"evil": "a" * 64}, "hashes.evil"),
        ("hashes.model", "`$(id)`", r"hashes.model is '`\$\(id\)`': String should match pattern"),
        ("delivery", [], "delivery is list"),
        ("delivery.by", 1, "delivery.by is 1: "),
        ("delivery.files", "2", "delivery.files is '2'"),
        ("delivery.objects", "9", "delivery.objects is '9'"),
        ("delivery.local", 0, "delivery.local is 0"),
        ("delivery.ships", [1], "delivery.ships.0 is 1"),
        ("delivery.envs", "x", "delivery.envs is 'x'"),
        ("delivery.unknown", ["x" * 20_001], "delivery.unknown.0 is 'xxx.*at most 20000"),
        ("delivery.hooks", {"x" * 81: []}, "at most 80 characters"),
        ("delivery.hooks", {"staging": "x"}, "delivery.hooks.staging is 'x'"),
        ("delivery.changes", [{}] * 5001, "delivery.changes is list: List should have at most 5000"),
        ("delivery.changes.0.env", "x" * 81, "changes.0.env is 'xxx"),
        ("delivery.changes.0.kind", None, "changes.0.kind is None"),
        ("delivery.changes.0.what", "evil", "changes.0.what is 'evil': Input should be 'added', 'removed' or 'changed'"),
        ("delivery.changes.0.hook", "no", "changes.0.hook is 'no'"),
        ("delivery.changes.0.pods", 1, "changes.0.pods is 1"),
        ("delivery.changes.0.fields.0", ["a", "b"], "fields.0 is list: List should have at least 3"),
        ("delivery.changes.0.fields.0", ["a", "b", "c", "d"], "fields.0 is list: List should have at most 3"),
        ("delivery.changes.0.fields.0.1", 1, "fields.0.1 is 1"),
        ("gates.latency", {"verdict": "unsure", "checks": [], "notes": {"table": [["a", 1, 1, 1, 1, 1]]}},
         "gates.latency.notes.table.0 is list: List should have at least 7"),
        ("gates.latency", {"verdict": "unsure", "checks": [], "notes": {"table": [["a", None, 1, 1, 1, 1, 1]]}},
         "gates.latency.notes.table.0.1 is None"),
        ("commit", "main; rm -rf /", "commit is 'main; rm -rf /': String should match"),
        ("commit", "a" * 65, "commit is"),
    ],
)  # fmt: skip
def test_every_part_has_a_type_and_a_size(path: str, value: Any, said: str):
    with pytest.raises(CheckFailed, match=said):
        untrusted_report.read_facts(packed(changed(path, value)), max_bytes=2_000_000)


EVIL = "\n::set-output name=x::y\r\x1b[31m\u202e" + "z" * 50_000


@pytest.mark.parametrize(
    "told",
    [
        json.dumps(changed("metrics", {EVIL: 1}) | {"commit": EVIL, "hashes": {EVIL: EVIL}, "gates": {EVIL: EVIL}}),
        json.dumps(changed("metrics", {EVIL: True}) | {"commit": [EVIL], "hashes": EVIL}),
        f"{{{json.dumps(EVIL)}: 1, {json.dumps(EVIL)}: 2}}",
    ],
    ids=["values", "kinds", "twice"],
)
def test_a_refusal_is_one_short_harmless_line(told: str):
    with pytest.raises(CheckFailed) as caught:
        untrusted_report.read_facts(pack(told), max_bytes=2_000_000)
    said = str(caught.value)
    assert len(said) < 900
    assert said.isprintable()


def test_many_faults_are_counted_not_listed():
    told = changed("slices", [{}] * 5000)
    with pytest.raises(CheckFailed, match=r"slices\.0\.slice: Field required; .*; and 24997 more$"):
        untrusted_report.read_facts(packed(told), max_bytes=2_000_000)


fuzzed = settings(database=None, deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, way: str = "") -> list[str]:
    """Every place in a JSON value."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    here = [f"{way}.{key}".lstrip(".") for key, _ in parts]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return here + [found for key, part in inside for found in paths(part, f"{way}.{key}".lstrip("."))]


PLACES = [place for place in paths(GOOD) if "quality.columns" not in place and "quality.days" not in place]


@fuzzed
@given(st.lists(st.tuples(st.sampled_from(PLACES), json_values | st.floats(-1e30, 1e30)), min_size=1, max_size=3))
def test_what_is_taken_can_always_be_shown(changes: list[tuple[str, Any]]):
    told = GOOD
    for place, value in changes:
        try:
            told = changed(place, value, told)
        except (LookupError, TypeError, ValueError):
            continue  # an earlier change took the place away
    read = taken(packed(told))
    assert (
        read.isprintable()
        if isinstance(read, str)
        else len(report_markdown.render(read).encode()) <= report_markdown.MAX_BYTES
    )


@fuzzed
@given(st.data())
def test_a_zip_with_any_byte_changed_is_read_or_refused(data: st.DataObject):
    raw = bytearray(packed(GOOD))
    header = st.integers(0, 60) | st.integers(len(raw) - 90, len(raw) - 1) | st.integers(0, len(raw) - 1)
    for at in data.draw(st.lists(header, min_size=1, max_size=4)):
        raw[at] = data.draw(st.integers(0, 255))
    read = taken(bytes(raw))
    assert read.isprintable() if isinstance(read, str) else report_markdown.render(read).startswith("## ✅")


@fuzzed
@given(st.binary(max_size=300) | json_values.map(lambda value: pack(json.dumps(value))))
def test_anything_else_is_refused(raw: bytes):
    with pytest.raises(CheckFailed):
        untrusted_report.read_facts(raw, max_bytes=MOST)
