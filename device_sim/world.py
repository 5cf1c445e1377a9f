"""The simulated world: chips, who has them, what is due, and the mail that goes out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from device_sim.clock import Timeline, days, minutes
from device_sim.custody import Papers
from device_sim.device import SimulatedChip
from device_sim.events import Action, EventQueue, Priority
from device_sim.network import Network
from device_sim.parties import Parties
from device_sim.scenario import Cohort, Incident, Outcome, Scenario, Site


@dataclass(slots=True)
class Deed:
    """An incident with its chips: the truth against which the verifier's decisions are scored.

    ``at_ms`` is the offset at which it begins; ``reached`` says whether its outcome falls within
    the run; ``flagged_ms`` is the ledger time at which an expected flag was first seen, by chip.
    """

    incident: Incident
    cohort: str
    chips: tuple[SimulatedChip, ...]
    at_ms: int
    expected: Outcome
    reached: bool
    flagged_ms: dict[str, int] = field(default_factory=dict)


class World:
    """State of the run outside the ledger."""

    def __init__(self, scenario: Scenario, timeline: Timeline) -> None:
        self.scenario = scenario
        self.timeline = timeline
        self.parties = Parties(scenario)
        self.queue = EventQueue()
        self.network = Network(scenario.heartbeat.loss)
        self.mail: list[bytes] = []
        """Statements to send, in order."""
        self.papers = Papers(scenario, self.parties, timeline, self.mail.append)
        self.chips: list[SimulatedChip] = []
        self.deeds: list[Deed] = []
        self.reporting: list[SimulatedChip] = []
        """Chips whose heartbeat is due in this step, in order."""
        self._holders: dict[bytes, str] = {}
        self._end_ms = days(scenario.calendar.days)

    # -- schedule -------------------------------------------------------------------------------

    def at(self, day: float, action: Action, priority: Priority = Priority.WORLD) -> None:
        """Schedule ``action`` on a day of the calendar."""
        self.queue.at(days(day), priority, action)

    def paper(self, day: float, action: Action) -> None:
        """Schedule paperwork: before anything else that happens in the same instant."""
        self.at(day, action, Priority.PAPERS)

    def record(
        self, cohort: Cohort, incident: Incident, chips: Sequence[SimulatedChip], day: float
    ) -> Deed:
        """Note what is about to be done and from when it counts."""
        at_ms = days(day)
        expected, due_ms = incident.expected, days(day + incident.due_days)
        if expected == "revoke" and due_ms > self._end_ms:
            # A run cut short may still see the hold that comes before a revocation.
            expected, due_ms = "hold", days(day + incident.hold_days)
        reached = at_ms < self._end_ms and due_ms <= self._end_ms
        deed = Deed(incident, cohort.id, tuple(chips), at_ms, expected, reached)
        self.deeds.append(deed)
        return deed

    def cut(self, site: str, from_day: float, until_day: float) -> None:
        """No network at ``site`` between two days."""
        self.network.cut(site, days(from_day), days(until_day))

    # -- custody --------------------------------------------------------------------------------

    def holder(self, chip: SimulatedChip) -> str:
        """Who has the chip by its papers."""
        return self._holders[chip.ueid]

    def hand_over(self, chips: Iterable[SimulatedChip], to: str) -> None:
        """Remember who has the chips now."""
        for chip in chips:
            self._holders[chip.ueid] = to

    # -- chips ----------------------------------------------------------------------------------

    def switch_off(self, chips: Iterable[SimulatedChip]) -> None:
        """No power: on the way, or broken."""
        for chip in chips:
            chip.powered = False

    def rack(self, at_ms: int, chips: Iterable[SimulatedChip], site: Site) -> None:
        """Put chips into racks at ``site``; from now on they report."""
        for chip in chips:
            chip.place(site, self.timeline.iat(at_ms))
            self.start_beating(at_ms, chip)

    def start_beating(self, at_ms: int, chip: SimulatedChip) -> None:
        """Begin a chip's rhythm at a phase of its own. It goes on even while the power is off."""
        if chip.beating:
            return
        chip.beating = True
        period = minutes(self.scenario.heartbeat.every_min)
        first = at_ms + round(chip.beat.uniform(0, period))
        self._beat_at(chip, first)

    def _beat_at(self, chip: SimulatedChip, nominal_ms: int) -> None:
        """One beat round its nominal time; the next is counted from there, so none drifts."""
        plan = self.scenario.heartbeat
        reach = minutes(plan.jitter_min)
        due = nominal_ms + round(chip.beat.uniform(-reach, reach))

        def beat(_at_ms: int) -> None:
            if chip.powered:
                self.reporting.append(chip)
            self._beat_at(chip, nominal_ms + minutes(plan.every_min))

        self.queue.at(due, Priority.HEARTBEAT, beat)
