"""Decoding, unwrapping and the table of territories, on small made-up topologies."""

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely import Polygon

from ledger.errors import ConfigurationError
from ledger.geo.build import build, build_display
from ledger.geo.codec import unpack
from ledger.geo.pieces import MOST_DEGREES, MOST_VERTICES, subdivide, wet_cells
from ledger.geo.territories import TABLE, assign, load_table
from ledger.geo.topology import (
    Feature,
    close_over_pole,
    decode_arcs,
    features_of,
    join_ring,
    parts,
    polygons_of,
    unwrap,
)


def topology(**features: tuple[str, list[list[int]]]) -> dict[str, Any]:
    """Two unit squares side by side, on a grid of a third of a degree: arc 0 is their border."""
    shapes = [
        {"type": "Polygon", "id": number, "arcs": rings, "properties": {"name": name}}
        for name, (number, rings) in features.items()
    ]
    return {
        "transform": {"scale": [1 / 3, 1 / 3], "translate": [10.0, 50.0]},
        "arcs": [
            [[3, 0], [0, 1], [0, 2]],
            [[3, 3], [-3, 0], [0, -3], [3, 0]],
            [[3, 0], [3, 0], [0, 3], [-3, 0]],
        ],
        "objects": {"countries": {"geometries": shapes}},
    }


TWO = topology(Left=("276", [[0, 1]]), Right=("250", [[2, ~0]]))


def grid(*degrees: tuple[float, float]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.rint(np.array(degrees) * 1000.0).astype(np.int64)


def test_arcs_are_summed_scaled_and_rounded_to_thousandths() -> None:
    first = decode_arcs(TWO)[0]
    assert first.tolist() == [[11000, 50000], [11000, 50333], [11000, 51000]]


def test_reversed_arc_shares_its_vertices_with_the_neighbour() -> None:
    arcs = decode_arcs(TWO)
    left, right = join_ring([0, 1], arcs), join_ring([2, ~0], arcs)
    assert left[0].tolist() == left[-1].tolist()
    assert [11000, 50333] in left.tolist()
    assert [11000, 50333] in right.tolist()
    squares = [polygon for f in features_of(TWO, arcs, "countries") for polygon in f.polygons]
    assert squares[0].area == pytest.approx(1.0)
    assert squares[0].intersection(squares[1]).area == 0.0
    assert squares[0].touches(squares[1])


def test_ring_over_the_antimeridian_is_unwrapped_cut_and_shifted_back() -> None:
    ring = grid((179.0, 0.0), (-179.0, 0.0), (-179.0, 2.0), (179.0, 2.0), (179.0, 0.0))
    assert unwrap(ring)[:, 0].tolist() == [179000, 181000, 181000, 179000, 179000]
    found = sorted(polygons_of([ring]), key=lambda polygon: polygon.bounds)
    assert [polygon.bounds for polygon in found] == [
        (-180.0, 0.0, -179.0, 2.0),
        (179.0, 0.0, 180.0, 2.0),
    ]


def test_ring_that_starts_west_of_the_antimeridian_is_treated_alike() -> None:
    ring = grid((-179.0, 0.0), (-179.0, 2.0), (179.0, 2.0), (179.0, 0.0), (-179.0, 0.0))
    assert sum(polygon.area for polygon in polygons_of([ring])) == pytest.approx(4.0)


def test_point_on_the_antimeridian_with_either_sign_is_one_place() -> None:
    ring = grid((179.0, 0.0), (-180.0, 0.0), (180.0, 1.0), (179.0, 1.0), (179.0, 0.0))
    (found,) = polygons_of([ring])
    assert found.bounds == (179.0, 0.0, 180.0, 1.0)


@pytest.mark.parametrize(("shell_first", "hole_west"), [(178.0, -179.5), (-178.0, 179.0)])
def test_hole_follows_its_shell_over_the_antimeridian(shell_first: float, hole_west: float) -> None:
    other = -shell_first
    shell = grid((shell_first, 0), (other, 0), (other, 4), (shell_first, 4), (shell_first, 0))
    east = hole_west + 0.5
    hole = grid((hole_west, 1), (hole_west, 2), (east, 2), (east, 1), (hole_west, 1))
    found = polygons_of([shell, hole])
    assert sum(polygon.area for polygon in found) == pytest.approx(16.0 - 0.5)
    assert not any(polygon.contains(shapely.Point(hole_west + 0.25, 1.5)) for polygon in found)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("direction", [1, -1])
def test_ring_around_the_earth_is_closed_over_the_nearer_pole(sign: int, direction: int) -> None:
    lons = [-170.0, -60.0, 60.0, 170.0, -170.0][::direction]
    ring = grid(*((lon, sign * 70.0) for lon in lons))
    closed = close_over_pole(unwrap(ring))
    assert closed[0].tolist() == closed[-1].tolist()
    found = polygons_of([ring])
    assert sum(polygon.area for polygon in found) == pytest.approx(360.0 * 20.0)
    assert all(p.bounds[0] >= -180.0 and p.bounds[2] <= 180.0 for p in found)


def test_collapsed_islet_is_grown_and_not_lost() -> None:
    (found,) = polygons_of([grid((5.0, 5.0), (5.0, 5.001), (5.0, 5.0))])
    assert found.contains(shapely.Point(5.0, 5.0005))


def test_self_crossing_ring_becomes_valid() -> None:
    found = polygons_of([grid((0, 0), (2, 2), (2, 0), (0, 2), (0, 0))])
    assert found
    assert all(polygon.is_valid for polygon in found)


def test_parts_drop_lines_and_points() -> None:
    mixed = shapely.GeometryCollection(
        [shapely.Point(0, 0), shapely.LineString([(0, 0), (1, 1)]), shapely.box(0, 0, 1, 1)]
    )
    assert parts(mixed) == [shapely.box(0, 0, 1, 1)]
    assert parts(Polygon()) == []


def test_feature_takes_its_code_from_name_table_or_number() -> None:
    square = shapely.box(150.0, -40.0, 151.0, -39.0)
    features = [Feature("Kosovo", None, [square]), Feature("Austria", "040", [square])]
    table = load_table()
    found = [codes for codes, _ in assign(features, table)][:2]
    assert found == [{"XK"}, {"AT"}]


def test_unknown_feature_stops_the_build_with_a_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"territories\.toml"):
        assign([Feature("Atlantis", None, [])], load_table())


