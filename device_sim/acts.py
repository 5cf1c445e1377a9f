"""The story of each kind of incident, as one function that schedules what happens.

``device_sim.scenario.incident.KINDS`` says what is expected of each; a test holds the two together.
"""

from collections.abc import Callable

from device_sim.device import DEBUG_ENABLED, Memory, SimulatedChip
from device_sim.fleet import unknown_firmware
from device_sim.moves import carry, install, transfer
from device_sim.stage import Stage

Act = Callable[[Stage], None]

OUTAGE_DAYS = 0.25
"""An outage lasts six hours unless the scenario says otherwise."""


# --- Diversions -----------------------------------------------------------------------------


def transship(stage: Stage) -> None:
    """Shipped on with papers, under no licence, and received abroad; then perhaps reporting."""
    travel, site = stage.incident.travel_days, stage.site
    stage.record()
    transfer(
        stage.world,
        stage.chips,
        stage.day,
        travel,
        to=stage.custodian,
        country=site.country,
        licence=None,
    )
    if stage.incident.reports:
        world = stage.world
        world.at(stage.day + travel, lambda at_ms: world.rack(at_ms, stage.chips, site))


def smuggle(stage: Stage) -> None:
    """Carried off without papers; the receivers show the truth."""
    stage.record()
    carry(stage.world, stage.chips, stage.day, stage.incident.travel_days, stage.site)


def spoof(stage: Stage) -> None:
    """Carried off, with receivers fed so that they show the old place."""
    stage.record()
    travel = stage.incident.travel_days
    carry(stage.world, stage.chips, stage.day, travel, stage.site, claimed=stage.home)


def clone(stage: Stage) -> None:
    """Key and memory copied out; the copy runs elsewhere beside the original."""
    world = stage.world
    stage.record()

    def copy(at_ms: int) -> None:
        for chip in stage.chips:
            world.start_beating(at_ms, chip.copy_to(stage.site))

    world.at(stage.day, copy)


# --- Breaches -------------------------------------------------------------------------------


def over_quota(stage: Stage) -> None:
    """Nothing happens but the delivery itself."""
    stage.record(stage.world.scenario.arrival_day(stage.cohort))


def expired_licence(stage: Stage) -> None:
    """Nothing happens but that time passes."""
    stage.record(stage.world.scenario.licences[stage.cohort.licence].until_day)


def bad_firmware(stage: Stage) -> None:
    """Reflashed with something else, and perhaps put right later."""

    def reflash(chip: SimulatedChip) -> None:
        chip.firmware = unknown_firmware(chip)

    good = [chip.firmware for chip in stage.chips]

    def repair(chip: SimulatedChip) -> None:
        chip.firmware = good[stage.chips.index(chip)]

    stage.record()
    _reboot_into(stage, stage.day, reflash)
    if stage.end_day is not None:
        _reboot_into(stage, stage.end_day, repair)


def debug(stage: Stage) -> None:
    """Debug access opened, and perhaps closed later."""
    good = stage.chips[0].debug_status

    def open_up(chip: SimulatedChip) -> None:
        chip.debug_status = DEBUG_ENABLED

    def close(chip: SimulatedChip) -> None:
        chip.debug_status = good

    stage.record()
    _reboot_into(stage, stage.day, open_up)
    if stage.end_day is not None:
        _reboot_into(stage, stage.end_day, close)


def rollback(stage: Stage) -> None:
    """Its state is saved, and put back some days later."""
    world = stage.world
    saved: list[Memory] = []

    def save(_at_ms: int) -> None:
        saved.extend(chip.snapshot() for chip in stage.chips)

    def restore(_at_ms: int) -> None:
        for chip, memory in zip(stage.chips, saved, strict=True):
            chip.memory = memory

    stage.record()
    world.at(stage.day - stage.incident.back_days, save)
    world.at(stage.day, restore)


