"""The libraries of a lock that uv wrote: their versions, and which of them require which."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import packages_distributions

BLOCK = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?:==| @ )(?P<rest>\S.*?)\s*\\?")
IMPORTED_AS = {"sklearn": "scikit-learn", "yaml": "pyyaml", "PIL": "pillow", "dateutil": "python-dateutil",
               "google.protobuf": "protobuf", "cv2": "opencv-python", "bs4": "beautifulsoup4"}  # fmt: skip
"""Libraries that are imported under another name, so that what is installed need not be searched for them."""
REQUIRED_BY = re.compile(r"\s+#(?: via)?\s+(?P<name>[A-Za-z0-9][\w.-]*)")


class LockedLibraries:
    """The text of a lock: a block for each library, with a `# via` comment that lists what requires it."""

    def __init__(self, text: str) -> None:
        self._pins: dict[str, list[str]] = {}
        self._requires: dict[str, set[str]] = {}
        name = ""
        for line in text.splitlines():
            if block := BLOCK.fullmatch(line):
                name = _normal(block["name"])
                self._pins.setdefault(name, []).append(line.rstrip(" \\"))
            elif (parent := REQUIRED_BY.fullmatch(line)) and name:
                self._requires.setdefault(_normal(parent["name"]), set()).add(name)

    def providers(self, module: str, *, search: bool = True) -> set[str]:
        """The locked libraries that an imported `module` may belong to; empty when the lock has none.

        `search` looks for a module that has not the name of a library among what is installed, which takes a while.
        """
        parts = module.split(".")
        for count in range(len(parts), 0, -1):  # `ruamel.yaml` is of the library ruamel-yaml
            name = _normal(IMPORTED_AS.get(".".join(parts[:count]), "-".join(parts[:count])))
            if name in self._pins:
                return {name}
        if not search:
            return set()
        return {_normal(name) for name in _installed().get(parts[0], ())} & self._pins.keys()

    def pins(self, names: Iterable[str]) -> list[str]:
        """The pins of libraries and of all that they require, as the lock writes them, with markers, sorted."""
        waiting, closure = [*names], set[str]()
        while waiting:
            name = waiting.pop()
            if name not in closure:
                closure.add(name)
                waiting += self._requires.get(name, ())
        return sorted(pin for name in closure for pin in self._pins.get(name, ()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _installed() -> dict[str, list[str]]:
    """The installed libraries by the name under which they are imported: scikit-learn for sklearn."""
    return {module: list(names) for module, names in packages_distributions().items()}
