from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from slipway.pipeline import plots
from support.sample_reports import RELIABILITY

DATA: dict[str, Any] = {
    "reliability": RELIABILITY,
    "roc": [{"false_positive_rate": x, "true_positive_rate": x**0.5} for x in (0.0, 0.25, 1.0)],
    "precision_recall": [{"recall": x, "precision": 1 - 0.8 * x} for x in (0.0, 0.5, 1.0)],
    "slices": [
        {"slice": "carrier", "value": str(i), "rows": 9 + i, "target": 0.1, "loss": 0.1 * i, "auc": None}
        for i in range(3)
    ],
    "importance": [{"input": f"input {i}", "importance": 0.1 - i / 100} for i in range(40)],
    "predictions": [{"prediction": i / 10, "rows": i} for i in range(10)],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "plots"
    folder.mkdir()
    for name, rows in DATA.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    return folder


def drawn(name: str, rows: Any) -> str:
    return plots.render_svg(plots.PLOTS[name], rows, name=name)


def test_every_plot_gets_its_picture(data: Path, tmp_path: Path):
    found = plots.draw_all(data, tmp_path / "out")
    assert {path.name for path in found} == {f"{name}.svg" for name in DATA}
    assert all(ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg" for path in found)  # noqa: S314


def test_same_data_gives_same_bytes(data: Path, tmp_path: Path):
    first = {path.name: path.read_bytes() for path in plots.draw_all(data, tmp_path / "out")}
    assert first == {path.name: path.read_bytes() for path in plots.draw_all(data, tmp_path / "again")}


def test_a_regression_goes_without_curves(data: Path, tmp_path: Path):
    out = tmp_path / "out"
    plots.draw_all(data, out)
    for name in ("roc", "precision_recall"):
        (data / f"{name}.json").unlink()
    (data / "slices.json").write_text("[]")
    assert {path.stem for path in plots.draw_all(data, out)} == {"reliability", "importance", "predictions"}
    assert not (out / "roc.svg").exists()


def test_a_picture_follows_the_page():
    svg = drawn("reliability", RELIABILITY)
    assert "var(--accent)" in svg
    assert "prefers-color-scheme:dark" in svg
    assert "DejaVu" not in svg
    assert not [light for light, _ in plots.PALETTE.values() if f": {light}" in svg]


def test_titles_say_what_to_see():
    assert 'aria-label="Precision above the 20% of guessing"' in drawn("precision_recall", DATA["precision_recall"])
    assert "first 16 of 40" in drawn("importance", DATA["importance"])
    many = [{**DATA["slices"][0], "value": str(i)} for i in range(50)]
    assert "the 32 biggest" in drawn("slices", many)


def test_inputs_with_the_same_short_name_keep_their_bars():
    rows = [{"input": "a very long name of an input " + str(i), "importance": 1.0} for i in range(3)]
    assert drawn("importance", rows).count("a very long name …") == 3


@pytest.mark.parametrize("value", ["$x^$", "<b>&\"'", "日本", "a\u202eb\x00", "", "#1d2733"])
def test_any_value_can_be_drawn(value: str):
    ET.fromstring(drawn("slices", [{**DATA["slices"][0], "value": value}]))  # noqa: S314


def test_one_prediction_can_be_drawn():
    assert "<svg" in drawn("predictions", DATA["predictions"][:1])


def test_days_without_a_target_leave_a_gap():
    svg = plots.render_svg(
        plots.draw_target_by_day,
        {"day": ["2024-01-01", "2024-01-20"], "rows": [3, 4], "target": [None, 0.5]},
        name="days",
    )
    assert "nan" not in svg
