"""Cells and exact land: every country whole, and nobody stitched across the antimeridian."""

import gzip

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError
from ledger.geo.borders import Borders
from ledger.geo.sphere import unit_vectors
from ledger.location import grid
from ledger.location.cells import make_cells, membership, pack_cells, unpack_cells
from ledger.location.loader import read_cells
from tests.location.ground import ATLAS

PLACES = [
    ("Murmansk", 68.97, 33.08, "RU"),
    ("Yakutsk", 62.03, 129.73, "RU"),
    ("Norilsk", 69.35, 88.20, "RU"),
    ("Behind Anadyr", 64.90, 176.50, "RU"),
    ("Chukotka, on the antimeridian", 67.00, 180.00, "RU"),
    ("Chukotka, on the antimeridian from the other side", 67.00, -180.00, "RU"),
    ("Behind Uelen", 66.05, -170.60, "RU"),
    ("Wrangel Island", 71.20, -179.50, "RU"),
    ("Kaliningrad", 54.71, 20.45, "RU"),
    ("Viti Levu", -17.80, 178.00, "FJ"),
    ("Taveuni, east of 180°", -16.83, -179.97, "FJ"),
    ("Vanua Levu", -16.50, 179.30, "FJ"),
    ("South Pole", -90.00, 0.00, "AQ"),
    ("South Pole, another name", -90.00, 135.00, "AQ"),
    ("McMurdo", -77.85, 166.70, "AQ"),
    ("Ellesmere Island", 82.00, -70.00, "CA"),
    ("Attu", 52.90, 172.90, "US"),
    ("Honolulu", 21.31, -157.85, "US"),
    ("Chatham Islands", -44.00, -176.50, "NZ"),
]


def in_cells(country: int, latitude: float, longitude: float) -> bool:
    own = ATLAS.countries[country].cells
    west, south, east, north = grid.boxes(own.row, own.column, own.level).T
    meets = (south <= latitude) & (latitude <= north)
    turns = (-180.0, 180.0) if abs(longitude) == 180.0 else (longitude,)
    beside = np.any([(west <= x) & (x <= east) for x in turns], axis=0)
    return bool((meets & (beside | (abs(latitude) == 90.0))).any())


@pytest.mark.parametrize(("name", "latitude", "longitude", "code"), PLACES)
def test_place_lies_in_a_cell_and_on_the_land_of_its_country_alone(
    name: str, latitude: float, longitude: float, code: str
) -> None:
    country = ATLAS.number[code]
    assert in_cells(country, latitude, longitude), name
    at = np.array(
        [[x, latitude] for x in {longitude, -longitude if abs(longitude) == 180 else longitude}]
    )
    assert ATLAS.covers(country, at).any(), name
    others = [number for number in range(len(ATLAS.codes)) if number != country]
    assert not any(ATLAS.covers(other, at).any() for other in others), name


def test_no_russian_cell_lies_between_168_west_and_19_east() -> None:
    russia = ATLAS.countries[ATLAS.number["RU"]]
    lon = np.degrees(np.arctan2(russia.middles[:, 1], russia.middles[:, 0]))
    assert not ((lon > -168.0) & (lon < 19.0)).any()
    own = russia.cells
    west, _, east, _ = grid.boxes(own.row, own.column, own.level).T
    assert ((west >= 19.0 - 1.0) | (east <= -168.0 + 1.0)).all()
    assert (east - west < 10.0).all(), "a strip round the globe"


def test_no_russian_land_lies_between_168_west_and_19_east() -> None:
    borders = Borders.load()
    own = borders.data.pieces[membership(borders)[:, ATLAS.number["RU"]]]
    west, _, east, _ = shapely.bounds(own).T
    assert ((west > 19.0) | (east < -168.0)).all()


