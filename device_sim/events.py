"""The event queue: a heap keyed (time, priority, serial), so that ties are never left to chance.

Times are offsets in milliseconds from the start of the calendar. Lower priorities run first;
within one, events run in the order in which they were scheduled.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum

Action = Callable[[int], None]
"""What happens; called with the event's own time, not with the end of the clock step."""


class Priority(IntEnum):
    """Order within one instant: papers, then what happens to chips, then their heartbeats."""

    PAPERS = 0
    WORLD = 1
    HEARTBEAT = 2


@dataclass(frozen=True, order=True, slots=True)
class Event:
    """Something that happens at ``at_ms``."""

    at_ms: int
    priority: int
    serial: int
    action: Action = field(compare=False)


class EventQueue:
    """Events to come."""

    def __init__(self) -> None:
        self._heap: list[Event] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def at(self, at_ms: int, priority: Priority, action: Action) -> None:
        """Schedule ``action``."""
        heapq.heappush(self._heap, Event(at_ms, int(priority), self._serial, action))
        self._serial += 1

    def due(self, until_ms: int) -> Iterator[Event]:
        """Take out every event up to and including ``until_ms``, also those scheduled meanwhile."""
        while self._heap and self._heap[0].at_ms <= until_ms:
            yield heapq.heappop(self._heap)
