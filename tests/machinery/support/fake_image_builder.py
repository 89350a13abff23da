"""An image builder for workflows' tests: `IMAGE CONTEXT [options of docker build]` pushes a real, small image.

It prints name@digest. The image's one layer lists the context's files; its labels are those of the options.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent)]
from support import fake_registry  # noqa: E402


def main(tag: str, context: str, *options: str) -> str:
    labels = dict(value.split("=", 1) for option, value in pairwise(options) if option == "--label")
    assert "FROM " in Path(options[options.index("--file") + 1]).read_text()
    address, _, rest = tag.partition("/")
    name, _, version = rest.partition(":")
    names = sorted(path.relative_to(context).as_posix() for path in Path(context).rglob("*") if path.is_file())
    return fake_registry.push(address, name, tag=version, labels=labels, files={"names": "\n".join(names).encode()})


if __name__ == "__main__":
    print(main(*sys.argv[1:]))  # noqa: T201
