"""Each rule: what it affirms, warns of, contraindicates, and in which words."""

from hashlib import sha256
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as h

from ledger.appraisal.rules import EARTH_RADIUS_KM, Tier, distance_km
from ledger.protocol.heartbeat import Location
from ledger.protocol.policy import RuleId
from tests.appraisal.bench import (
    BASEL,
    NORTH_SEA,
    NOWHERE_M,
    PARIS,
    STRASBOURG,
    TOKYO,
    Court,
    court,
    installed,
)
from tests.registry.bench import DAY_MS, HOUR_MS
from tests.world import FIRMWARE, FRANKFURT, KUALA_LUMPUR, Chip, seed, signer

OK, WARN, BAD = Tier


@pytest.fixture
def stage() -> tuple[Court, Chip]:
    made = court()
    chip = installed(made)
    made.take(made.beat(chip))
    made.tick()
    return made, chip


def says(made: Court, chip: Chip, rule: str, tier: Tier, words: str, **changes: Any) -> None:
    """The rule's finding on a heartbeat with these changes has that tier and those words."""
    finding = made.look(chip, **changes)[rule]
    assert (finding.tier, finding.words) == (tier, words)


def test_a_good_heartbeat_is_affirmed_by_every_rule(stage: tuple[Court, Chip]):
    made, chip = stage
    findings = made.look(chip)
    assert {*findings, "silence"} == set(get_args(RuleId))
    assert {finding.tier for finding in findings.values()} == {OK}


def test_tiers_are_those_of_ar4si():
    assert [int(tier) for tier in Tier] == [2, 32, 96]


def test_identity(stage: tuple[Court, Chip]):
    made, chip = stage
    says(made, chip, "identity", OK, "signed by the key in the birth statement")
    words = "says it is a XA-200, born as XA-100"
    says(made, chip, "identity", BAD, words, model="XA-200")
    says(made, chip, "identity", BAD, "says its maker is 7, born as one of 99999", oemid=7)
    words = "says its maker is 00000b, born as one of 99999"
    says(made, chip, "identity", BAD, words, oemid=b"\x00\x00\x0b")


def test_continuity(stage: tuple[Court, Chip]):
    made, chip = stage
    says(made, chip, "continuity", OK, "counter and previous digest follow")
    says(made, chip, "continuity", WARN, "3 heartbeats never arrived", counter=5)
    words = f"{2**53 - 3} heartbeats never arrived"
    says(made, chip, "continuity", WARN, words, counter=2**53 - 1)


def test_boot(stage: tuple[Court, Chip]):
    made, chip = stage
    ok, other = "boot count and seed follow", seed("other boot")
    says(made, chip, "boot", OK, ok)
    says(made, chip, "boot", OK, ok, uptime=3_600)
    says(made, chip, "boot", OK, ok, boot_count=2, boot_seed=other, uptime=0)
    says(made, chip, "boot", OK, ok, boot_count=2**63 - 1, boot_seed=other, uptime=0)
    says(made, chip, "boot", BAD, "boot count 0 after 1", boot_count=0)
    says(made, chip, "boot", BAD, "two boot seeds within boot 1", boot_seed=other)
    words = "uptime went back from 3600 s to 3599 s within one boot"
    says(made, chip, "boot", BAD, words, uptime=3_599)
    says(made, chip, "boot", BAD, "boot 2 has the seed of boot 1", boot_count=2, uptime=0)


def test_the_first_heartbeat_has_no_boot_to_follow():
    made = court()
    chip = installed(made)
    assert made.look(chip, boot_count=7, uptime=0)["boot"].tier is OK
    assert "travel" not in made.look(chip)


@pytest.mark.parametrize("sign", [-1, 1])
def test_freshness(stage: tuple[Court, Chip], sign: int):
    made, chip = stage
    now = made.world.iat
    says(made, chip, "freshness", OK, "current epoch, clock within limits", iat=now + sign * 900)
    words = f"its clock is 901 s {'ahead' if sign > 0 else 'behind'}, 900 s allowed"
    says(made, chip, "freshness", BAD, words, iat=now + sign * 901)


def test_debug(stage: tuple[Court, Chip]):
    made, chip = stage
    for status in (2, 3, 4):
        says(made, chip, "debug", OK, "debug access is disabled", debug_status=status)
    says(made, chip, "debug", BAD, "debug status enabled is not allowed", debug_status=0)
    says(made, chip, "debug", BAD, "debug status disabled is not allowed", debug_status=1)


