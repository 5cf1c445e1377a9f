"""Counts of a run, and what it hands to the report."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from device_sim.gateway import ResultView
from device_sim.scenario import Scenario
from device_sim.world import Deed, World

KEPT_PROBLEMS = 20
"""Unexpected refusals of statements that a result names; more of them would say nothing new."""


@dataclass(slots=True)
class Counts:
    """What became of messages of one sort. ``reasons`` counts those not accepted."""

    sent: int = 0
    accepted: int = 0
    recorded: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, results: Sequence[ResultView]) -> None:
        """Count the results of one post."""
        for result in results:
            self.sent += 1
            if result.status == "accepted":
                self.accepted += 1
                continue
            if result.status == "recorded":
                self.recorded += 1
            else:
                self.refused += 1
            self.reasons[result.reason or "unknown"] += 1


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands: clock steps done and in all, ledger time, messages sent."""

    step: int
    steps: int
    now_ms: int
    heartbeats: int
    statements: int


@dataclass(slots=True)
class RunResult:
    """A finished run. Times are ledger milliseconds."""

    scenario: Scenario
    world: World
    mode: str
    speedup: float
    start_ms: int
    end_ms: int
    notes: list[str]
    shares_licences: bool = False
    """Whether licences of an earlier run are in force, with their dates and used-up quotas."""
    heartbeats: Counts = field(default_factory=Counts)
    statements: Counts = field(default_factory=Counts)
    lost: int = 0
    """Heartbeats made and lost on the way."""
    degraded: int = 0
    """Heartbeats sent by a chip that ran degraded."""
    problems: list[str] = field(default_factory=list)
    """Statements that were refused or put on record as conflicts; none in a sound scenario."""
    released: dict[str, int] = field(default_factory=dict)

    @property
    def deeds(self) -> list[Deed]:
        """The incidents as they were carried out."""
        return self.world.deeds
