"""The table of least distances, against brute force over all vertices of the borders."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.geo.borders import Borders
from ledger.geo.sphere import Floats
from ledger.location.cells import membership
from ledger.location.reach import EARTH_RADIUS_KM, LONGER
from ledger.location.sightings import Landmark, LandmarkTable
from tests.location.ground import ATLAS, geodesic_km

BORDERS = Borders.load()
MEMBER = membership(BORDERS)
STEP_DEGREES = 0.1
CODES = ("DE", "FJ", "RU", "SG", "AQ", "US", "HK", "UA", "LS", "KI", "VA")
VERTICES = {
    code: shapely.get_coordinates(
        shapely.segmentize(BORDERS.data.pieces[MEMBER[:, ATLAS.number[code]]], STEP_DEGREES)
    )
    for code in CODES
}


def haversine_km(lat: float, lon: float, positions: Floats) -> Floats:
    """Great-circle distances by another formula than the code under test has."""
    x, y = np.radians(positions[:, 0]), np.radians(positions[:, 1])
    phi = np.radians(lat)
    a = np.sin((y - phi) / 2.0) ** 2
    a += np.cos(phi) * np.cos(y) * np.sin((x - np.radians(lon)) / 2.0) ** 2
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(a, 1.0))))


@settings(max_examples=60)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_distance_is_never_above_the_nearest_vertex_and_not_far_below_it(
    lat: float, lon: float
) -> None:
    row, _ = ATLAS.row(lat, lon)
    at = np.array([[lon, lat]])
    for code, vertices in VERTICES.items():
        km, nearest = int(row[ATLAS.number[code]]), float(haversine_km(lat, lon, vertices).min())
        if ATLAS.covers(ATLAS.number[code], at).any():
            assert km == 0
            continue
        assert km <= max(0.0, nearest / LONGER - ATLAS.margin_km)
        step = STEP_DEGREES * 111.2 / 2.0
        assert km >= (nearest - step) / LONGER - ATLAS.margin_km - 1.05


@given(st.floats(-80, 80), st.floats(-180, 180))
def test_no_vertex_of_a_country_is_nearer_on_the_ellipsoid(lat: float, lon: float) -> None:
    row, _ = ATLAS.row(lat, lon)
    for code in ("DE", "FJ", "SG", "UA"):
        nearest = VERTICES[code][int(np.argmin(haversine_km(lat, lon, VERTICES[code])))]
        real = geodesic_km(lat, lon, float(nearest[1]), float(nearest[0]))
        assert row[ATLAS.number[code]] <= real + 1e-6


@pytest.mark.parametrize(
    ("lat", "lon", "zero"),
    [
        (52.52, 13.40, {"DE"}),
        (1.29, 103.85, {"SG"}),
        (44.95, 34.10, {"RU", "UA"}),  # Simferopol: disputed
        (47.56, 7.60, {"CH", "DE", "FR"}),  # Basel, within the margin of three countries
        (-90.0, 0.0, {"AQ"}),
        (41.9029, 12.4534, {"IT", "VA"}),
    ],
)
def test_distance_is_0_inside_a_country_and_within_its_margin(
    lat: float, lon: float, zero: set[str]
) -> None:
    row, _ = ATLAS.row(lat, lon)
    assert {ATLAS.codes[number] for number in np.flatnonzero(row == 0)} == zero


def test_a_disputed_place_is_near_for_all_of_its_countries() -> None:
    row, _ = ATLAS.row(45.35, 34.5)  # in Crimea, some 100 km from the nearest undisputed land
    assert row[ATLAS.number["RU"]] == row[ATLAS.number["UA"]] == 0


def test_overseas_territories_are_countries_of_their_own() -> None:
    row, _ = ATLAS.row(48.86, 2.35)
    assert row[ATLAS.number["FR"]] == 0
    for code in ("GF", "GP", "MQ", "RE", "YT", "NC", "PF", "PM"):
        assert row[ATLAS.number[code]] > 4_000


def test_row_is_whole_kilometres_and_below_a_kilobyte() -> None:
    row, _ = ATLAS.row(10.0, 10.0)
    assert row.dtype == np.uint16
    assert row.nbytes < 1_000
    assert row.shape == (len(ATLAS.codes),)


@settings(max_examples=30)
@given(st.floats(-90, 90), st.floats(-180, 180))
def test_nearest_places_are_as_far_as_the_row_says(lat: float, lon: float) -> None:
    row, near = ATLAS.row(lat, lon)
    assert np.allclose(np.linalg.norm(near, axis=1), 1.0, atol=1e-6)
    places = np.degrees(
        np.column_stack((np.arctan2(near[:, 1], near[:, 0]), np.arcsin(np.clip(near[:, 2], -1, 1))))
    )
    away = haversine_km(lat, lon, places.astype(np.float64))
    assert (row <= np.maximum(0.0, away / LONGER - ATLAS.margin_km) + 0.01).all()
    assert (row >= away / LONGER - ATLAS.margin_km - 1.02).all()


def test_two_names_of_one_place_have_the_same_row() -> None:
    for one, other in (((10.0, 180.0), (10.0, -180.0)), ((90.0, 0.0), (90.0, 77.0))):
        assert np.abs(ATLAS.row(*one)[0].astype(int) - ATLAS.row(*other)[0]).max() <= 1


def test_table_of_no_landmarks_is_empty() -> None:
    table = LandmarkTable(ATLAS, [])
    assert table.rows.shape == (0, len(ATLAS.codes))


def test_table_can_be_given_rows_that_are_known() -> None:
    asked = []

    def row(lat: float, lon: float) -> tuple[object, object]:
        asked.append((lat, lon))
        return ATLAS.row(lat, lon)

    LandmarkTable(ATLAS, [Landmark("a", 1.0, 2.0, "x")], row)  # type: ignore[arg-type]
    assert asked == [(1.0, 2.0)]