def test_measurements(stage: tuple[Court, Chip]):
    made, chip = stage
    says(made, chip, "measurements", OK, "firmware 1.0 is a reference value")
    old = FIRMWARE._replace(svn=2)
    words = "firmware 1.0 has security version 2 under 3"
    says(made, chip, "measurements", BAD, words, measurement=old)
    digest = sha256(b"evil").digest()
    for wrong in (
        FIRMWARE._replace(digest=digest),
        FIRMWARE._replace(svn=4),
        FIRMWARE._replace(version="1.1"),
    ):
        finding = made.look(chip, measurement=wrong)["measurements"]
        assert finding.tier is BAD
        assert finding.words == (
            f"firmware {wrong.version} (security version {wrong.svn}, digest "
            f"{wrong.digest.hex()[:16]}…) is not a reference value of XA-100"
        )


def test_a_model_without_reference_values_cannot_be_told():
    made = court(reference_values={})
    chip = installed(made)
    says(made, chip, "measurements", WARN, "the policy has no reference value for XA-100")


# -- licence ---------------------------------------------------------------------------------


def test_a_licence_in_force_covers_its_holder_in_its_countries(stage: tuple[Court, Chip]):
    made, chip = stage
    says(made, chip, "licence", OK, "licence L-1 covers it")


def delivered(made: Court, chip: Chip, to: str, country: str, licence: str | None) -> None:
    """From the holder to another party."""
    world = made.world
    made.take(world.ship(chip, by=world.holder, to=to, licence=licence))
    made.take(world.receive(chip, by=signer(to), sender="holder", country=country))


def test_no_licence():
    made = court(hold_after={})
    chip = installed(made)
    delivered(made, chip, "reseller", "MY", None)
    says(made, chip, "licence", BAD, "reseller in MY holds it under no licence")


def test_a_licence_of_somebody_else():
    made = court(hold_after={})
    chip = installed(made)
    delivered(made, chip, "reseller", "DE", "L-1")
    says(made, chip, "licence", BAD, "licence L-1 is holder's, the chip is with reseller in MY")


def test_a_country_outside_the_licence():
    made = court(hold_after={})
    chip = installed(made)
    delivered(made, chip, "holder", "MY", "L-1")
    words = "licence L-1 covers DE, FR; holder has the chip in MY"
    says(made, chip, "licence", BAD, words)


def test_a_model_outside_the_licence():
    made = court(hold_after={})
    chip = installed(made)
    made.take(made.world.licence(id="L-2", models=["XB-1", "XB-2"]))
    made.take(made.world.install(chip, licence="L-2"))
    says(made, chip, "licence", BAD, "licence L-2 covers XB-1, XB-2, not XA-100")


@pytest.mark.parametrize(("start_h", "end_h", "tier"), [(0, 1, OK), (1, 2, BAD), (-2, 0, BAD)])
def test_dates_of_the_licence(start_h: int, end_h: int, tier: Tier):
    made = court(hold_after={})
    chip = installed(made)
    span = {
        "not_before": made.world.iat + start_h * 3_600,
        "not_after": made.world.iat + end_h * 3_600,
    }
    made.take(made.world.licence(id="L-2", **span))
    made.take(made.world.install(chip, licence="L-2"))
    finding = made.look(chip)["licence"]
    assert finding.tier is tier
    if tier is BAD:
        assert finding.words.startswith("licence L-2 is in force from 20")


def test_a_licence_without_end_has_words():
    made = court(hold_after={})
    chip = installed(made)
    span = {"not_before": 253_402_300_798, "not_after": 253_402_300_799}
    made.take(made.world.licence(id="L-2", **span))
    made.take(made.world.install(chip, licence="L-2"))
    words = "licence L-2 is in force from 9999-12-31 to 9999-12-31 only"
    says(made, chip, "licence", BAD, words)


def test_above_the_quota():
    made = court(hold_after={})
    made.take(made.world.licence(id="L-2", quota_per_year=1))
    chips = [installed(made, number) for number in range(2)]
    made.take(*(made.world.install(chip, licence="L-2") for chip in chips))
    says(made, chips[0], "licence", OK, "licence L-2 covers it")
    words = "licence L-2 allows 1 chips a year; this one is above that number"
    says(made, chips[1], "licence", BAD, words)


def test_no_licence_is_needed_with_the_maker_until_it_is_put_into_service():
    made = court(hold_after={})
    chip = made.world.chip(1)
    made.take(made.world.birth(chip))
    assert "licence" not in made.look(chip)
    made.take(made.world.install(chip, by=made.world.maker))
    words = "licence L-1 is holder's, the chip is with maker in US"
    says(made, chip, "licence", BAD, words)


