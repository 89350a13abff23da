"""Texts that try to break out of Markdown and HTML."""

from __future__ import annotations

HOSTILE = [
    "a|b", "`code`", "<script>alert(1)</script>", "**bold** _i_", "[x](http://evil)", "![x](http://evil)",
    "two\nlines", "@someone", "owner/repo#12", "https://evil.example", "www.evil.example", "</details>",
    "a\u202eb", "&lt;b&gt;", "$x$", "\\|",
]  # fmt: skip