def test_area_is_cut_out_of_its_feature_and_the_rest_stays() -> None:
    crimea = shapely.box(33.0, 44.5, 35.0, 45.5)
    kuban = shapely.box(38.0, 44.5, 39.0, 45.5)
    ukraine = shapely.box(36.0, 47.0, 40.0, 49.0)
    features = [Feature("Russia", "643", [crimea, kuban]), Feature("Ukraine", "804", [ukraine])]
    found = assign(features, load_table())
    of = {codes: [p for own, p in found if own == codes] for codes, _ in found}
    both = frozenset({"RU", "UA"})
    assert crimea in of[both]
    assert of[frozenset({"RU"})] == [kuban]
    cut = sum(p.area for p in of[both]) - crimea.area + sum(p.area for p in of[frozenset({"UA"})])
    assert cut == pytest.approx(ukraine.area)


def test_every_entry_of_the_table_has_a_note_and_known_codes() -> None:
    table = load_table()
    assert len(table.features) >= 17
    assert {"Crimea and Sevastopol", "French Guiana"} <= {area.name for area in table.areas}


@pytest.mark.parametrize(
    "fault",
    [
        'codes = ["QQ"]\nnote = "n"',
        'codes = []\nnote = "n"',
        'codes = ["FR"]\nnote = ""',
        'codes = ["FR"]',
    ],
)
def test_faulty_entry_of_the_table_is_a_configuration_error(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(f'area = []\nislet = []\n[[feature]]\nname = "X"\n{fault}\n')
    with pytest.raises(ConfigurationError, match="correct the entry"):
        load_table(path)


def test_subdivision_keeps_the_area_and_makes_small_pieces() -> None:
    circle = shapely.Point(0.0, 0.0).buffer(20.0, quad_segs=200)
    pieces = subdivide([(frozenset({"AA"}), circle)])
    assert sum(piece.area for _, piece in pieces) == pytest.approx(circle.area)
    for _, piece in pieces:
        west, south, east, north = piece.bounds
        assert max(east - west, north - south) <= MOST_DEGREES
        assert shapely.get_num_coordinates(piece) <= MOST_VERTICES


def test_cell_is_dry_only_if_land_reaches_beyond_it() -> None:
    wet = wet_cells([shapely.box(9.99, 9.99, 10.26, 10.26), shapely.box(20.0, 20.0, 20.25, 20.25)])
    row, column = round((10.0 + 90.0) * 4), round((10.0 + 180.0) * 4)
    assert not wet[row, column]
    assert (~wet).sum() == 1


def test_build_is_deterministic_and_shares_the_border() -> None:
    first = build(TWO)
    assert first == build(TWO)
    data = unpack(first)
    assert {frozenset({"DE"}), frozenset({"FR"})} <= set(data.sets)
    assert build_display(TWO) == build_display(TWO)


def test_every_entry_of_the_table_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "borders.md").read_text("utf-8")
    for entries in tomllib.loads(TABLE.read_text("utf-8")).values():
        for entry in entries:
            codes = ", ".join(sorted(entry["codes"]))
            assert f"| {entry['name']} | {codes} | {entry['note']} |" in page
