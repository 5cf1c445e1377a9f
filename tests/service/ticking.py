"""A real clock that a test moves: not forward only, as machines' clocks are not."""

from ledger.service.clock import ClockMode, SystemClock


class TickingClock(SystemClock):
    """Stands where the test puts it."""

    mode: ClockMode = "real"

    def __init__(self, now_ms: int) -> None:
        self.at_ms = now_ms

    def now_ms(self) -> int:
        """Where the test put it."""
        return self.at_ms
