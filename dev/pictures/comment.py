"""Make the README's picture of a refused pull request: the comment that the loop's own report becomes on GitHub.

    python dev/pictures/comment.py

Reads .slipway/loop/report-bad/report.md, which `make loop` leaves, and writes docs/img/comment-refused.png and
docs/img/comment-refused-dark.png with the machine's Chromium. `make bench NAME=comment` runs it.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from markdown_it import MarkdownIt
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/machinery"))

from support import browser as browsing  # noqa: E402 - the tests' support is no package of the environment

REPORT = Path(".slipway/loop/report-bad/report.md")
PICTURES = {"light": Path("docs/img/comment-refused.png"), "dark": Path("docs/img/comment-refused-dark.png")}
MAX_BYTES = 300_000
"""Both pictures together."""
WIDTH, SCALE, COLOURS = 860, 1.5, 64
TAGS = ("details", "/details", "summary", "/summary")
"""The HTML that the report uses; GitHub takes it, a strict Markdown parser does not."""
MARKS = {"✅": ("pass", "✓"), "❌": ("fail", "✕"), "❔": ("unsure", "?")}
"""The emoji of a report, drawn by our own style: a machine without a font for them would show boxes."""
STYLE = (Path(__file__).parent / "comment.css").read_text(encoding="utf-8")
FRAME = """<!doctype html><html lang="en"><meta charset="utf-8"><style>{style}</style>
<article><header><b>github-actions</b> <i>bot</i> commented</header><section>{body}</section></article>"""


def page(markdown: str) -> str:
    """A comment of that text, as a page in the colours of the reader's scheme."""
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    unknown = [tag for tag in re.findall(r"<(/?\w+)", markdown) if tag not in TAGS]
    if unknown:
        raise SystemExit(f"{REPORT} has the HTML tag <{unknown[0]}>; expected: {', '.join(TAGS)}")
    body = reader.render(markdown)
    for emoji, (name, sign) in MARKS.items():
        body = body.replace(emoji, f'<span class="mark {name}">{sign}</span>')
    return FRAME.format(style=STYLE, body=body)


def draw(html: str, chromium: str) -> dict[str, bytes]:
    """The page as PNG by colour scheme, with a palette that keeps the rare colours of the marks."""
    pictures = {}
    with browsing.open_browser(chromium) as browser:
        for scheme in PICTURES:
            tab = browser.new_page(
                viewport={"width": WIDTH, "height": 400}, device_scale_factor=SCALE, color_scheme=scheme
            )
            tab.set_content(html)
            image = Image.open(io.BytesIO(tab.screenshot(full_page=True))).convert("RGB")
            small = io.BytesIO()
            image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                small, "PNG", optimize=True
            )
            pictures[scheme] = small.getvalue()
    return pictures


def main(root: Path = ROOT) -> int:
    """Write both pictures; exit code 2 where the report or the browser is missing."""
    if not (root / REPORT).exists():
        print(f"{REPORT} does not exist; next: make loop", file=sys.stderr)
        return 2
    if (chromium := browsing.find_chromium()) is None:
        print(browsing.ABSENT, file=sys.stderr)
        return 2
    pictures = draw(page((root / REPORT).read_text(encoding="utf-8")), chromium)
    if (size := sum(map(len, pictures.values()))) > MAX_BYTES:
        print(f"both pictures have {size:,} bytes; allowed: at most {MAX_BYTES:,}", file=sys.stderr)
        return 2
    for scheme, path in PICTURES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(pictures[scheme])
        print(f"{path}: {len(pictures[scheme]):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
