"""The chips of a run, made from its seed."""

from device_sim.device import Identity, SimulatedChip
from device_sim.scenario import Cohort, Scenario, image_digest
from device_sim.seeds import derive, root_seed
from ledger.protocol.heartbeat import Measurement

_RANDOM_UEID = b"\x01"
"""Type RAND (RFC 9711, 4.2.1)."""


def make_chips(scenario: Scenario, cohort: Cohort) -> list[SimulatedChip]:
    """A cohort's chips in their order; each depends on run seed, cohort id and its number only."""
    run = root_seed(scenario.seed)
    maker = scenario.manufacturers[scenario.routes[cohort.route].manufacturer]
    firmware = _firmware(scenario, cohort)
    chips = []
    for number in range(cohort.count):
        label = f"{cohort.id}/{number}"
        seed = derive(run, f"chip/{label}")
        ueid = _RANDOM_UEID + derive(seed, "ueid")[:16]
        identity = Identity(label, cohort.id, ueid, maker.oemid, cohort.model, seed)
        chips.append(SimulatedChip(identity, firmware))
    return chips


def _firmware(scenario: Scenario, cohort: Cohort) -> Measurement:
    model = scenario.models[cohort.model]
    wanted = cohort.firmware or model.firmware[0].version
    firmware = next(item for item in model.firmware if item.version == wanted)
    return Measurement(firmware.version, firmware.svn, image_digest(model.name, firmware))


def unknown_firmware(chip: SimulatedChip) -> Measurement:
    """Firmware of the same version that is not the manufacturer's."""
    digest = derive(chip.identity.seed, "unknown-firmware")
    return Measurement(chip.firmware.version, chip.firmware.svn, digest)
