"""Quotas: places of a licence by calendar year, and who may take one."""

import pytest

from ledger.registry.records import year_of
from tests.registry.bench import DAY_MS, Bench, born, founded
from tests.world import START_MS, Chip, signer

YEAR_MS = 365 * DAY_MS


@pytest.fixture
def bench() -> Bench:
    bench = founded()
    bench.take(bench.world.licence(id="L-2", quota_per_year=2))
    bench.take(bench.world.licence(id="L-3", holder="rival"))
    return bench


def used(bench: Bench, licence: str = "L-2") -> dict[int, int]:
    return bench.registry.licences[licence].used


def over(bench: Bench, chip: Chip) -> bool:
    return bench.record(chip).over_quota


def deliver(bench: Bench, chip: Chip, *, to: str = "holder", sender: str = "maker") -> None:
    """Ship under L-2 and receive."""
    world = bench.world
    bench.take(world.ship(chip, by=signer(sender), to=to, licence="L-2"))
    bench.take(world.receive(chip, by=signer(to), sender=sender))


def test_chips_beyond_the_number_have_no_place(bench: Bench):
    chips = [born(bench, number) for number in range(4)]
    for chip in chips:
        deliver(bench, chip)
    assert [over(bench, chip) for chip in chips] == [False, False, True, True]
    assert used(bench) == {2026: 2}


def test_a_licence_without_quota_counts_and_never_runs_out(bench: Bench):
    for number in range(3):
        chip = born(bench, number)
        bench.take(bench.world.ship(chip), bench.world.receive(chip))
        assert not over(bench, chip)
    assert used(bench, "L-1") == {2026: 3}


def test_one_statement_with_many_chips_counts_each(bench: Bench):
    chips = [born(bench, number) for number in range(3)]
    bench.take(bench.world.ship(*chips, licence="L-2"), bench.world.receive(*chips))
    assert [over(bench, chip) for chip in chips] == [False, False, True]


def test_installing_under_the_same_licence_counts_once(bench: Bench):
    chip = born(bench)
    deliver(bench, chip)
    bench.take(bench.world.install(chip, licence="L-2"))
    assert used(bench) == {2026: 1}


def test_installing_under_another_licence_takes_a_place_there(bench: Bench):
    chip = born(bench)
    bench.take(bench.world.ship(chip), bench.world.receive(chip))
    bench.take(bench.world.install(chip, licence="L-2"))
    assert (used(bench, "L-1"), used(bench)) == ({2026: 1}, {2026: 1})


def test_the_year_is_that_of_the_receipt_not_of_the_shipment(bench: Bench):
    chip, world = born(bench), bench.world
    world.now_ms = START_MS + YEAR_MS - 1
    bench.take(world.ship(chip, licence="L-2"))
    world.now_ms += 1
    bench.take(world.receive(chip))
    assert used(bench) == {2027: 1}


def test_a_new_year_has_new_places_for_chips_that_had_none(bench: Bench):
    chips = [born(bench, number) for number in range(3)]
    for chip in chips:
        deliver(bench, chip)
    bench.take(bench.world.install(chips[2], licence="L-2"))
    assert over(bench, chips[2])  # the same year: none has become free
    bench.world.now_ms += YEAR_MS
    bench.take(bench.world.install(chips[2], licence="L-2"))
    assert not over(bench, chips[2])
    assert used(bench) == {2026: 2, 2027: 1}


def test_a_chip_keeps_its_place_when_it_moves_and_through_a_carrier(bench: Bench):
    chip = born(bench)
    deliver(bench, chip)
    deliver(bench, chip, sender="holder")
    deliver(bench, chip, to="carrier", sender="holder")
    deliver(bench, chip, sender="carrier")
    bench.world.now_ms += YEAR_MS
    deliver(bench, chip, sender="holder")
    assert (used(bench), over(bench, chip)) == ({2026: 1}, False)


def test_delivery_by_a_carrier_takes_a_place_when_the_holder_receives(bench: Bench):
    chip = born(bench)
    deliver(bench, chip, to="carrier")
    assert used(bench) == {}
    deliver(bench, chip, sender="carrier")
    assert (used(bench), over(bench, chip)) == ({2026: 1}, False)


def test_nobody_else_uses_up_a_quota(bench: Bench):
    stolen = [born(bench, number) for number in range(5)]
    for chip in stolen:
        deliver(bench, chip, to="rival")
        bench.take(bench.world.install(chip, by=signer("rival"), licence="L-2"))
    assert used(bench) == {}
    mine = born(bench, 9)
    deliver(bench, mine)
    assert not over(bench, mine)


def test_a_chip_passed_on_by_another_takes_a_place_with_the_rightful_holder(bench: Bench):
    chips = [born(bench, number) for number in range(3)]
    for chip in chips:
        deliver(bench, chip, to="rival")
        deliver(bench, chip, sender="rival")
    assert used(bench) == {2026: 2}
    assert [over(bench, chip) for chip in chips] == [False, False, True]


@pytest.mark.parametrize(
    ("ms", "year"),
    [(0, 1970), (START_MS - 1, 2025), (START_MS, 2026), (253_402_300_799_999, 9999)],
)
def test_years_are_calendar_years_in_utc(ms: int, year: int):
    assert year_of(ms) == year
