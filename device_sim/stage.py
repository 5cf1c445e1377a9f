"""What an incident's story is given: the world, the incident, and the chips that it befalls."""

from dataclasses import dataclass

from device_sim.device import SimulatedChip
from device_sim.scenario import Cohort, Incident, Site
from device_sim.world import World


@dataclass(frozen=True, slots=True)
class Stage:
    """The setting of one incident."""

    world: World
    cohort: Cohort
    incident: Incident
    chips: tuple[SimulatedChip, ...]

    @property
    def day(self) -> float:
        """Day on which it begins."""
        if self.incident.day is None:
            raise ValueError(f"{self.incident.kind} has no day of its own")
        return self.incident.day

    @property
    def site(self) -> Site:
        """The other site that it is about."""
        return self.world.scenario.sites[self.incident.site or ""]

    @property
    def home(self) -> Site | None:
        """The licensed site that the chips come from."""
        site = self.world.scenario.routes[self.cohort.route].site
        return None if site is None else self.world.scenario.sites[site]

    @property
    def custodian(self) -> str:
        """Who gets the chips: the incident's custodian, or the one who has them."""
        return self.incident.custodian or self.world.scenario.routes[self.cohort.route].custodian

    @property
    def licence(self) -> str:
        """The licence under which they go."""
        return self.incident.licence or self.cohort.licence

    @property
    def end_day(self) -> float | None:
        """Day on which it ends by itself; None if it lasts."""
        lasts = self.incident.lasts_days
        return None if lasts is None else self.day + lasts

    def record(self, day: float | None = None) -> None:
        """Note the deed, from ``day`` or from the incident's own."""
        self.world.record(self.cohort, self.incident, self.chips, self.day if day is None else day)
