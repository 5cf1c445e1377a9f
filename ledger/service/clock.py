"""The ledger's two kinds of clock. A ledger keeps the kind that its genesis names."""

import time
from typing import Literal, Protocol

from ledger.errors import Reason, Refused

ClockMode = Literal["real", "simulated"]


class Clock(Protocol):
    """Ledger time in milliseconds."""

    @property
    def mode(self) -> ClockMode:
        """Which kind it is."""

    def now_ms(self) -> int:
        """The present."""


class SystemClock:
    """The machine's clock."""

    mode: ClockMode = "real"

    def now_ms(self) -> int:
        """Milliseconds since 1970 by the machine's clock."""
        return time.time_ns() // 1_000_000


class Stopwatch:
    """Seconds since it was made, for sharing time out; never for the ledger's time."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._start


class SimulatedClock:
    """Stands still until it is moved, and only ever moves forward."""

    mode: ClockMode = "simulated"

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """Where the clock stands."""
        return self._now_ms

    def move(self, now_ms: int) -> None:
        """Set the clock; refuses to go back."""
        if now_ms < self._now_ms:
            raise Refused(
                Reason.CLOCK, f"the clock stands at {self._now_ms} already", field="now_ms"
            )
        self._now_ms = now_ms
