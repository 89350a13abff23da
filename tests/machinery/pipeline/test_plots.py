from __future__ import annotations

import json
import re
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


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


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


def test_titles_name_what_is_drawn():
    assert "Precision and recall" in drawn("precision_recall", DATA["precision_recall"])
    assert "Feature importance (top 16 of 40)" in drawn("importance", DATA["importance"])
    many = [{**DATA["slices"][0], "value": str(i)} for i in range(50)]
    assert "Loss by slice (the 32 largest of 50)" in drawn("slices", many)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("reliability", "Calibration. Farthest from perfect: 0.9 predicted, 0.818 observed."),
        ("roc", "ROC curve (area 0.625). Area under the curve: 0.625."),
        ("precision_recall", "Precision and recall. Precision 60% at recall 50%; by chance 20%."),
        ("predictions", "Distribution of predictions. From 0 to 0.9; most rows, 9, near 0.9."),
        ("importance", "Feature importance (top 16 of 40). Largest: input 0 0.1, input 1 0.09, input 2 0.08."),
        ("slices", "Loss by slice. Mean 0.107; highest: carrier 2 0.2."),
    ],
)
def test_a_plot_has_its_numbers_as_text(name: str, text: str):
    assert f'aria-label="{text}"' in drawn(name, DATA[name])


@pytest.mark.parametrize("name", ["reliability", "roc", "precision_recall", "predictions", "slices"])
def test_the_champion_is_drawn_next_to_the_challenger(name: str):
    alone = plots.svg_texts({name: DATA[name]})[name]
    both = plots.svg_texts({name: DATA[name]}, {name: DATA[name]})[name]
    for shown in ("production", "this change", "var(--rival)"):
        assert f">{shown}<" in both or shown in re.sub(r"<style.*?</style>", "", both, flags=re.DOTALL)
    assert "production" not in alone
    assert name == "slices" or re.search(r"stroke-dasharray[^\"]*var\(--rival\)", both)


def test_colours_are_far_enough_apart_for_everybody():
    for theme in (0, 1):
        accent, rival = (luminance(plots.PALETTE[role][theme]) for role in ("accent", "rival"))
        paper = luminance(("#ffffff", "#161d25")[theme])
        assert all(contrast(colour, paper) >= 3 for colour in (accent, rival))


def test_inputs_with_the_same_short_name_keep_their_bars():
    rows = [{"input": "a very long name of an input " + str(i), "importance": 1.0} for i in range(3)]
    assert drawn("importance", rows).count(">a very long name…<") == 3


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
