"""Cutting territories into small pieces, and marking the cells of the globe that touch water."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

from ledger.geo.territories import Territory
from ledger.geo.topology import parts

MOST_VERTICES = 160
"""A distance to a piece costs about 15 µs at this size; larger pieces make fewer, dearer ones."""
MOST_DEGREES = 8.0
CELL_DEGREES = 0.25
CELL_RIM = 0.01
"""Cells count as dry only if land reaches this far (about 1 km) beyond them: the sources' scale."""


def subdivide(territories: Sequence[Territory]) -> list[Territory]:
    """Cut every polygon until no piece is large or long-winded. The pieces tile the polygon."""
    done: list[Territory] = []
    waiting = list(reversed(territories))
    while waiting:
        codes, polygon = waiting.pop()
        if _is_small(polygon):
            done.append((codes, polygon))
            continue
        for window in _halves(polygon):
            inside = parts(shapely.intersection(polygon, window))
            waiting += [(codes, part) for part in reversed(inside)]
    return done


def wet_cells(polygons: Sequence[Polygon]) -> npt.NDArray[np.bool_]:
    """Cells of 0.25°, (720, 1440) from 90°S 180°W: True where a cell is not wholly on land."""
    pieces = np.array(polygons, dtype=object)
    tree = shapely.STRtree(pieces)
    rows, columns = round(180 / CELL_DEGREES), round(360 / CELL_DEGREES)
    wet = np.ones((rows, columns), dtype=np.bool_)
    block = 40
    for row in range(0, rows, block):
        for column in range(0, columns, block):
            corners = _cell_corners(row, column, block)
            tile = shapely.box(*corners.min(axis=(0, 1))[:2], *corners.max(axis=(0, 1))[2:])
            near = pieces[tree.query(tile)]
            if len(near):
                land = shapely.union_all(near)
                shapely.prepare(land)
                dry = shapely.covers(land, shapely.box(*np.moveaxis(corners, 2, 0)))
                wet[row : row + block, column : column + block] = ~dry
    return wet


def _cell_corners(row: int, column: int, block: int) -> npt.NDArray[np.float64]:
    """(block, block, 4): west, south, east, north of cells, rim included, within the globe."""
    south, west = np.meshgrid(
        (row + np.arange(block)) * CELL_DEGREES - 90.0,
        (column + np.arange(block)) * CELL_DEGREES - 180.0,
        indexing="ij",
    )
    rim, side = CELL_RIM, CELL_DEGREES + CELL_RIM
    corners = np.stack((west - rim, south - rim, west + side, south + side), axis=2)
    limit = np.array([180.0, 90.0, 180.0, 90.0])
    return np.asarray(np.clip(corners, -limit, limit), dtype=np.float64)


def _is_small(polygon: Polygon) -> bool:
    west, south, east, north = polygon.bounds
    if max(east - west, north - south) > MOST_DEGREES:
        return False
    return bool(shapely.get_num_coordinates(polygon) <= MOST_VERTICES)


def _halves(polygon: Polygon) -> tuple[Polygon, Polygon]:
    """Two boxes that share a line across the longer side, on a whole thousandth of a degree."""
    west, south, east, north = polygon.bounds
    if east - west >= north - south:
        middle = round((west + east) / 2.0, 3)
        return shapely.box(west, south, middle, north), shapely.box(middle, south, east, north)
    middle = round((south + north) / 2.0, 3)
    return shapely.box(west, south, east, middle), shapely.box(west, middle, east, north)
