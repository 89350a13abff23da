"""config: every wrong key of params.yaml is named, with its value and what is allowed."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from slipway.core import config
from slipway.errors import ConfigError
from support.callables import Cli
from support.paths import BIKES, ROOT

TEXT = (BIKES / "params.yaml").read_text(encoding="utf-8")


def broken(folder: Path, old: str, new: str) -> Path:
    assert old in TEXT
    path = folder / "params.yaml"
    path.write_text(TEXT.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_project_s_own_params_load() -> None:
    params = config.load(ROOT / "params.yaml")
    assert (params.data.until - params.data.test_from).days == params.data.test_days


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed: 7", "seed: 7\nsede: 8", "unknown key sede (value 8)"),
        ("  test_days: 28\n", "  test_days: 28\n  validation_days: 3\n", "unknown key data.validation_days"),
        ("seed: 7\n", "", "key seed is missing"),
        ("  test_days: 28\n", "", "key data.test_days is missing"),
        ("test_days: 28", "test_days: 0", "data.test_days is 0; allowed: more than 0"),
        ("test_days: 28", "test_days: many", "data.test_days is 'many'"),
        (
            "test_days: 28",
            "test_days: 900000",
            "data.test_days is 900000; allowed: at most 737954",
        ),
        ('until: "2021-06-14"', "until: soon", "data.until is 'soon'"),
        ("problem: bikes", 'problem: ""', "problem is ''"),
        ("confidence: 0.95", "confidence: 95", "evaluate.confidence is 95"),
        ("tolerance: 1.0e-4 #", "tolerance: .nan #", "export.tolerance is nan"),
        (
            "estimator: boosting",
            "estimator: forest",
            "train.estimator is 'forest'; expected: a key of train.estimators (boosting, native, ridge)",
        ),
        ("bikes.csv: ", "bikes.csv: x", "ingest.sources.bikes.csv is"),
        ("mode: direct", "mode: force", "release.mode is 'force'"),
        ('until: "2021-06-14"', 'until: "2013-02-30"', "data.until is '2013-02-30'; expected: a date, such as"),
        ('until: "2021-06-14"', "until: 2013-02-30", "line 6, column 10: 2013-02-30 is not a date"),
        ("title: Train", "title: 2013-99-01 # Train", "2013-99-01 is not a date"),
        ("seed: 7", "seed: -1", "seed is -1; allowed: at least 0"),
        ("seed: 7", "seed: 4294967296", "seed is 4294967296; allowed: less than 4.29497e+09"),
        ("seed: 7", f"seed: {'9' * 5000}", "is not a whole number: Exceeds the limit"),
        (
            "resamples: 50",
            "resamples: 99999999999",
            "evaluate.resamples is 99999999999; allowed: less than 2.14748e+09",
        ),
        (
            "timeout_seconds: 20",
            "timeout_seconds: 1.0e+12",
            "comment.timeout_seconds is 1000000000000.0; allowed: at most 86400",
        ),
        (
            "max_evidence_age_days: 7",
            "max_evidence_age_days: 9999999999",
            "release.max_evidence_age_days is 9999999999; allowed: ",
        ),
        (
            "max_clock_skew_minutes: 5",
            "max_clock_skew_minutes: 99999",
            "release.max_clock_skew_minutes is 99999; allowed: ",
        ),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = broken(tmp_path, old, new)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert message in str(caught.value)
    assert caught.value.hint == f"edit {path}"


def test_a_bare_date_says_to_quote_it(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data\.until is 2021-06-14 without quotes; expected: the date in quotes"
    ) as caught:
        config.load(broken(tmp_path, 'until: "2021-06-14"', "until: 2021-06-14"))
    assert caught.value.hint == 'write until: "2021-06-14"'


@pytest.mark.parametrize("text", ["data: [", "a: 1\na: 2", ""])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ConfigError):
        config.load(tmp_path / "params.yaml")


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load(tmp_path)


def test_a_missing_file_says_where_to_run(tmp_path: Path, cli: Cli) -> None:
    said = cli(tmp_path, "ingest")
    assert said.returncode == 2
    assert "params.yaml does not exist (the working directory is" in said.stderr
    assert "change to the project's folder" in said.stderr


def test_a_wrong_key_ends_in_exit_code_2(bare_copy: Path, cli: Cli) -> None:
    broken(bare_copy, "seed: 7", "seed: 7\nsede: 8")
    said = cli(bare_copy, "ingest")
    assert (said.returncode, said.stdout) == (2, "")
    assert "unknown key sede" in said.stderr
    assert "Traceback" not in said.stderr


def test_params_cannot_be_changed(params: config.Params) -> None:
    with pytest.raises(ValueError, match="frozen"):
        params.data.until = date(2022, 1, 1)  # type: ignore[misc]


def test_a_set_value_changes_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text('# top\na:\n  b: "1" # why\n  c: [1, 2]\nd: 0.10\n')
    config.set_values(file, {"a.b": "2"}, hint="edit it")
    assert file.read_text() == '# top\na:\n  b: "2" # why\n  c: [1, 2]\nd: 0.10\n'


def test_a_source_may_have_a_new_name(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("ingest:\n  sources: # by name\n    a.csv.zip: old # January\n")
    config.set_values(file, {("ingest", "sources", name): "new" for name in ("a.csv.zip", "b.csv.zip")}, hint="edit it")
    assert file.read_text() == ("ingest:\n  sources: # by name\n    a.csv.zip: new # January\n    b.csv.zip: new\n")


@pytest.mark.parametrize("key", ["a.x", "x.b", "a.b.c"])
def test_an_unknown_key_is_not_set(tmp_path: Path, key: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("a:\n  b: 1\n")
    with pytest.raises(ConfigError, match=f"no key {key}"):
        config.set_values(file, {key: 2}, hint="edit it")
    assert file.read_text() == "a:\n  b: 1\n"