def teleport(stage: Stage) -> None:
    """Claims another site for a while, then its own again."""

    def jump(_at_ms: int) -> None:
        for chip in stage.chips:
            chip.claimed = stage.site

    def back(_at_ms: int) -> None:
        for chip in stage.chips:
            chip.claimed = None

    stage.record()
    stage.world.at(stage.day, jump)
    every = stage.world.scenario.heartbeat.every_min / 1_440
    lasts = stage.incident.lasts_days or every
    stage.world.at(stage.day + lasts, back)


# --- Failures -------------------------------------------------------------------------------


def clock_off(stage: Stage) -> None:
    """Its clock jumps, and perhaps is set right later."""

    def shift(offset_s: int) -> Callable[[int], None]:
        def act(_at_ms: int) -> None:
            for chip in stage.chips:
                chip.clock_offset_s = offset_s

        return act

    stage.record()
    stage.world.at(stage.day, shift(stage.incident.offset_s))
    if stage.end_day is not None:
        stage.world.at(stage.end_day, shift(0))


def silent(stage: Stage) -> None:
    """Stops; perhaps it is switched on again later."""
    world = stage.world
    stage.record()
    world.at(stage.day, lambda _at_ms: world.switch_off(stage.chips))
    if stage.end_day is not None:
        _switch_on(stage, stage.end_day)


# --- Honest ---------------------------------------------------------------------------------


def late_receive(stage: Stage) -> None:
    """Moved with papers and running already when the receipt is signed at last."""
    world, incident = stage.world, stage.incident
    arrival = stage.day + incident.travel_days
    stage.record()
    transfer(
        world,
        stage.chips,
        stage.day,
        incident.travel_days,
        to=stage.custodian,
        country=stage.site.country,
        licence=stage.licence,
        late_days=incident.late_days,
    )
    world.at(arrival, lambda at_ms: world.rack(at_ms, stage.chips, stage.site))

    def paper(at_ms: int) -> None:
        holder, licence = stage.custodian, stage.licence
        world.papers.install(at_ms, holder, stage.chips, site=stage.site, licence=licence)

    world.paper(arrival + incident.late_days, paper)


def outage(stage: Stage) -> None:
    """Its whole site is cut off."""
    home = stage.home
    if home is None:
        raise ValueError("an outage needs a site")
    lasts = stage.incident.lasts_days or OUTAGE_DAYS
    stage.record()
    stage.world.cut(home.id, stage.day, stage.day + lasts)


def move(stage: Stage) -> None:
    """Shipped, received and installed elsewhere, all on paper."""
    travel = stage.incident.travel_days
    stage.record()
    transfer(
        stage.world,
        stage.chips,
        stage.day,
        travel,
        to=stage.custodian,
        country=stage.site.country,
        licence=stage.licence,
    )
    install(stage.world, stage.chips, stage.day + travel, stage.site, stage.licence)


def _reboot_into(stage: Stage, day: float, change: Callable[[SimulatedChip], None]) -> None:
    """Change each chip and start it anew, as changes of firmware and fuses need."""

    def act(at_ms: int) -> None:
        for chip in stage.chips:
            change(chip)
            chip.boot(stage.world.timeline.iat(at_ms))

    stage.world.at(day, act)


def _switch_on(stage: Stage, day: float) -> None:
    def act(at_ms: int) -> None:
        for chip in stage.chips:
            chip.powered = True
            chip.boot(stage.world.timeline.iat(at_ms))

    stage.world.at(day, act)


ACTS: dict[str, Act] = {
    "transship": transship,
    "smuggle": smuggle,
    "spoof": spoof,
    "clone": clone,
    "over-quota": over_quota,
    "expired-licence": expired_licence,
    "bad-firmware": bad_firmware,
    "debug": debug,
    "rollback": rollback,
    "teleport": teleport,
    "clock-off": clock_off,
    "silent": silent,
    "late-receive": late_receive,
    "outage": outage,
    "move": move,
}
"""Stories by kind."""