def test_a_carrier_needs_no_licence_and_keeps_to_the_models_and_dates_of_one():
    made = court(hold_after={})
    chip, other = installed(made), made.world.chip(2)
    delivered(made, chip, "carrier", "MY", "L-1")
    says(made, chip, "licence", OK, "licence L-1 covers it")
    made.world.now_ms += 366 * DAY_MS
    assert made.look(chip)["licence"].tier is BAD
    made.take(made.world.birth(other), made.world.ship(other, to="carrier", licence=None))
    made.take(made.world.receive(other, by=signer("carrier"), country="MY"))
    assert "licence" not in made.look(other)


# -- place -----------------------------------------------------------------------------------


def test_a_claim_inside(stage: tuple[Court, Chip]):
    made, chip = stage
    basis = "licence L-1 covers DE, FR"
    says(made, chip, "location-claim", OK, f"reports from DE; {basis}")
    says(made, chip, "location-claim", OK, f"reports from FR; {basis}", place=PARIS)
    says(made, chip, "location-claim", OK, f"reports from DE, FR; {basis}", place=STRASBOURG)


def test_a_claim_outside(stage: tuple[Court, Chip]):
    made, chip = stage
    words = "reports from MY (3.1390, 101.6869 ± 12 m); licence L-1 covers DE, FR"
    says(made, chip, "location-claim", BAD, words, place=KUALA_LUMPUR)


@pytest.mark.parametrize("accuracy_m", [12.0, 900_000.0])
def test_a_claim_outside_is_outside_however_bad_its_accuracy(
    stage: tuple[Court, Chip], accuracy_m: float
):
    made, chip = stage
    findings = made.look(chip, place=KUALA_LUMPUR, accuracy_m=accuracy_m)
    assert findings["location-claim"].tier is BAD
    assert not findings["location-claim"].unclear


@pytest.mark.parametrize(("place", "names"), [(BASEL, "CH, DE, FR"), (NORTH_SEA, "DE, DK, NL")])
def test_near_a_border_and_at_sea_the_claim_is_unclear(
    stage: tuple[Court, Chip], place: tuple[float, float], names: str
):
    made, chip = stage
    finding = made.look(chip, place=place)["location-claim"]
    assert (finding.tier, finding.unclear) == (WARN, True)
    assert finding.words.startswith(f"may be in any of {names} (")


def test_an_accuracy_that_says_nothing_is_unclear(stage: tuple[Court, Chip]):
    made, chip = stage
    words = "its position is only good to 10000 km"
    says(made, chip, "location-claim", WARN, words, accuracy_m=NOWHERE_M)
    words = "its position is only good to 50 km"
    says(made, chip, "location-claim", WARN, words, accuracy_m=50_001.0)
    assert made.look(chip, accuracy_m=50_000.0)["location-claim"].tier is OK


@pytest.mark.parametrize(
    ("age_s", "tier", "words"),
    [
        (86_400, OK, "reports from DE; licence L-1 covers DE, FR"),
        (86_401, WARN, "its position was taken 86401 s before the heartbeat"),
        (-900, OK, "reports from DE; licence L-1 covers DE, FR"),
        (-901, WARN, "its position is dated 901 s after the heartbeat"),
    ],
)
def test_a_position_of_another_time_is_unclear(
    stage: tuple[Court, Chip], age_s: int, tier: Tier, words: str
):
    made, chip = stage
    claim = Location(*FRANKFURT, 12.0, made.world.iat - age_s)
    says(made, chip, "location-claim", tier, words, location=claim)


def test_without_a_licence_the_papers_say_where_a_chip_may_be():
    made = court(hold_after={})
    chip = made.world.chip(1)
    made.take(made.world.birth(chip))
    words = "reports from DE (50.1109, 8.6821 ± 12 m); its papers say US"
    says(made, chip, "location-claim", BAD, words)


def test_custody_place(stage: tuple[Court, Chip]):
    made, chip = stage
    says(made, chip, "custody-place", OK, "claim and custody agree")
    words = "reports from FR; holder has it in DE by its papers"
    says(made, chip, "custody-place", BAD, words, place=PARIS)
    words = "may be in any of DE, FR; its papers say DE"
    says(made, chip, "custody-place", WARN, words, place=STRASBOURG)


def test_custody_place_of_a_retired_chip(stage: tuple[Court, Chip]):
    made, chip = stage
    made.take(made.retire(chip))
    words = "sends heartbeats although its custodian retired it"
    says(made, chip, "custody-place", BAD, words)


