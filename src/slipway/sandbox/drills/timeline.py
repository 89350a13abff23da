"""Times of a drill: when its fault was injected, detected and recovered from, with a sentence for each."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from slipway.errors import CheckFailed
from slipway.sandbox.clone import Sandbox


@dataclass
class Timeline:
    """Seconds count from `inject`; None means not yet, or never."""

    sandbox: Sandbox
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
        """Start counting seconds."""
        self.at, self.injected = self.clock(), what
        self.sandbox.record_step("inject", what, 0.0)

    def detect(self, what: str) -> None:
        """Record that the fault was detected."""
        self.detected, self.detected_s = what, self.since()
        self.sandbox.record_step("detect", what, self.detected_s)

    def recover(self, what: str) -> None:
        """Record that everything is as it should be again."""
        self.recovered, self.recovered_s = what, self.since()
        self.sandbox.record_step("recover", what, self.recovered_s, "pass")

    def since(self) -> float:
        """Seconds since the injection; 0 before it."""
        return self.clock() - self.at if self.at is not None else 0.0

    def expect(self, holds: bool, difference: str, *, allowed: str = "") -> None:
        """Raise CheckFailed with the difference, and what is allowed instead, unless `holds`."""
        if not holds:
            raise CheckFailed(f"drill {self.name}: {difference}", allowed=allowed)
