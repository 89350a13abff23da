"""The questions and the frame agree about a window."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from slipway.core.verdict import Check
from slipway.monitoring.window import Answer, Window
from support import sample_windows


def test_window_of_rows_has_no_label() -> None:
    window = sample_windows.window()
    assert {"id", "at", "prediction"} < set(window.rows.columns)
    assert "label" not in window.rows.columns
    assert [field.name for field in fields(Window)][:4] == ["spec", "settings", "start", "end"]


def test_answer_cannot_be_changed() -> None:
    check = Check(name="rows", value=1, limit="≥ 1", ok=True)
    answer = Answer(sentence="Sound.", checks=[check], rows=1, notes={})
    with pytest.raises(FrozenInstanceError):
        answer.rows = 2  # type: ignore[misc]
