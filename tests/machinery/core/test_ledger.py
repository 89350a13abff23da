from __future__ import annotations

from datetime import datetime

import pytest

from slipway.core import ledger
from slipway.errors import ConfigError, DataError
from support.sample_ledger import line, repository  # noqa: F401


def test_appended_lines_are_read_back(tmp_path):
    for number in (1, 2):
        ledger.append(line(number), tmp_path)
    assert ledger.read("production", tmp_path) == [line(1), line(2)]


def test_no_file_is_an_empty_ledger(tmp_path):
    assert ledger.read("staging", tmp_path) == []
    assert ledger.newest_line([]) is None


def test_lines_before_stay_byte_for_byte(tmp_path):
    before = ledger.append(line(1), tmp_path).read_bytes()
    assert ledger.append(line(2), tmp_path).read_bytes().startswith(before)


def test_restart_is_in_a_line_only_where_it_was_in_force(tmp_path):
    """Lines of before keep their form, and code of before reads them."""
    assert "restart_at" not in line(1).model_dump_json()
    ledger.append(line(1, restart_at="a" * 40), tmp_path)
    assert ledger.read("production", tmp_path)[0].restart_at == "a" * 40


def test_identity_is_the_image_where_there_is_one():
    assert line(1).identity == f"{1:064x}"
    assert line(1, image="r/n@sha256:abc").identity == "r/n@sha256:abc"


def chain(*numbers: int) -> list[str]:
    """The rows of releases that follow each other."""
    made: list[ledger.Line] = []
    for number in numbers:
        made.append(line(number, supersedes=made[-1].identity if made else None))
    return [each.model_dump_json() + "\n" for each in made]


ONE, TWO, THREE = chain(1, 2, 3)
WHERE = "releases/production.jsonl"


@pytest.mark.parametrize(("text", "said"), [
    (ONE[:-1], ": the last line is cut off: it has no line end"),
    (ONE + TWO[:-40], ": the last line is cut off: it has no line end"),
    (ONE[:-40] + TWO, ", line 1: the line is not valid JSON"),
    (ONE[:-40] + "\n" + TWO, ", line 1: the line is not valid JSON"),
    (ONE.replace('"action":"release"', '"action":"deploy"'), ", line 1: action is 'deploy'; expected: 'release', 'promote' or"),
    (ONE.replace('"commit":"c",', ""), ", line 1: key commit is missing"),
    (ONE.replace('"commit":"c",', '"commit":"c","note":"x",'), ", line 1: unknown key note"),
    (ONE + "\n" + TWO, ", line 2: the line is not valid JSON"),
    (f"<<<<<<< HEAD\n{ONE}=======\n{TWO}>>>>>>> theirs\n", r", line 1: the merge conflict '<<<<<<< HEAD' is not resolved"),
    (f"{ONE}{TWO}=======\n{THREE}", r", line 3: the merge conflict '=======' is not resolved"),
    (f"{ONE}>>>>>>> bump/staging-0", r", line 2: the merge conflict '>>>>>>> bump/staging-0' is not resolved"),
    (f"{ONE}||||||| base\n", r", line 2: the merge conflict"),
    (TWO + ONE, rf", line 1: supersedes is {1:064x}, but the line before is None"),
    (ONE + THREE, rf", line 2: supersedes is {2:064x}, but the line before is {1:064x}: a line was lost or the order changed"),
    (ONE + THREE + TWO, ", line 2: supersedes"),
    (ONE + TWO + TWO, ", line 3: supersedes"),
    (ONE.replace('"production"', '"staging"'), ", line 1: env is staging; expected: production"),
])  # fmt: skip
def test_damaged_ledger_is_refused_by_line(tmp_path, text, said):
    file = ledger.path("production", tmp_path)
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(DataError, match=f"^{WHERE}{said}") as error:
        ledger.read("production", tmp_path)
    assert error.value.hint
    with pytest.raises(DataError, match=f"^{WHERE}{said}"):
        ledger.append(line(9), tmp_path)
    assert file.read_text() == text


def test_a_conflict_is_not_to_be_merged_by_hand():
    with pytest.raises(DataError) as error:
        ledger.parse(f"{ONE}<<<<<<< HEAD\n", where=WHERE)
    assert (
        error.value.hint == "restore the file with `git checkout origin/main -- releases`, then run your command again"
    )


