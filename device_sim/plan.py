"""From the scenario to events: deliveries first, then incidents."""

from device_sim.acts import ACTS
from device_sim.clock import Timeline
from device_sim.device import SimulatedChip
from device_sim.fleet import make_chips
from device_sim.moves import install, transfer
from device_sim.scenario import Cohort, Scenario
from device_sim.stage import Stage
from device_sim.world import World


def make_world(scenario: Scenario, timeline: Timeline) -> World:
    """A world with everything scheduled that the scenario holds."""
    world = World(scenario, timeline)
    for cohort in scenario.cohort:
        chips = make_chips(scenario, cohort)
        world.chips += chips
        _deliver(world, cohort, chips)
        used = 0
        for incident in cohort.incident:
            taken = chips[used : used + incident.chips]
            used += incident.chips
            ACTS[incident.kind](Stage(world, cohort, incident, tuple(taken)))
    return world


def _deliver(world: World, cohort: Cohort, chips: list[SimulatedChip]) -> None:
    """Birth, then each leg shipped and received, then into the racks."""
    scenario = world.scenario
    route = scenario.routes[cohort.route]
    site = None if route.site is None else scenario.sites[route.site]

    def born(at_ms: int) -> None:
        for chip in chips:
            world.papers.birth(at_ms, route.manufacturer, chip)
        world.hand_over(chips, route.manufacturer)

    world.paper(cohort.born_day, born)
    day = cohort.born_day
    for leg in route.via:
        country = scenario.custodians[leg.party].country
        transfer(world, chips, day, leg.days, to=leg.party, country=country, licence=leg.licence)
        day += leg.days
    country = scenario.custodians[route.custodian].country if site is None else site.country
    transfer(
        world, chips, day, route.days, to=route.custodian, country=country, licence=cohort.licence
    )
    if site is not None:
        install(world, chips, day + route.days + route.install_days, site, cohort.licence)
