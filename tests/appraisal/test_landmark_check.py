"""The landmarks' own check: who is wrong is found, and one liar cannot have another suspended."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as h

from device_sim.delays import DelayModel, distances_km, generator, misplace, whole_us
from ledger.appraisal.landmark_check import SelfCheck, self_check
from ledger.errors import Reason
from ledger.protocol.landmarks import Landmark
from tests.protocol.refusals import refused

CITIES = {
    "fra": (50.11, 8.68),
    "ams": (52.37, 4.90),
    "lon": (51.51, -0.13),
    "par": (48.86, 2.35),
    "mad": (40.42, -3.70),
    "sin": (1.35, 103.82),
    "nyc": (40.71, -74.01),
}


def entry(ident: str, place: tuple[float, float], operator: str = "", **changes: str) -> Landmark:
    latitude, longitude = map(float, place)
    return Landmark(
        id=ident,
        operator=operator or f"of-{ident}",
        latitude=latitude,
        longitude=longitude,
        addresses=[],
        **changes,
    )


def directory(**changes: tuple[float, float]) -> list[Landmark]:
    return [entry(ident, place) for ident, place in (CITIES | changes).items()]


def measured(factor: float = 1.5) -> Iterator[tuple[str, str, int]]:
    """Round trips between the true places, both ways, ``factor`` times that of light in fibre."""
    places = np.array(list(CITIES.values()))
    trips = distances_km(places, places) * 2 / 199.86 * factor * 1_000
    for i, first in enumerate(CITIES):
        for j, second in enumerate(CITIES):
            if i != j:
                yield first, second, int(trips[i, j]) + 1


def suspended(found: SelfCheck) -> list[str]:
    return [suspension.landmark for suspension in found.suspensions]


def test_landmarks_where_they_say_are_sound():
    found = self_check(directory(), measured())
    assert found.sound
    assert found.pairs == 21


def test_a_wrong_place_is_found_and_its_neighbours_stay():
    found = self_check(directory(ams=(-33.87, 151.21)), measured())
    assert suspended(found) == ["ams"]
    assert found.unresolved == ()
    (suspension,) = found.suspensions
    assert len(suspension.broken) >= 3
    assert suspension.reason.startswith("too fast for its place with ")
    assert len(suspension.reason) <= 200
    assert entry("x", (0, 0), suspended=suspension.reason).suspended == suspension.reason


def test_two_wrong_places_are_both_found():
    found = self_check(directory(ams=(-33.87, 151.21), mad=(35.68, 139.69)), measured(1.2))
    assert sorted(suspended(found)) == ["ams", "mad"]


@pytest.mark.parametrize("others", [1, 2])
def test_fewer_than_three_operators_suspend_nobody_and_are_told(others: int):
    """Landmarks that lie about their measurements of one."""
    lies = [("fra", other, 1) for other in ("ams", "lon")[:others]]
    found = self_check(directory(), [*measured(), *lies])
    assert not found.sound
    assert found.suspensions == ()
    assert len(found.unresolved) == others
    assert "fra" in found.unresolved[0].words()
    assert "0 km at most in 0.001 ms" in found.unresolved[0].words()


def test_three_landmarks_of_one_operator_suspend_nobody():
    rows = [
        entry(ident, place, "giant" if ident in ("ams", "lon", "par") else "")
        for ident, place in CITIES.items()
    ]
    lies = [("fra", other, 1) for other in ("ams", "lon", "par")]
    assert self_check(rows, [*measured(), *lies]).suspensions == ()


def test_the_least_of_both_directions_counts():
    found = self_check(directory(), [("fra", "ams", 900_000), ("ams", "fra", 1)])
    assert [pair.round_trip_us for pair in found.unresolved] == [1]


def test_who_is_suspended_already_takes_no_part():
    rows = [
        entry(ident, (0, 0), suspended="moved") if ident == "ams" else entry(ident, place)
        for ident, place in CITIES.items()
    ]
    found = self_check(rows, measured())
    assert found.sound
    assert found.pairs == 15


@pytest.mark.parametrize("wrong", [0, -1, 1_000_001, 1.5, True, float("nan")])
def test_a_round_trip_that_cannot_be_is_refused(wrong: int):
    with refused(Reason.FIELD_INVALID, "round_trip_us"):
        self_check(directory(), [("fra", "ams", wrong)])


def test_an_unknown_landmark_and_one_that_ranges_itself_are_refused():
    with refused(Reason.LANDMARK_UNKNOWN):
        self_check(directory(), [("fra", "moon", 1_000)])
    with refused(Reason.FIELD_INVALID, "landmark"):
        self_check(directory(), [("fra", "fra", 1_000)])


@given(h.floats(1.0, 50.0), h.permutations(list(CITIES)))
def test_honest_landmarks_are_sound_at_any_delay_and_in_any_order(factor: float, order: list[str]):
    rows = sorted(directory(), key=lambda row: order.index(row.id))
    assert self_check(rows, [row for row in measured(factor) if row[2] <= 1_000_000]).sound


@pytest.mark.parametrize("seed", range(4))
def test_misplaced_landmarks_of_the_simulator_are_suspended_and_no_others(seed: int):
    rng = generator(bytes([seed]))
    lat = np.degrees(np.arcsin(rng.uniform(-0.8, 0.9, 60)))
    true = np.column_stack((lat, rng.uniform(-180, 180, 60)))
    stated, wrong = misplace(true, 0.05, rng)
    distances = distances_km(true, true)
    model = DelayModel()
    trips = whole_us(model.least_ms(model.paths_ms(distances, rng), 4, rng))
    rows = [entry(f"l{n}", place) for n, place in enumerate(stated)]
    every = [
        (f"l{i}", f"l{j}", int(trips[i, j]))
        for i in range(60)
        for j in range(60)
        if i != j and trips[i, j] <= 1_000_000
    ]
    found = self_check(rows, every)
    assert found.suspensions
    assert set(suspended(found)) <= {f"l{n}" for n in wrong}
    for pair in found.unresolved:
        assert set(pair[:2]) & {f"l{n}" for n in wrong}
