from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from support.browser import require_chromium
from support.paths import ROOT


@pytest.fixture(scope="module")
def comment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("comment_picture", ROOT / "dev/pictures/comment.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def opened(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return picture.convert("RGB")


def test_both_pictures_are_kept_and_small(comment: ModuleType):
    sizes = [(ROOT / path).stat().st_size for path in comment.PICTURES.values()]
    assert sum(sizes) <= comment.MAX_BYTES
    light, dark = (opened(ROOT / path) for path in comment.PICTURES.values())
    assert light.size == dark.size
    assert sum(light.getpixel((0, 0))) > 700 > 100 > sum(dark.getpixel((0, 0)))


def test_without_a_loop_there_is_nothing_to_draw(
    comment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert comment.main(tmp_path) == 2
    assert capsys.readouterr().err == ".slipway/loop/report-bad/report.md does not exist; next: make loop\n"


def test_a_report_becomes_two_pictures(comment: ModuleType, tmp_path: Path):
    require_chromium()
    report = tmp_path / comment.REPORT
    report.parent.mkdir(parents=True)
    report.write_text(
        "## ❌ Refused: a & b\n\n| a |\n|---|\n| 1 |\n\n<details><summary>More</summary>\n\ntext\n\n</details>\n"
    )
    assert comment.main(tmp_path) == 0
    widths = [opened(tmp_path / path).width for path in comment.PICTURES.values()]
    assert widths == [round(comment.WIDTH * comment.SCALE)] * 2


def test_html_that_github_would_drop_is_refused(comment: ModuleType):
    with pytest.raises(SystemExit, match="HTML tag <script>"):
        comment.page("<script>1</script>")