def test_bytes_that_are_no_text_are_refused(tmp_path):
    file = ledger.append(line(1), tmp_path)
    file.write_bytes(file.read_bytes() + b"\xff\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        ledger.append(line(2), tmp_path)


def test_unusual_characters_are_no_ends_of_lines(tmp_path):
    given = line(1, bento="a\u2028b\x85\x0b\nc")
    ledger.append(given, tmp_path)
    assert ledger.read("production", tmp_path) == [given]


def test_a_line_that_supersedes_something_else_is_not_appended(tmp_path):
    file = ledger.append(line(1), tmp_path)
    with pytest.raises(DataError, match=f"line 2: supersedes is x, but the line before is {1:064x}"):
        ledger.append(line(2, supersedes="x"), tmp_path)
    assert file.read_text() == ONE


def test_what_extends_a_ledger_is_its_new_lines():
    assert ledger.added_lines("", "", WHERE) == []
    assert ledger.added_lines("", ONE, WHERE) == ledger.parse(ONE, where=WHERE)
    assert ledger.added_lines(ONE, ONE, WHERE) == []
    assert [new.bento for new in ledger.added_lines(ONE, ONE + TWO + THREE, WHERE)] == ["bikes:2", "bikes:3"]


@pytest.mark.parametrize(("before", "after", "said"), [
    (ONE + TWO, ONE, f"{WHERE}: it had 2 lines and now has 1; allowed: only new lines at the end"),
    (ONE + TWO, "", f"{WHERE}: it had 2 lines and now has 0"),
    (ONE + TWO, ONE.replace('"auc":0.7', '"auc":0.9') + TWO, f"{WHERE}: line 1 was changed"),
    (ONE + TWO, ONE + TWO.replace('"judge":"pass"', '"judge":"fail"') + THREE, f"{WHERE}: line 2 was changed"),
    (ONE, ONE.replace(":", ": ", 1) + TWO, f"{WHERE}: it had 1 lines and now has 2"),  # the same words, other bytes
    (ONE, ONE + TWO[:-1], f"{WHERE}: the last line is cut off"),
    (ONE[:-1], ONE, f"{WHERE} before: the last line is cut off"),
])  # fmt: skip
def test_a_ledger_only_grows_at_its_end(before, after, said):
    with pytest.raises(DataError, match=f"^{said}"):
        ledger.added_lines(before, after, WHERE)


@pytest.mark.parametrize(("moment", "bento"), [
    ("2026-02-28T00:00:00+00:00", None),
    ("2026-03-01T12:00:00+00:00", "bikes:1"),
    ("2026-03-05T11:59:59+00:00", "bikes:1"),
    ("2026-03-05T13:00:00+01:00", "bikes:5"),
    ("2027-01-01T00:00:00+00:00", "bikes:5"),
])  # fmt: skip
def test_at_answers_by_the_commit_date(repository, moment, bento):
    found = ledger.line_at("production", datetime.fromisoformat(moment), repository)
    assert (found.bento if found else None) == bento


def test_at_without_time_zone_is_refused(repository):
    with pytest.raises(ConfigError, match="no time zone"):
        ledger.line_at("production", datetime(2026, 3, 4), repository)


def test_release_that_was_released_again_is_no_longer_withdrawn():
    first, second = line(1), line(2, supersedes=line(1).identity)
    back = first.model_copy(update={"action": "rollback", "supersedes": second.identity})
    again = second.model_copy(update={"commit": "d", "supersedes": first.identity})
    assert ledger.withdrawn_lines([first, second, back]) == [second]
    assert ledger.withdrawn_lines([first, second, back, again]) == []
    assert ledger.withdrawn_lines([]) == ledger.withdrawn_lines([first, second]) == []


def test_aborted_canaries_are_found_by_the_rollback_after_them():
    back = line(3, action="rollback", evidence={"aborted": "slow"})
    assert ledger.unstable_positions([line(1), line(2), back, line(4)]) == {1}
    assert ledger.unstable_positions([line(1), line(2), line(3, action="rollback")]) == set()


def test_line_of_another_environment_is_an_error_with_fields():
    with pytest.raises(DataError) as error:
        ledger.parse(ONE, where=WHERE, env="staging")
    assert (error.value.allowed, error.value.value) == ("staging", "production")
    assert str(error.value) == f"{error.value.message}; expected: staging"


def test_number_once_written_stays_readable():
    metrics = ledger.parse(ONE.replace('"auc":0.7', '"auc":NaN'), where=WHERE)[0].metrics
    assert metrics["auc"] != metrics["auc"]


def test_ledger_is_read_at_a_revision(repository):
    assert [found.bento for found in ledger.read_at("production", "HEAD~1", repository)] == ["bikes:1"]
    assert ledger.read_at("staging", "HEAD", repository) == []


def test_unknown_environment_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="the environment is 'moon'; expected: staging or production"):
        ledger.read("moon", tmp_path)
