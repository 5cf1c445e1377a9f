"""Which countries are left: never too few for any true place, and no more than brute force."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.geo.borders import Borders
from ledger.geo.sphere import unit_vectors
from ledger.location.cells import membership
from ledger.location.possible import possible_countries, table_countries
from ledger.location.reach import EARTH_RADIUS_KM, FIBRE_KM_PER_MS, LIGHT_KM_PER_MS
from tests.location.ground import ATLAS, POOL, Seen, geodesic_km, left, sightings

BORDERS = Borders.load()
MEMBER = membership(BORDERS)
REACH = FIBRE_KM_PER_MS / 2.0

# Places on the land of every country: one in each of up to 60 of its pieces.
ON_LAND = [
    (code, point.y, point.x)
    for number, code in enumerate(ATLAS.codes)
    for piece in BORDERS.data.pieces[MEMBER[:, number]][:60]
    for point in [piece.representative_point()]
]
marks = st.sampled_from(POOL)
trips = st.floats(0.01, 150.0)
# For each landmark of the pool, places on land that are near it.
CLOSE = [
    (mark, place)
    for mark in POOL
    for place in [
        place
        for place in ON_LAND
        if abs(place[1] - mark[0]) < 3.0 and geodesic_km(*place[1:], *mark) < 250.0
    ][:10]
]


def honest(lat: float, lon: float, mark: tuple[float, float], slack: float) -> Seen:
    """A sighting as fast as light in fibre along the geodesic, and ``slack`` ms slower."""
    return (*mark, geodesic_km(lat, lon, *mark) / REACH + slack + 1e-9)


@settings(max_examples=250)
@given(
    st.sampled_from(ON_LAND),
    st.lists(st.tuples(marks, st.sampled_from([0.0, 0.01, 1.0, 20.0])), min_size=1, max_size=12),
    st.lists(st.tuples(marks, st.floats(0.001, 300.0)), max_size=2),
)
def test_the_true_country_stays_possible_whatever_so_many_liars_say(
    true: tuple[str, float, float],
    good: list[tuple[tuple[float, float], float]],
    lies: list[tuple[tuple[float, float], float]],
) -> None:
    code, lat, lon = true
    seen: list[Seen] = [honest(lat, lon, mark, slack) for mark, slack in good]
    seen += [(*mark, trip) for mark, trip in lies]
    assert code in left(seen, max_faulty=len(lies)).countries
    table = table_countries(ATLAS, sightings(seen), len(lies))
    assert table.countries >= left(seen, max_faulty=len(lies)).countries


@settings(max_examples=250)
@given(st.sampled_from(CLOSE), st.lists(marks, max_size=4), st.sampled_from([0.0, 0.0, 0.05]))
def test_the_true_country_stays_possible_with_a_landmark_close_by(
    close: tuple[tuple[float, float], tuple[str, float, float]],
    others: list[tuple[float, float]],
    slack: float,
) -> None:
    mark, (code, lat, lon) = close
    seen = [honest(lat, lon, one, slack) for one in (mark, *others)]
    assert code in left(seen, max_faulty=0).countries


def dense(code: str) -> tuple[np.ndarray, np.ndarray]:
    """Many places of a country as unit vectors, with the distance that none of it is farther."""
    own = BORDERS.data.pieces[MEMBER[:, ATLAS.number[code]]]
    edges = shapely.get_coordinates(shapely.segmentize(own, 0.1))
    whole = shapely.union_all(own)
    west, south, east, north = whole.bounds
    lon, lat = np.meshgrid(np.arange(west, east, 0.1), np.arange(south, north, 0.1))
    grid = np.column_stack((lon.ravel(), lat.ravel()))
    inside = grid[shapely.contains_xy(whole, grid)]
    return unit_vectors(np.concatenate((edges, inside))), edges


DENSE = {code: dense(code)[0] for code in ("DE", "CH", "SG", "NL", "KR", "LS", "CU")}
SPACING_KM = 10.0


@settings(max_examples=120)
@given(
    st.lists(st.tuples(marks, st.floats(1, 120)).map(lambda row: (*row[0], row[1])), max_size=8),
    st.integers(0, 2),
)
def test_what_stays_possible_has_a_place_within_reach_and_a_little_more(
    seen: list[Seen], most: int
) -> None:
    found = left(seen, most)
    marks = unit_vectors(np.array([[row[1], row[0]] for row in seen]).reshape(-1, 2))
    radii = np.array([row[2] for row in seen]) * REACH
    for code, places in DENSE.items():
        angles = np.arccos(np.clip(marks @ places.T, -1.0, 1.0)) * EARTH_RADIUS_KM
        sure = ((angles > radii[:, None]).sum(axis=0) <= most).any()
        more = (radii * 1.006 + 1.006 * ATLAS.margin_km + SPACING_KM)[:, None]
        may = ((angles > more).sum(axis=0) <= most).any()
        assert code in found.countries or not sure, code
        assert code not in found.countries or may, code


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(marks, trips, st.sampled_from("abcd")).map(lambda row: (*row[0], *row[1:])),
        max_size=8,
    ),
    st.lists(st.floats(0, 100), min_size=8, max_size=8),
    st.integers(0, 2),
)
def test_delay_never_takes_a_country_away(seen: list[Seen], delays: list[float], most: int) -> None:
    later = [(*row[:2], row[2] + more, *row[3:]) for row, more in zip(seen, delays, strict=False)]
    assert left(seen, most).countries <= left(later, most).countries  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(marks, trips).map(lambda row: (*row[0], row[1])), max_size=8),
    st.integers(0, 2),
)
def test_a_faster_speed_and_more_liars_never_take_a_country_away(
    seen: list[Seen], most: int
) -> None:
    found = left(seen, most).countries
    assert found <= left(seen, most, LIGHT_KM_PER_MS).countries
    assert found <= left(seen, most + 1).countries


@given(
    st.lists(
        st.tuples(marks, trips, st.sampled_from("ab")).map(lambda row: (*row[0], *row[1:])),
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_landmarks_does_not_matter(seen: list[Seen], rng: object) -> None:
    mixed = list(seen)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    assert left(seen).countries == left(mixed).countries


BERLIN, HAMBURG, MUNICH = (52.52, 13.40), (53.55, 9.99), (48.14, 11.58)


def test_two_landmarks_close_by_leave_one_country_and_a_witness() -> None:
    found = left([(51.2, 10.0, 0.5), (51.2, 10.1, 0.5)])
    assert found.countries == {"DE"}
    assert found.witness is not None
    assert geodesic_km(51.2, 10.0, *found.witness) < 50.0


def test_one_landmark_excludes_nothing_while_one_may_be_wrong() -> None:
    assert left([(*BERLIN, 0.5)]).countries == set(ATLAS.codes)
    assert left([(*BERLIN, 0.5)], max_faulty=0).countries == {"DE"}


def test_landmarks_of_one_operator_count_once() -> None:
    assert left([(51.2, 10.0, 0.5, "x"), (51.2, 10.1, 0.5, "x")]).countries == set(ATLAS.codes)
    seen: list[Seen] = [(51.2, 10.0, 0.5, "x"), (51.2, 10.1, 0.5, "x"), (51.3, 10.1, 0.5, "y")]
    assert left(seen).countries == {"DE"}
    assert left(seen, max_faulty=2).countries == set(ATLAS.codes)


def test_discs_that_do_not_meet_are_a_contradiction_beyond_the_liars_allowed() -> None:
    seen: list[Seen] = [(*BERLIN, 1.0), (*BERLIN, 1.1), (35.68, 139.69, 1.0), (35.7, 139.7, 1.1)]
    found = left(seen)
    assert found.contradiction
    assert found.countries == frozenset()
    assert found.witness is None
    assert left(seen, max_faulty=2).countries == {"DE", "JP", "PL"}


def test_no_landmarks_leave_the_world() -> None:
    assert left([]).countries == set(ATLAS.codes)


@pytest.mark.parametrize(
    ("lat", "lon", "code"),
    [
        (68.97, 33.08, "RU"),
        (62.03, 129.73, "RU"),
        (66.05, -172.00, "RU"),
        (67.00, 180.00, "RU"),
        (54.71, 21.30, "RU"),
        (-17.80, 178.00, "FJ"),
        (-16.83, -179.97, "FJ"),
        (-89.90, 100.00, "AQ"),
        (-90.00, 0.00, "AQ"),
    ],
)
def test_place_at_a_trap_of_the_borders_is_where_it_is(lat: float, lon: float, code: str) -> None:
    found = left([(lat, lon, 0.15), (lat, lon, 0.2)])
    assert found.countries == {code}
    assert found.witness is not None


def test_hong_kong_is_told_from_its_neighbour_by_nothing_but_the_same_building() -> None:
    central = (22.28, 114.16)
    assert left([(*central, 0.2), (*central, 0.2)]).countries == {"HK"}
    assert left([(*central, 0.5), (*central, 0.5)]).countries >= {"CN", "HK"}


def test_sea_with_no_land_in_reach_is_a_contradiction() -> None:
    assert left([(-48.9, -123.4, 5.0), (-48.9, -123.4, 5.0)]).contradiction  # Point Nemo


def test_discs_that_meet_beyond_the_land_leave_no_country() -> None:
    """The table alone keeps France, which each disc reaches; no place of it is in both."""
    seen: list[Seen] = [(51.5, -9.0, 7.7), (41.1, -8.6, 7.6)]
    by_table = table_countries(ATLAS, sightings(seen), 0)
    found = possible_countries(ATLAS, sightings(seen), 0)
    assert found.countries < by_table.countries
