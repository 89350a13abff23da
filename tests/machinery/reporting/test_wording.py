"""Numbers and differences in words."""

from __future__ import annotations

import pytest

from slipway.reporting import wording
from slipway.reporting.wording import number


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (1000, "1,000"), (0.42367, "0.4237"), (-0.01, "−0.0100"), (3.2e-7, "3.2e-7"), (0.0, "0"),
        (7.1, "7.1"), (1048.4, "1,048"), (342.21, "342.2"), (100.0, "100"), ("nan", "nan"), (True, "True"),
        (float("nan"), "nan"), (-1500, "−1,500"),
    ],
)  # fmt: skip
def test_a_number_is_short_to_read(value: object, text: str):
    assert number(value) == text


def test_only_a_difference_is_signed():
    assert (number(0.5), number(0.5, signed=True)) == ("0.5000", "+0.5000")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ((0.0357, 0.0242, 0.0474), "Log loss is 0.036 worse than production (95 % interval 0.024 to 0.047)"),
        ((-0.01, -0.02, -0.005), "Log loss is 0.0100 better than production (95 % interval 0.0050 to 0.0200)"),
        ((0.001, -0.002, 0.004), "Log loss shows no clear change from production "
                                 "(95 % interval 0.0020 better to 0.0040 worse)"),
        ((0.004, -0.001, 0.009), "Log loss may be up to 0.0090 worse than production "
                                 "(95 % interval 0.0010 better to 0.0090 worse)"),
        ((0.004, 0.001, 0.009), "Log loss may be up to 0.0090 worse than production "
                                "(95 % interval 0.0010 worse to 0.0090 worse)"),
        ((0.0, 0.0, 0.0), "Log loss is the same as that of production"),
        ((2e-6, 1e-6, 3e-6), "Log loss is less than 0.0001 worse than production "
                             "(95 % interval less than 0.0001 to less than 0.0001)"),
    ],
)  # fmt: skip
def test_a_change_is_a_sentence(change: tuple[float, float, float], text: str):
    assert wording.describe_change("log_loss", change, against="champion", confidence=0.95, margin=0.006) == text


def test_more_is_better_for_some_metrics():
    text = wording.describe_change("auc", (-0.02, -0.03, -0.01), against="champion", confidence=0.9)
    assert text == "AUC is 0.020 worse than production (90 % interval 0.010 to 0.030)"
    assert "0.020 better" in wording.describe_change("r2", (0.02, 0.01, 0.03), against="dummy", confidence=0.9)


def test_a_part_of_the_rows_stands_first():
    text = wording.describe_change(
        "log_loss", (0.1, 0.05, 0.15), against="champion", confidence=0.95, where="carrier UA"
    )
    assert text.startswith("carrier UA: log loss is 0.100 worse than production")


@pytest.mark.parametrize(
    ("key", "low", "high", "better"),
    [
        ("log_loss", -2, -1, True), ("log_loss", 1, 2, False), ("log_loss", -1, 1, None), ("log_loss", 0.0, 1, None),
        ("auc", 1, 2, True), ("auc", -2, -1, False), ("auc", None, None, None), ("profit", 1, 2, None),
    ],
)  # fmt: skip
def test_better_is_only_what_excludes_zero(key: str, low: float | None, high: float | None, better: bool | None):
    assert wording.is_better(key, low, high) is better


@pytest.mark.parametrize(
    ("low", "high", "text"), [(-0.0122, 0.0003, "−0.0122 to +0.0003"), (10.0, 90.0, "+10 to +90"), (None, 1, "–")]
)
def test_both_ends_have_the_same_decimals(low: float | None, high: float, text: str):
    assert wording.interval(low, high) == text


def test_what_rounds_to_zero_has_no_sign():
    assert wording.rounded(-0.0001, 2, signed=True) == "0.00"


def test_one_is_singular():
    assert [wording.count(value, "row") for value in (0, 1, 1200)] == ["0 rows", "1 row", "1,200 rows"]
