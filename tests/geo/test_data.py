"""The packaged file itself: overlaps, the antimeridian, damage, and the format's round trip."""

import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigurationError
from ledger.geo.borders import Borders
from ledger.geo.codec import MAGIC, BorderData, deterministic_gzip, pack, unpack
from ledger.geo.loader import BORDERS_PATH, read

FACTS = {key: key for key in ("title", "source", "version", "date", "licence")}


@pytest.fixture(scope="module")
def data() -> BorderData:
    return unpack(read(BORDERS_PATH))


def tiny() -> BorderData:
    """Two neighbours, one with a hole and with a vertex off the grid."""
    shell = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0 / 3.0), (1.0, 1.0), (0.0, 1.0)]
    hole = [(0.25, 0.25), (0.5, 0.25), (0.5, 0.5)]
    wet = np.ones((720, 1440), dtype=np.bool_)
    wet[3, 5] = False
    pieces = np.array([shapely.Polygon(shell, [hole]), shapely.box(1.0, 0.0, 2.0, 1.0)])
    sets = (frozenset({"AA"}), frozenset({"BB", "CC"}))
    return BorderData(FACTS, 100.0, sets, np.array([0, 1], dtype=np.uint16), pieces, wet)


def test_pieces_are_valid(data: BorderData) -> None:
    assert shapely.is_valid(data.pieces).all()


def test_neighbours_do_not_overlap(data: BorderData) -> None:
    tree = shapely.STRtree(data.pieces)
    left, right = tree.query(data.pieces, predicate="intersects")
    pairs = left < right
    shared = shapely.intersection(data.pieces[left[pairs]], data.pieces[right[pairs]])
    areas = shapely.area(shared)
    # Square degrees. The Vatican is smaller than a step of the source's grid and lies on Italy;
    # three crossings of collapsed lines are smaller still; all others are rounding.
    assert areas.max() < 2.1e-5
    assert (areas > 3e-6).sum() <= 1
    assert (areas > 1e-9).sum() <= 6
    assert areas.sum() < 3e-5


def test_no_piece_of_russia_lies_between_168_west_and_19_east(data: BorderData) -> None:
    russia = [k for k, codes in enumerate(data.sets) if codes == {"RU"}]
    pieces = data.pieces[np.isin(data.set_of_piece, russia)]
    between = shapely.intersection(pieces, shapely.box(-168.0, -90.0, 19.0, 90.0))
    assert shapely.area(between).sum() == 0.0
    assert {west < 0 for west, *_ in shapely.bounds(pieces)} == {True, False}


def test_fiji_lies_on_both_sides_of_the_antimeridian_and_nowhere_else(data: BorderData) -> None:
    fiji = data.pieces[data.set_of_piece == data.sets.index(frozenset({"FJ"}))]
    west, _, east, _ = shapely.bounds(fiji).T
    # Ceva-i-Ra, the westernmost reef, lies at 174.6° east.
    assert ((west > 174.0) | (east < -178.0)).all()
    assert (west > 176.0).any()
    assert (east < -178.0).any()


def test_antarctica_reaches_the_pole_all_around(data: BorderData) -> None:
    antarctica = data.pieces[data.set_of_piece == data.sets.index(frozenset({"AQ"}))]
    # The southernmost coast of all, of the Ross Sea, is at 85.2° south.
    cap = shapely.box(-180.0, -90.0, 180.0, -85.5)
    assert shapely.area(shapely.intersection(antarctica, cap)).sum() == pytest.approx(360.0 * 4.5)


def test_area_of_the_land_is_what_it_should_be(data: BorderData) -> None:
    # Land with Antarctica: 149 million km², lakes within countries included.
    bounds = shapely.bounds(data.pieces)
    middle = np.radians((bounds[:, 1] + bounds[:, 3]) / 2.0)
    square_km = (shapely.area(data.pieces) * np.cos(middle)).sum() * 111.195**2
    assert square_km == pytest.approx(147e6, rel=0.03)


def test_format_keeps_every_value() -> None:
    before = tiny()
    after = unpack(pack(before))
    assert (after.facts, after.sets, after.margin_m) == (before.facts, before.sets, 100.0)
    assert (after.wet == before.wet).all()
    assert (after.set_of_piece == before.set_of_piece).all()
    assert all(shapely.equals_exact(after.pieces, before.pieces))


def test_equal_data_gives_equal_bytes(data: BorderData) -> None:
    assert pack(tiny()) == pack(tiny())
    assert pack(tiny())[4:8] == bytes(4)  # no time in the gzip header
    again = unpack(pack(data))
    assert all(shapely.equals_exact(again.pieces, data.pieces))


def test_other_file_of_the_format_replaces_the_packaged_one(tmp_path: Path) -> None:
    path = tmp_path / "tiny.bin.gz"
    path.write_bytes(pack(tiny()))
    borders = Borders.load(path)
    assert borders.codes == ("AA", "BB", "CC")
    assert borders.countries_at(0.1, 0.1) == {"AA"}
    assert borders.countries_at(0.5, 1.5) == {"BB", "CC"}
    assert borders.countries_at(0.7, 1.0) == {"AA", "BB", "CC"}
    assert borders.version.source == "source"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"not gzip", id="not gzip"),
        pytest.param(gzip.compress(b"foreign"), id="foreign"),
        pytest.param(gzip.compress(MAGIC), id="magic only"),
        pytest.param(gzip.compress(MAGIC + b"\xff\xff\xff\xff{}"), id="length too large"),
        pytest.param(gzip.compress(MAGIC + b"\x02\x00\x00\x00{}"), id="no facts"),
        pytest.param(gzip.compress(MAGIC + b"\x02\x00\x00\x00[]"), id="facts are a list"),
        pytest.param(pack(tiny())[:-9], id="cut short"),
        pytest.param(deterministic_gzip(gzip.decompress(pack(tiny())) + b"\x00"), id="a byte more"),
        pytest.param(deterministic_gzip(gzip.decompress(pack(tiny()))[:-1]), id="a byte less"),
    ],
)
def test_foreign_or_damaged_file_is_a_configuration_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "damaged.bin.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"docs/borders\.md"):
        Borders.load(path)


def test_margin_smaller_than_the_index_needs_is_a_configuration_error() -> None:
    wrong = tiny()
    data = BorderData(wrong.facts, 10.0, wrong.sets, wrong.set_of_piece, wrong.pieces, wrong.wet)
    with pytest.raises(ConfigurationError, match="margin"):
        unpack(pack(data))


@given(st.integers(0, 700), st.integers(1, 255))
def test_changed_byte_gives_data_or_a_configuration_error(place: int, change: int) -> None:
    content = bytearray(gzip.decompress(pack(tiny())))
    content[place % len(content)] ^= change
    with contextlib.suppress(ConfigurationError):
        unpack(gzip.compress(bytes(content), 1))
