"""The answer against brute force: great-circle distances to every vertex of the packaged file.

The distances use the haversine formula, on purpose another one than the code under test.
"""

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.geo.borders import Borders
from ledger.geo.codec import BorderData, unpack
from ledger.geo.loader import BORDERS_PATH, read
from ledger.geo.sphere import EARTH_RADIUS_M, destination

REGIONS = [
    ("Rhine", 47.6, 7.6, 2.0),
    ("Hong Kong", 22.5, 114.1, 0.6),
    ("Straits of Johor", 1.4, 103.8, 0.6),
    ("Bering Sea", 60.0, 179.9, 6.0),
    ("Fiji", -17.5, 179.9, 2.0),
    ("Aegean", 38.0, 26.5, 3.0),
    ("Lesotho", -29.5, 28.5, 2.0),
    ("Svalbard", 79.0, 15.0, 6.0),
    ("Antarctica", -80.0, 170.0, 9.0),
]


class BruteForce:
    """Every vertex of every piece, and every piece, with its set of countries."""

    def __init__(self, data: BorderData) -> None:
        dense = shapely.segmentize(data.pieces, 0.1)
        degrees, piece = shapely.get_coordinates(dense, return_index=True)
        self._lon, self._lat = np.radians(degrees[:, 0]), np.radians(degrees[:, 1])
        self._set = data.set_of_piece[piece]
        self._data, self._tree = data, shapely.STRtree(data.pieces)

    def distances(self, lat: float, lon: float) -> npt.NDArray[np.float64]:
        """Metres on the sphere to the nearest vertex of each set of countries; 0 inside."""
        north, east = self._lat - np.radians(lat), self._lon - np.radians(lon)
        level = np.cos(self._lat) * np.cos(np.radians(lat))
        squares = np.sin(north / 2) ** 2 + level * np.sin(east / 2) ** 2
        nearest = np.full(len(self._data.sets), np.inf)
        np.minimum.at(nearest, self._set, squares)
        inside = self._tree.query(shapely.Point(lon, lat), predicate="intersects")
        nearest[self._data.set_of_piece[inside]] = 0.0
        metres = 2 * EARTH_RADIUS_M * np.arcsin(np.sqrt(np.minimum(nearest, 1.0)))
        return np.asarray(metres, dtype=np.float64)

    def codes(self, sets: npt.NDArray[np.bool_]) -> set[str]:
        return {code for k in np.flatnonzero(sets) for code in self._data.sets[k]}


@pytest.fixture(scope="module")
def brute() -> BruteForce:
    return BruteForce(unpack(read(BORDERS_PATH)))


@settings(max_examples=60)
@given(
    region=st.sampled_from(REGIONS),
    north=st.floats(-1.0, 1.0),
    east=st.floats(-1.0, 1.0),
    accuracy=st.sampled_from([0.0, 50.0, 3_000.0, 20_000.0, 90_000.0]),
    bearing=st.floats(0.0, 360.0),
    part=st.floats(0.0, 1.0),
)
def test_no_country_that_brute_force_finds_is_missing(
    brute: BruteForce,
    region: tuple[str, float, float, float],
    north: float,
    east: float,
    accuracy: float,
    bearing: float,
    part: float,
) -> None:
    _, middle_lat, middle_lon, size = region
    lat = middle_lat + north * size
    lon = (middle_lon + east * size + 180.0) % 360.0 - 180.0
    answer = Borders.load().countries_at(lat, lon, accuracy)
    metres = brute.distances(lat, lon)
    # 1. Whatever the disc touches is in the answer.
    assert brute.codes(metres <= accuracy) <= answer
    # 2. So is the country of any point of the disc, or its nearest coast.
    end_lon, end_lat = destination(lat, lon, bearing, accuracy * part)[0]
    there = brute.distances(float(end_lat), float(end_lon))
    assert brute.codes(there <= there.min()) <= answer
    # 3. Nothing is in the answer that lies far beyond what these two rules can reach.
    reach = metres.min() * 1.013 + 2.03 * accuracy + Borders.load().margin_m
    assert answer <= brute.codes(metres <= reach * 1.01 + 6_000.0)
