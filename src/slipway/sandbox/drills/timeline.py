"""A drill's clock: when it was injected, when that was seen, when all was well again; and the sentence for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from slipway.errors import CheckFailed
from slipway.sandbox.clone import Scene


@dataclass
class Watch:
    """Seconds are since `inject`; None is not yet, or never."""

    scene: Scene
    name: str
    clock: Callable[[], float] = time.monotonic
    at: float | None = None
    injected: str = ""
    detected: str = ""
    recovered: str = ""
    detected_s: float | None = None
    recovered_s: float | None = None
    figure: str = ""

    def inject(self, what: str) -> None:
        """From now on the seconds count."""
        self.at, self.injected = self.clock(), what
        self.scene.note("inject", what, 0.0)

    def detect(self, what: str) -> None:
        """Something has seen it."""
        self.detected, self.detected_s = what, self.since()
        self.scene.note("detect", what, self.detected_s)

    def recover(self, what: str) -> None:
        """All is as it should be again."""
        self.recovered, self.recovered_s = what, self.since()
        self.scene.note("recover", what, self.recovered_s, "pass")

    def since(self) -> float:
        """Seconds since it was injected; 0 before."""
        return self.clock() - self.at if self.at is not None else 0.0

    def expect(self, holds: bool, what: str) -> None:
        """CheckFailed, with what differs, when it does not hold."""
        if not holds:
            raise CheckFailed(f"drill {self.name}: {what}")
