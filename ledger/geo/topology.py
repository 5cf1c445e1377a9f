"""Decoding of quantised TopoJSON into polygons on the plate carrée, cut at the antimeridian.

Format: TopoJSON 1.0, sections 2.1.4 (arcs, delta-encoded) and 2.2 (geometry objects). Positions
are rounded to thousandths of a degree, so that equal grid points stay equal in every ring.
Nothing is rounded after that: a shared border keeps the very same vertices on both sides.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import shapely
from shapely import Polygon

Grid = npt.NDArray[np.int64]
Degrees = npt.NDArray[np.float64]

FULL_TURN = 360_000
HALF_TURN = 180_000
LEAST_HALF_WIDTH = 0.002
"""Half a step of the source's grid (0.0036° by 0.0017°): what a collapsed islet is grown by."""


class Feature(NamedTuple):
    """One named feature: its ISO numeric id, if any, and its valid polygons."""

    name: str
    number: str | None
    polygons: list[Polygon]


def decode_arcs(topology: dict[str, Any]) -> list[Grid]:
    """Every arc as (n, 2) integers: thousandths of a degree, longitude first."""
    scale = np.array(topology["transform"]["scale"])
    origin = np.array(topology["transform"]["translate"])
    steps = (np.cumsum(np.array(arc, dtype=np.int64), axis=0) for arc in topology["arcs"])
    return [np.rint((step * scale + origin) * 1000.0).astype(np.int64) for step in steps]


def join_ring(indices: Sequence[int], arcs: Sequence[Grid]) -> Grid:
    """The closed ring of the given arcs; ``~i`` stands for arc i backwards."""
    chain = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
    return np.concatenate([chain[0], *(part[1:] for part in chain[1:])])


def unwrap(ring: Grid) -> Grid:
    """The ring without jumps: longitudes continue past ±180° instead of starting over."""
    step = np.diff(ring[:, 0])
    turns = (step < -HALF_TURN).astype(np.int64) - (step > HALF_TURN).astype(np.int64)
    out = ring.copy()
    out[1:, 0] += FULL_TURN * np.cumsum(turns)
    return out


def close_over_pole(ring: Grid) -> Grid:
    """Close an unwrapped ring that runs once around the Earth along its nearer pole."""
    start, end = ring[0], ring[-1]
    if start[0] == end[0]:
        return ring
    pole = 90_000 if int(ring[:, 1].sum()) > 0 else -90_000
    return np.concatenate([ring, [[end[0], pole], [start[0], pole], start]])


def polygons_of(rings: Sequence[Grid]) -> list[Polygon]:
    """Valid polygons within ±180° of one TopoJSON polygon (shell first, then holes)."""
    shell, *holes = (close_over_pole(unwrap(ring)) / 1000.0 for ring in rings)
    if len(np.unique(shell, axis=0)) < 3:
        return [_grown(shell)]
    whole = Polygon(shell)
    placed = [_beside(hole, whole) for hole in holes if len(np.unique(hole, axis=0)) >= 3]
    valid = shapely.make_valid(Polygon(shell, placed), method="structure", keep_collapsed=False)
    return parts(_within_180(valid)) or [_grown(shell)]


def parts(geometry: shapely.Geometry) -> list[Polygon]:
    """The polygons of a geometry, without lines, points and empty parts."""
    leaves = shapely.get_parts(shapely.get_parts(geometry))
    return [leaf for leaf in leaves if isinstance(leaf, Polygon) and leaf.area > 0.0]


def features_of(topology: dict[str, Any], arcs: Sequence[Grid], layer: str) -> Iterable[Feature]:
    """Every feature of one layer of the topology, decoded with the given arcs."""
    for shape in topology["objects"][layer]["geometries"]:
        wholes = shape["arcs"] if shape["type"] == "MultiPolygon" else [shape["arcs"]]
        polygons = [
            polygon
            for whole in wholes
            for polygon in polygons_of([join_ring(ring, arcs) for ring in whole])
        ]
        yield Feature(shape["properties"]["name"], shape.get("id"), polygons)


def _grown(shell: Degrees) -> Polygon:
    """An islet that collapsed on the source's grid: its bounding box, grown by half a step."""
    low, high = shell.min(axis=0) - LEAST_HALF_WIDTH, shell.max(axis=0) + LEAST_HALF_WIDTH
    grown: Polygon = shapely.box(low[0], low[1], high[0], high[1])
    return grown


def _beside(hole: Degrees, shell: Polygon) -> Degrees:
    """The hole, moved by whole turns to where its shell was unwrapped."""
    west, _, east, _ = shell.bounds
    middle = (hole[:, 0].min() + hole[:, 0].max()) / 2.0
    turn = -360.0 if middle > east else 360.0 if middle < west else 0.0
    return _moved(hole, turn)


def _moved(positions: Degrees, turn: float) -> Degrees:
    moved = positions.copy()
    moved[:, 0] += turn
    return moved


def _within_180(geometry: shapely.Geometry) -> shapely.Geometry:
    """Cut at ±180° and shift what lies beyond by a whole turn."""
    west, _, east, _ = shapely.bounds(geometry)
    if west >= -180.0 and east <= 180.0:
        return geometry
    pieces: list[Polygon] = []
    for turn in (-360.0, 0.0, 360.0):
        window = shapely.box(-180.0 - turn, -90.0, 180.0 - turn, 90.0)
        for part in parts(shapely.intersection(geometry, window)):
            shell, *holes = (shapely.get_coordinates(r) for r in (part.exterior, *part.interiors))
            pieces.append(Polygon(_moved(shell, turn), [_moved(hole, turn) for hole in holes]))
    return shapely.MultiPolygon(pieces)
