"""Times of a drill: its fault's injection, detection and recovery, with a sentence for each."""

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
        """Record the recovery from the fault."""
        self.recovered, self.recovered_s = what, self.since()
        self.sandbox.record_step("recover", what, self.recovered_s, "pass")

    def since(self) -> float:
        """Seconds since the injection; 0 before it."""
        return self.clock() - self.at if self.at is not None else 0.0

    def expect(self, holds: bool, difference: str, *, expected: str = "") -> None:
        """Raise CheckFailed with the difference and the `expected` state, unless `holds`."""
        if not holds:
            hint = f"docs/fix/drill.md; the cluster's state and logs are in {self.sandbox.home}"
            raise CheckFailed(f"drill {self.name}: {difference}", expected=expected, hint=hint)