def test_no_fijian_cell_lies_between_the_eastern_and_the_western_islands() -> None:
    fiji = ATLAS.countries[ATLAS.number["FJ"]]
    lon = np.degrees(np.arctan2(fiji.middles[:, 1], fiji.middles[:, 0]))
    assert ((lon > 174.0) | (lon < -177.0)).all()


def test_all_land_lies_in_the_cells_of_its_countries() -> None:
    borders = Borders.load()
    member = membership(borders)
    for code in ("FJ", "SG", "LU", "HK", "NL", "VA", "KI", "AQ"):
        country = ATLAS.number[code]
        for piece in borders.data.pieces[member[:, country]]:
            point = piece.representative_point()
            spots = [*shapely.get_coordinates(piece)[::17], (point.x, point.y)]
            assert all(in_cells(country, y, x) for x, y in spots), code


def test_inner_middles_lie_on_the_land() -> None:
    for code in ("SG", "CH", "FJ", "RU", "AQ"):
        country = ATLAS.countries[ATLAS.number[code]]
        inner = country.middles[: country.inner : 7]
        lon = np.degrees(np.arctan2(inner[:, 1], inner[:, 0]))
        lat = np.degrees(np.arcsin(inner[:, 2]))
        assert ATLAS.covers(ATLAS.number[code], np.column_stack((lon, lat))).all(), code


@given(st.integers(0, 359), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_every_place_of_a_cell_is_within_its_ball(
    row: int, column: float, x: float, y: float
) -> None:
    rows = np.array([row])
    columns = np.array([int(column * (grid.columns(rows, 0)[0] - 1))])
    box = grid.boxes(rows, columns, 0)
    middle, radius = grid.balls(box)
    west, south, east, north = box[0]
    spot = unit_vectors(np.array([[west + x * (east - west), south + y * (north - south)]]))[0]
    assert 2.0 * np.arcsin(np.linalg.norm(spot - middle[0]) / 2.0) <= radius[0]


@given(st.floats(-180, 180), st.floats(-90, 90), st.integers(0, 5))
def test_covering_of_a_place_has_a_cell_around_it(x: float, y: float, level: int) -> None:
    rows, columns = grid.covering((x, y, x, y), level)
    west, south, east, north = grid.boxes(rows, columns, level).T
    assert ((west <= x) & (x <= east) & (south <= y) & (y <= north)).any()


def test_quarters_cover_the_box() -> None:
    box = np.array([[10.0, 50.0, 11.0, 51.0]])
    parts = grid.quarters(box)
    assert len(parts) == 4
    assert shapely.union_all(shapely.box(*parts.T)).equals(shapely.box(*box[0]))


@pytest.mark.slow
def test_packaged_file_is_what_the_borders_give() -> None:
    borders = Borders.load()
    assert pack_cells(make_cells(borders), borders.version.digest) == read_cells()


def test_file_made_from_other_borders_is_not_used() -> None:
    assert unpack_cells(read_cells(), "0" * 64, len(ATLAS.codes)) is None


@given(st.binary(max_size=300))
def test_garbage_is_a_configuration_error(content: bytes) -> None:
    for given_ in (content, gzip.compress(content)):
        with pytest.raises(ConfigurationError):
            unpack_cells(given_, "0" * 64, 250)


@given(st.integers(0, 10**9), st.integers(1, 255))
def test_changed_byte_is_refused_or_changes_no_more_than_cells(place: int, change: int) -> None:
    raw = bytearray(gzip.decompress(read_cells()))
    raw[place % len(raw)] ^= change
    try:
        cells = unpack_cells(gzip.compress(bytes(raw), 1), ATLAS.version.digest, len(ATLAS.codes))
    except ConfigurationError:
        return
    assert cells is None or len(cells) == len(ATLAS.codes)


def test_cut_file_is_refused() -> None:
    content = read_cells()
    for length in (0, 1, 20, len(content) // 2, len(content) - 1):
        with pytest.raises(ConfigurationError):
            unpack_cells(content[:length], ATLAS.version.digest, len(ATLAS.codes))
