"""Movements of chips that more than one story needs."""

from collections.abc import Sequence

from device_sim.device import SimulatedChip
from device_sim.scenario import Site
from device_sim.world import World


def transfer(
    world: World,
    chips: Sequence[SimulatedChip],
    day: float,
    travel_days: float,
    *,
    to: str,
    country: str,
    licence: str | None,
    late_days: float = 0.0,
) -> None:
    """Whoever holds the chips on ``day`` ships them; ``to`` receives them.

    The receipt is signed ``travel_days`` later, plus ``late_days`` for paperwork that lags.
    """

    def ship(at_ms: int) -> None:
        world.switch_off(chips)
        sender = world.holder(chips[0])
        world.papers.ship(at_ms, sender, chips, to=to, destination=country, licence=licence)

    def receive(at_ms: int) -> None:
        sender = world.holder(chips[0])
        world.papers.receive(at_ms, to, chips, sender=sender, country=country)
        world.hand_over(chips, to)

    world.paper(day, ship)
    world.paper(day + travel_days + late_days, receive)


def install(
    world: World, chips: Sequence[SimulatedChip], day: float, site: Site, licence: str
) -> None:
    """Into the racks, with the paper that says so."""

    def paper(at_ms: int) -> None:
        holder = world.holder(chips[0])
        world.papers.install(at_ms, holder, chips, site=site, licence=licence)

    world.paper(day, paper)
    world.at(day, lambda at_ms: world.rack(at_ms, chips, site))


def carry(
    world: World,
    chips: Sequence[SimulatedChip],
    day: float,
    travel_days: float,
    site: Site,
    claimed: Site | None = None,
) -> None:
    """Out of the racks without papers; into others elsewhere, perhaps claiming another place."""

    def unplug(_at_ms: int) -> None:
        world.switch_off(chips)

    def plug_in(at_ms: int) -> None:
        for chip in chips:
            chip.claimed = claimed
        world.rack(at_ms, chips, site)

    world.at(day, unplug)
    world.at(day + travel_days, plug_in)
