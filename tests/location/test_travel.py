"""Two sightings of one chip: when no travel joins them, and when it might."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.location.travel import least_gap_km, needs_faster_km
from tests.location.ground import POOL, Seen, geodesic_km, left

FRANKFURT: list[Seen] = [(50.1, 8.7, 1.0), (50.2, 8.6, 1.5)]
TOKYO: list[Seen] = [(35.7, 139.7, 1.0), (35.6, 139.8, 1.5)]
marks = st.sampled_from(POOL)


def test_gap_is_at_least_the_way_between_the_larger_of_the_tight_discs() -> None:
    gap = least_gap_km(left(FRANKFURT), left(TOKYO))
    assert 8_900.0 < gap < geodesic_km(50.1, 8.7, 35.7, 139.7) - 2 * 100.0


def test_no_travel_joins_two_continents_in_an_hour_but_in_half_a_day() -> None:
    one, other = left(FRANKFURT), left(TOKYO)
    assert needs_faster_km(one, other, 3_600.0) > 7_000.0
    assert needs_faster_km(one, other, 12 * 3_600.0) == 0.0
    assert needs_faster_km(one, other, -5.0) == least_gap_km(one, other)


def test_discs_that_meet_and_sightings_by_too_few_have_no_gap() -> None:
    assert least_gap_km(left(FRANKFURT), left(FRANKFURT)) == 0.0
    assert least_gap_km(left(FRANKFURT[:1]), left(TOKYO)) == 0.0
    same: list[Seen] = [(*row[:3], "x") for row in TOKYO]  # type: ignore[misc]
    assert least_gap_km(left(FRANKFURT), left(same)) == 0.0


def test_one_liar_makes_no_gap() -> None:
    liar: list[Seen] = [(35.7, 139.7, 0.1), *FRANKFURT]
    assert least_gap_km(left(liar), left(FRANKFURT)) == 0.0


@given(
    st.tuples(st.floats(-80, 80), st.floats(-180, 180)),
    st.lists(st.tuples(marks, st.floats(0, 30)), min_size=2, max_size=5),
    st.lists(st.tuples(marks, st.floats(0, 30)), min_size=2, max_size=5),
    st.tuples(marks, st.floats(0.01, 5.0)),
)
@pytest.mark.parametrize("liars", [0, 1])
def test_a_chip_that_stays_where_it_is_never_makes_a_gap(
    liars: int,
    true: tuple[float, float],
    first: list[tuple[tuple[float, float], float]],
    second: list[tuple[tuple[float, float], float]],
    lie: tuple[tuple[float, float], float],
) -> None:
    found = []
    for rows in (first, second):
        seen: list[Seen] = [
            (*mark, geodesic_km(*true, *mark) / 99.93 + slack + 1e-6) for mark, slack in rows
        ]
        found.append(left([*seen, *[(*lie[0], lie[1])] * liars], liars))
    assert least_gap_km(*found) == 0.0
