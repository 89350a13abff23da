from __future__ import annotations

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from slipway.reporting.bounded_model import MAX_ROWS, UNTRUSTED, Computed, Name, Part, Rows, Shown


class Sample(Part):
    if_missing: ClassVar[dict[str, Any]] = {"name": "none"}
    trusted_only: ClassVar[frozenset[str]] = frozenset({"inner"})
    name: Shown[Name]
    loss: Computed = 0.0
    rows: Rows[int] = [1]  # noqa: RUF012
    inner: Shown[str | None] = None


def untrusted(**values: Any) -> Sample:
    return Sample.model_validate(values, context=UNTRUSTED)


def test_a_trusted_value_that_is_only_shown_may_be_any():
    assert Sample(name=["x"]).name == ["x"]
    assert Sample(loss=10**40).loss == 10**40
    with pytest.raises(ValidationError, match="'x' is not a number"):
        Sample(loss="x")


@pytest.mark.parametrize(
    "values", [{"name": 1}, {"name": "x" * 81}, {"name": "x", "loss": "1"}, {"name": "x", "loss": 10**40}, {}]
)
def test_an_untrusted_value_has_its_type_and_size(values: dict[str, Any]):
    with pytest.raises(ValidationError):
        untrusted(**values)


def test_only_an_untrusted_list_has_a_length():
    assert len(Sample(rows=[1] * (MAX_ROWS + 1)).rows) == MAX_ROWS + 1
    assert len(untrusted(name="x", rows=[1] * MAX_ROWS).rows) == MAX_ROWS
    with pytest.raises(ValidationError, match="List should have at most 5000 items after validation, not 5001"):
        untrusted(name="x", rows=[1] * (MAX_ROWS + 1))


def test_a_trusted_null_is_a_missing_value():
    given = Sample(name=None, loss=None, rows=None, inner=None)
    assert (given.name, given.loss, given.rows, given.inner) == ("none", 0.0, [1], None)
    with pytest.raises(ValidationError):
        untrusted(name="x", loss=None)


def test_what_is_not_read_is_kept_or_dropped():
    assert Sample(name="x", inner="y", more=1).model_dump(exclude_unset=True) == {"name": "x", "inner": "y", "more": 1}
    assert untrusted(name="x", inner="y", more=1).model_dump(exclude_unset=True) == {"name": "x"}


def test_an_empty_part_is_false():
    class Empty(Part):
        name: Shown[str | None] = None

    assert not Empty()
    assert Empty(name="x")
