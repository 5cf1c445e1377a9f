"""The memory of places gives what the borders give."""

from hypothesis import given, settings
from hypothesis import strategies as h

from ledger.appraisal.places import CELL_RADIUS_M, CELLS_PER_DEGREE, cached_places
from ledger.appraisal.rules import distance_km
from ledger.geo.borders import Borders
from ledger.protocol.heartbeat import MAX_ACCURACY_M

BORDERS = Borders.load()
PLACES = cached_places(BORDERS, size=512)
LATITUDES, LONGITUDES = h.floats(-90, 90), h.floats(-180, 180)
EUROPE = h.tuples(h.floats(46, 52), h.floats(3, 9))


@settings(max_examples=80, deadline=None)
@given(
    h.tuples(LATITUDES, LONGITUDES) | EUROPE,
    h.sampled_from([0.0, 12.0, 2_000.0, 2_000.1, 50_000.0]),
)
def test_remembered_and_asked_agree(place: tuple[float, float], accuracy_m: float):
    assert PLACES(*place, accuracy_m) == BORDERS.countries_at(*place, accuracy_m)


@given(LATITUDES, LONGITUDES)
def test_no_point_of_a_cell_is_farther_from_its_centre_than_the_radius(lat: float, lon: float):
    row, column = lat * CELLS_PER_DEGREE // 1, lon * CELLS_PER_DEGREE // 1
    centre = (row + 0.5) / CELLS_PER_DEGREE, (column + 0.5) / CELLS_PER_DEGREE
    if abs(centre[0]) <= 90:
        assert distance_km(lat, lon, *centre) * 1_000 < CELL_RADIUS_M


def test_the_ends_of_the_earth_have_an_answer():
    for place in ((90.0, 0.0), (-90.0, 180.0), (0.0, -180.0), (0.0, 180.0)):
        assert PLACES(*place, 5.0)


def test_an_accuracy_that_says_nothing_gives_every_country():
    assert PLACES(50.0, 8.0, MAX_ACCURACY_M) == frozenset(BORDERS.codes)
