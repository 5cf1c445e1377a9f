"""Which landmarks range a device, and which of them are suspended."""

from dataclasses import replace
from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ledger.appraisal.landmark_check import Suspension, self_check
from ledger.location.assign import PLAN, assign, nearest, spread
from ledger.location.sightings import Landmark, LandmarkTable
from ledger.protocol.landmarks import Landmark as Entry
from tests.location.ground import ATLAS, POOL, geodesic_km

POOLED = [Landmark(f"m{number}", lat, lon, f"o{number}") for number, (lat, lon) in enumerate(POOL)]
ROWS = {(one.latitude, one.longitude): ATLAS.row(one.latitude, one.longitude) for one in POOLED[:1]}
NOTHING = next(iter(ROWS.values()))
TABLE = LandmarkTable(ATLAS, POOLED, lambda lat, lon: NOTHING)  # rows play no part here
EVERY = list(range(len(POOL)))
MOON_MS = 100.0


def away(index: int, lat: float, lon: float) -> float:
    return geodesic_km(POOL[index][0], POOL[index][1], lat, lon)


def test_first_round_takes_the_nearest_to_the_claim_nearest_first() -> None:
    chosen = assign(TABLE, EVERY, (48.0, 8.0), 0, {})
    assert len(chosen) == PLAN.first == 12
    order = sorted(EVERY, key=lambda index: away(index, 48.0, 8.0))
    assert set(chosen) == set(order[:12])
    assert chosen[0] == order[0]


def test_only_healthy_landmarks_are_assigned() -> None:
    healthy = EVERY[::3]
    measured: dict[int, float] = {}
    for turn in range(2 + PLAN.rounds):
        for index in assign(TABLE, healthy, (48.0, 8.0), turn, measured):
            assert index in healthy
            assert index not in measured
            measured[index] = MOON_MS
    assert len(measured) == min(PLAN.most, len(healthy))


def test_second_phase_is_spread_then_thrice_closer_and_24_in_all() -> None:
    true = (35.7, 139.7)
    measured: dict[int, float] = {}
    sizes = []
    for turn in range(2 + PLAN.rounds):
        chosen = assign(TABLE, EVERY, (48.0, 8.0), turn, measured)
        sizes.append(len(chosen))
        measured.update({index: away(index, *true) / 99.0 + 1.0 for index in chosen})
    assert sizes == [12, 6, 2, 2, 2]
    assert len(measured) == PLAN.most == 24
    assert assign(TABLE, EVERY, (48.0, 8.0), 5, measured) == []
    # What is found closest is among the closest there are.
    best = min(measured, key=measured.__getitem__)
    assert best in sorted(EVERY, key=lambda index: away(index, *true))[:6]


def test_plan_with_other_numbers_is_followed() -> None:
    plan = replace(PLAN, first=3, spread=1, closer=1, rounds=1, most=4)
    assert len(assign(TABLE, EVERY, (0.0, 0.0), 0, {}, plan)) == 3
    assert len(assign(TABLE, EVERY, (0.0, 0.0), 1, dict.fromkeys((0, 1, 2), 1.0), plan)) == 1
    assert assign(TABLE, EVERY, (0.0, 0.0), 2, dict.fromkeys((0, 1, 2, 3), 1.0), plan) == []


def test_landmark_that_did_not_answer_draws_nobody() -> None:
    measured = {0: float("inf"), 5: 3.0}
    assert assign(TABLE, EVERY, (0.0, 0.0), 2, measured) == nearest(
        TABLE, [index for index in EVERY if index not in measured], POOL[5], PLAN.closer
    )


@given(st.lists(st.sampled_from(EVERY), unique=True, max_size=10), st.integers(0, 5))
def test_spread_is_the_farthest_point_each_time(used: list[int], count: int) -> None:
    among = [index for index in EVERY if index not in used]
    chosen = spread(TABLE, among, used, count)
    assert len(chosen) == len(set(chosen)) == count
    before = list(used)
    for index in chosen:
        if before:
            closest = (TABLE.units[among] @ TABLE.units[before].T).max(axis=1)
            left = [k for k, one in enumerate(among) if one not in before]
            mine = (TABLE.units[index] @ TABLE.units[before].T).max()
            assert mine <= closest[left].min() + 1e-12
        before.append(index)


def trips(wrong: dict[int, tuple[float, float]]) -> dict[tuple[int, int], float]:
    """Round trips between every second landmark; some are not where they say."""
    real = {index: wrong.get(index, POOL[index]) for index in EVERY[::2]}
    return {
        (one, other): geodesic_km(*real[one], *real[other]) / 99.93 * 1.3 + 0.5
        for one in real
        for other in real
        if one != other
    }


def suspended(pairs: dict[tuple[int, int], float]) -> list[Suspension]:
    """What the landmarks' own check finds; a landmark's id in it is its index in the pool."""
    directory = [
        Entry(id=str(n), operator=str(n), latitude=float(lat), longitude=float(lon), addresses=[])
        for n, (lat, lon) in enumerate(POOL)
    ]
    measured = [(str(one), str(other), ceil(ms * 1_000)) for (one, other), ms in pairs.items()]
    return list(self_check(directory, measured).suspensions)


def test_sound_landmarks_are_not_suspended() -> None:
    assert suspended(trips({})) == []


def test_landmark_with_a_wrong_place_is_suspended_alone() -> None:
    (found,) = suspended(trips({10: (35.6, 139.6)}))
    assert found.landmark == "10"
    assert len(found.broken) >= 3
    assert max(pair.distance_km - pair.reach_km for pair in found.broken) > 100.0
    assert found.reason.startswith("too fast for its place with ")


def test_several_wrong_landmarks_do_not_drag_sound_ones_along() -> None:
    wrong = {10: (35.6, 139.6), 20: (40.7, -74.0), 30: (-37.0, 174.0)}
    assert {found.landmark for found in suspended(trips(wrong))} == {"10", "20", "30"}


def test_two_refutations_are_not_enough() -> None:
    pairs = trips({})
    for other in (2, 4):
        pairs[0, other] = pairs[other, 0] = 0.01
    assert suspended(pairs) == []
    pairs[0, 6] = 0.01
    assert [found.landmark for found in suspended(pairs)] == ["0"]


def test_units_are_of_length_one() -> None:
    assert np.allclose(np.linalg.norm(TABLE.units, axis=1), 1.0)