def test_custody_place_on_the_way(stage: tuple[Court, Chip]):
    made, chip = stage
    made.take(made.world.ship(chip, by=made.world.holder, to="rival", licence=None))
    words = "reports while on its way to rival"
    says(made, chip, "custody-place", WARN, words)
    made.world.now_ms += 168 * HOUR_MS - 1
    says(made, chip, "custody-place", WARN, words)
    made.world.now_ms += 1
    says(made, chip, "custody-place", BAD, f"{words}, 168 h after it was shipped")


def test_custody_place_with_a_carrier(stage: tuple[Court, Chip]):
    made, chip = stage
    delivered(made, chip, "carrier", "DE", None)
    words = "reports while carrier carries it"
    says(made, chip, "custody-place", WARN, words)
    made.world.now_ms += 200 * HOUR_MS
    says(made, chip, "custody-place", BAD, f"{words}, 200 h after it was shipped")


def test_a_transit_without_limit_only_warns():
    made = court(transit_limit_h=0)
    chip = installed(made)
    delivered(made, chip, "carrier", "DE", None)
    made.world.now_ms += 300 * DAY_MS
    assert made.look(chip)["custody-place"].tier is WARN


# -- travel ----------------------------------------------------------------------------------


def test_travel(stage: tuple[Court, Chip]):
    made, chip = stage
    ok = "no faster than an aircraft since the last place it showed"
    says(made, chip, "travel", OK, ok)
    says(made, chip, "travel", OK, ok, place=PARIS)
    words = "claims to have moved 9954 km in 1.0 h, faster than 900 km/h"
    says(made, chip, "travel", BAD, words, place=KUALA_LUMPUR)
    made.world.now_ms += 11 * HOUR_MS
    says(made, chip, "travel", OK, ok, place=KUALA_LUMPUR)


def test_travel_gives_both_claims_the_benefit_of_their_accuracy(stage: tuple[Court, Chip]):
    made, chip = stage
    ok = "no faster than an aircraft since the last place it showed"
    says(made, chip, "travel", OK, ok, place=TOKYO, accuracy_m=9_000_000.0)


def test_travel_can_be_switched_off():
    made = court(travel_speed_kmh=0)
    chip = installed(made)
    made.take(made.beat(chip))
    assert "travel" not in made.look(chip, place=KUALA_LUMPUR)


@pytest.mark.parametrize("years", [-1, 1])
def test_a_claimed_time_far_off_slows_no_journey(stage: tuple[Court, Chip], years: int):
    made, chip = stage
    iat = made.world.iat + years * 31_536_000
    words = f"claims to have moved 9954 km in {0.8 if years < 0 else 1.2} h, faster than 900 km/h"
    # An hour at most, give or take the 900 s that a clock may be wrong.
    says(made, chip, "travel", BAD, words, place=KUALA_LUMPUR, iat=iat)


@pytest.mark.parametrize("hide", [{"accuracy_m": NOWHERE_M}, {"stale": True}])
def test_a_claim_that_shows_no_place_hides_no_journey(
    stage: tuple[Court, Chip], hide: dict[str, Any]
):
    made, chip = stage
    if hide.pop("stale", False):
        hide = {"location": Location(*TOKYO, 12.0, 0)}
    made.take(made.beat(chip, **hide))
    made.tick()
    words = "claims to have moved 9954 km in 2.0 h, faster than 900 km/h"
    says(made, chip, "travel", BAD, words, place=KUALA_LUMPUR)


def test_two_claims_at_one_time_are_a_minute_apart(stage: tuple[Court, Chip]):
    made, chip = stage
    made.take(made.beat(chip))
    words = "claims to have moved 478 km in 0.0 h, faster than 900 km/h"
    says(made, chip, "travel", BAD, words, place=PARIS)


COORDINATES = h.tuples(h.floats(-90, 90), h.floats(-180, 180))


@given(COORDINATES, COORDINATES)
def test_distance_is_a_distance(one: tuple[float, float], two: tuple[float, float]):
    there, back = distance_km(*one, *two), distance_km(*two, *one)
    assert there == pytest.approx(back, abs=1e-6)
    assert 0 <= there <= 3.1416 * EARTH_RADIUS_KM
    assert distance_km(*one, *one) == 0


def test_distances_known():
    assert distance_km(0, 0, 0, 90) == pytest.approx(10_007.557, abs=0.01)
    assert distance_km(90, 0, -90, 77) == pytest.approx(20_015.115, abs=0.01)
    assert distance_km(0, 179.5, 0, -179.5) == pytest.approx(111.195, abs=0.001)
