"""The method on real round trips, where they lie beside the project."""

import pytest

from benchmarks import pings
from benchmarks.location import World, delays, nearest_rates
from tests.location.ground import ATLAS

WHY = pings.missing()
pytestmark = pytest.mark.skipif(WHY is not None, reason=str(WHY))


@pytest.fixture(scope="module")
def data() -> pings.Pings:
    return pings.read(ATLAS)


@pytest.fixture
def world(data: pings.Pings) -> World:
    return World(ATLAS, data)


def test_rates_are_reached_and_no_proof_is_wrong(world: World) -> None:
    missed = [figure.line() for figure in nearest_rates(world) if not figure.met]
    assert missed == []
    assert [line for line in world.wrong if "[own coordinates break physics]" not in line] == []


def test_cities_that_break_physics_are_found(world: World) -> None:
    assert {"Cromwell", "Halifax", "St Louis", "Toledo"} <= world.broken
    assert len(world.broken) < 15


def test_a_wrong_proof_would_be_seen(world: World) -> None:
    world.data.countries[world.data.table.number["Auckland"]] = "CN"
    try:
        assert not all(figure.met for figure in nearest_rates(world))
        assert any(line.startswith("Auckland (CN): ") for line in world.wrong)
    finally:
        world.data.countries[world.data.table.number["Auckland"]] = "NZ"


@pytest.mark.parametrize("trials", [300, pytest.param(100_000, marks=pytest.mark.slow)])
def test_adding_delay_never_makes_a_proof(world: World, trials: int) -> None:
    (figure,) = delays(world, trials)
    assert figure.value == 0
    assert figure.details["trials"] == trials
