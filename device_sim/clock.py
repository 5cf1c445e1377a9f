"""The run's calendar: offsets of the scenario on one side, the ledger's time on the other."""

from collections.abc import Iterator
from dataclasses import dataclass

from ledger.values import MILLIS_PER_DAY, MILLIS_PER_SECOND

MILLIS_PER_MINUTE = 60_000


@dataclass(frozen=True, slots=True)
class Timeline:
    """Maps scenario offsets (ms since its start) to ledger time.

    ``speedup`` is 1 on a simulated clock. Against a real clock it makes a scenario's day pass in
    ``1/speedup`` days of ledger time: iat, epochs and the verifier's limits stay real.
    """

    base_ms: int
    speedup: float = 1.0

    def ledger_ms(self, offset_ms: int) -> int:
        """Ledger time of an offset."""
        return self.base_ms + round(offset_ms / self.speedup)

    def iat(self, offset_ms: int) -> int:
        """The same in whole seconds, as statements and heartbeats carry it."""
        return self.ledger_ms(offset_ms) // MILLIS_PER_SECOND


def days(count: float) -> int:
    """Days as milliseconds."""
    return round(count * MILLIS_PER_DAY)


def minutes(count: float) -> int:
    """Minutes as milliseconds."""
    return round(count * MILLIS_PER_MINUTE)


def steps(total_ms: int, step_ms: int) -> Iterator[int]:
    """Ends of the clock's steps: step, 2 step, …, the last one cut at ``total_ms``."""
    at = 0
    while at < total_ms:
        at = min(at + step_ms, total_ms)
        yield at
