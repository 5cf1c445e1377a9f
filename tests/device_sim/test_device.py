"""The simulated accelerator's heartbeats as the protocol reads them."""

from math import cos, hypot, radians

import pytest

from api.client import Directive, Lease, Result
from device_sim.device import DEBUG_ENABLED, SimulatedChip
from device_sim.fleet import make_chips, unknown_firmware
from device_sim.network import Network
from device_sim.scenario import Scenario, Site, load_packaged
from ledger.protocol import statements as st
from ledger.protocol.heartbeat import Heartbeat
from ledger.protocol.statements import Kind, Message
from ledger.values import ZERO_DIGEST

NOW = 1_800_000_000
EPOCH = bytes(range(16))


@pytest.fixture
def scenario() -> Scenario:
    return load_packaged("small")


@pytest.fixture
def chip(scenario: Scenario) -> SimulatedChip:
    chip = make_chips(scenario, scenario.cohort[0])[0]
    chip.place(scenario.sites["frankfurt"], NOW)
    return chip


def beat(chip: SimulatedChip, now: int = NOW) -> Message:
    message = st.decode(chip.heartbeat(now, EPOCH, 10.0, 4.0), expect=Kind.HEARTBEAT)
    message.verify(chip.key.public)
    return message


def test_first_heartbeat_names_no_predecessor_and_the_next_names_it(chip: SimulatedChip) -> None:
    first, second = beat(chip), beat(chip, NOW + 60)
    assert (first.body.counter, first.body.previous) == (1, ZERO_DIGEST)
    assert (second.body.counter, second.body.previous) == (2, first.content_digest)
    assert second.body.uptime == 60


def test_claim_lies_within_some_metres_of_the_site(chip: SimulatedChip) -> None:
    site = chip.site
    assert site is not None
    for _ in range(50):
        claim = beat(chip).body.location
        north = (claim.latitude - site.latitude) * 111_195
        east = (claim.longitude - site.longitude) * 111_195 * cos(radians(site.latitude))
        assert hypot(north, east) < 6


@pytest.mark.parametrize(
    ("latitude", "longitude"), [(-16.5, 180.0), (-16.5, -180.0), (90.0, 10.0), (-90.0, 0.0)]
)
def test_claim_at_the_ends_of_the_map_stays_on_it(
    chip: SimulatedChip, latitude: float, longitude: float
) -> None:
    chip.claimed = Site(id="end", town="End", country="FJ", latitude=latitude, longitude=longitude)
    for _ in range(20):
        beat(chip)


def test_spoofed_claim_names_the_other_site(chip: SimulatedChip, scenario: Scenario) -> None:
    chip.claimed = scenario.sites["almaty"]
    assert beat(chip).body.location.latitude == pytest.approx(43.2389, abs=1e-3)


def test_lease_and_directive_come_back_in_the_next_heartbeat(chip: SimulatedChip) -> None:
    lease, order = Lease(bytes(16), (NOW + 10) * 1000), Directive(3, "hold", b"d" * 32)
    chip.take(Result("accepted", lease=lease, directive=order))
    body: Heartbeat = beat(chip).body
    assert body.lease == bytes(16)
    assert body.directive_seen == (3, b"d" * 32)


def test_held_chip_runs_degraded_and_goes_on_reporting(chip: SimulatedChip) -> None:
    assert not chip.is_degraded(NOW * 1000)
    chip.take(Result("accepted", directive=Directive(1, "hold", b"d" * 32)))
    assert chip.is_degraded(NOW * 1000)
    assert beat(chip).body.counter == 1
    chip.take(Result("accepted", directive=Directive(2, "release", b"e" * 32)))
    assert not chip.is_degraded(NOW * 1000)


def test_chip_that_hears_nothing_degrades_when_its_lease_ends(chip: SimulatedChip) -> None:
    chip.take(Result("accepted", lease=Lease(bytes(16), NOW * 1000 + 5)))
    assert not chip.is_degraded(NOW * 1000)
    assert chip.is_degraded(NOW * 1000 + 5)


def test_boot_counts_up_and_starts_uptime_anew(chip: SimulatedChip) -> None:
    first = beat(chip, NOW + 100).body
    chip.boot(NOW + 200)
    second = beat(chip, NOW + 230).body
    assert second.boot_count == first.boot_count + 1
    assert second.boot_seed != first.boot_seed
    assert (first.uptime, second.uptime) == (100, 30)


def test_copy_signs_with_the_same_key_and_forks_the_counter(
    chip: SimulatedChip, scenario: Scenario
) -> None:
    beat(chip)
    copy = chip.copy_to(scenario.sites["munich"])
    ours, theirs = beat(chip), beat(copy)
    assert ours.body.counter == theirs.body.counter == 2
    assert ours.body.previous == theirs.body.previous
    assert ours.content_digest != theirs.content_digest
    assert theirs.kid == ours.kid


def test_snapshot_put_back_repeats_the_counter(chip: SimulatedChip) -> None:
    beat(chip)
    saved = chip.snapshot()
    beat(chip), beat(chip)
    chip.memory = saved
    assert beat(chip).body.counter == 2


def test_unknown_firmware_keeps_version_and_changes_the_digest(chip: SimulatedChip) -> None:
    other = unknown_firmware(chip)
    assert other.version == chip.firmware.version
    assert other.digest != chip.firmware.digest


def test_clock_offset_moves_iat_and_debug_is_shown(chip: SimulatedChip) -> None:
    chip.clock_offset_s, chip.debug_status = 7_200, DEBUG_ENABLED
    body = beat(chip).body
    assert (body.iat, body.debug_status) == (NOW + 7_200, 0)


def test_chip_in_no_rack_makes_no_heartbeat(scenario: Scenario) -> None:
    chip = make_chips(scenario, scenario.cohort[0])[0]
    with pytest.raises(ValueError, match="in no rack"):
        chip.heartbeat(NOW, EPOCH, 10.0, 4.0)


def test_outage_cuts_its_site_for_its_span_only(chip: SimulatedChip) -> None:
    network = Network(0.0)
    network.cut("frankfurt", 100, 200)
    network.cut("munich", 0, 1_000)
    assert [network.reaches(chip, at) for at in (99, 100, 199, 200)] == [True, False, False, True]
    assert not network.loses(chip)


def test_loss_follows_its_probability(chip: SimulatedChip) -> None:
    network = Network(0.25)
    lost = sum(network.loses(chip) for _ in range(2_000))
    assert 400 < lost < 600
