"""Pieces on the sphere: which are within a distance of a point, and how far the nearest is.

Every edge of a piece is straight in longitude and latitude, as the source means it. Edges are cut
to at most 0.25° and then taken as straight lines in space; the two together are off by less than
25 m (sagitta 15 m, parallel against great circle 8 m), which the caller's margin has to cover.
"""

import numpy as np
import numpy.typing as npt
import shapely

from ledger.geo.sphere import Floats, chain_distance, unit_vectors, ways_to_edges

LONGEST_EDGE_DEGREES = 0.25
ROUNDING = 1e-7
"""Chord, about 0.6 m: what the quick distances of :class:`View` may be off by."""

Indices = npt.NDArray[np.int64]
Objects = npt.NDArray[np.object_]


class PieceIndex:
    """Pieces with the sets of countries they stand for. Immutable; safe to share."""

    def __init__(self, pieces: Objects, set_of_piece: npt.NDArray[np.uint16]) -> None:
        dense = shapely.segmentize(pieces, LONGEST_EDGE_DEGREES)
        _, coordinates, (ring_ends, piece_ends) = shapely.to_ragged_array(list(dense))
        self.set_of = set_of_piece.astype(np.int64)
        self._tree = shapely.STRtree(pieces)
        self._vertices = unit_vectors(coordinates[:, :2])
        self._ends: Indices = ring_ends[piece_ends].astype(np.int64)
        self._joined = np.ones(len(coordinates), dtype=np.bool_)
        self._joined[ring_ends[1:] - 1] = False
        self._anchors = self._vertices[self._ends[:-1]]
        self._centres, self._radii = self._balls()
        self._centre_squares = np.einsum("ij,ij->i", self._centres, self._centres)
        self._all = np.arange(len(pieces))

    def containing(self, lat: float, lon: float) -> set[int]:
        """Sets of the pieces that contain the point or touch it."""
        found = self._tree.query(shapely.Point(lon, lat), predicate="intersects")
        return set(self.set_of[found].tolist())

    def in_box(self, west: float, south: float, east: float, north: float) -> Indices:
        """Pieces whose bounding box meets a box in degrees: more than those that meet it."""
        found: Indices = self._tree.query(shapely.box(west, south, east, north))
        return found

    def view(self, point: Floats, pieces: Indices | None = None) -> "View":
        """Distances from a point (3,) of the unit sphere to all pieces, or to the given ones."""
        chosen = slice(None) if pieces is None else pieces
        squares = self._centre_squares[chosen] - 2.0 * (self._centres[chosen] @ point) + 1.0
        centre_distance = np.sqrt(np.maximum(squares, 0.0))
        return View(
            self,
            point,
            self._all if pieces is None else pieces,
            centre_distance - self._radii[chosen] - ROUNDING,
            np.sqrt(np.maximum(2.0 - 2.0 * (self._anchors[chosen] @ point), 0.0)) + ROUNDING,
        )

    def distance(self, piece: int, point: Floats) -> float:
        """Chord from a point to the nearest edge of a piece."""
        start, end = self._ends[piece], self._ends[piece + 1]
        return chain_distance(point, self._vertices[start:end], self._joined[start:end])

    def nearest_places(self, pieces: Indices, point: Floats) -> tuple[Floats, Floats]:
        """Of each of several pieces: chord (n,) to its nearest edge, and the place (n, 3) there."""
        start, count = self._ends[pieces], self._ends[pieces + 1] - self._ends[pieces]
        first = np.cumsum(count) - count
        at = np.repeat(start - first, count) + np.arange(count.sum())
        ways = ways_to_edges(point, self._vertices[at])
        squares = np.einsum("ij,ij->i", ways, ways)
        squares[~self._joined[at][:-1]] = np.inf
        least = np.minimum.reduceat(np.append(squares, np.inf), first)
        # The first edge of each piece that is as near as its nearest.
        hits = np.flatnonzero(squares == np.repeat(least, count)[:-1])
        chosen = hits[np.searchsorted(hits, first)]
        return np.sqrt(least), point + ways[chosen]

    def _balls(self) -> tuple[Floats, Floats]:
        """Centre and radius of a ball around the vertices of each piece, and so its edges."""
        starts = self._ends[:-1]
        low = np.minimum.reduceat(self._vertices, starts, axis=0)
        high = np.maximum.reduceat(self._vertices, starts, axis=0)
        centres = (low + high) / 2.0
        away = self._vertices - np.repeat(centres, np.diff(self._ends), axis=0)
        squares = np.einsum("ij,ij->i", away, away)
        return centres, np.sqrt(np.maximum.reduceat(squares, starts))


class View:
    """Some pieces seen from one point. All distances are chords of the unit sphere.

    ``low`` is at most the distance to a piece, ``high`` at least.
    """

    def __init__(
        self, index: PieceIndex, point: Floats, pieces: Indices, low: Floats, high: Floats
    ) -> None:
        self._index, self._point, self._pieces = index, point, pieces
        self._low, self._high = low, high

    def bounds(self) -> tuple[Floats, Floats]:
        """For each piece in view: at most its distance, and at least its distance."""
        return self._low, self._high

    def nearest(self) -> float:
        """The distance to the nearest edge of any piece in view; infinite if there is none."""
        best = float(self._high.min(initial=np.inf))
        near = np.flatnonzero(self._low <= best)
        for k in near[np.argsort(self._low[near])]:
            if self._low[k] > best:
                break
            best = min(best, self._index.distance(int(self._pieces[k]), self._point))
        return best

    def sets_within(self, reach: float, known: set[int]) -> set[int]:
        """``known`` and the sets that have an edge of a piece within ``reach``."""
        near = self._low <= reach
        sets = self._index.set_of[self._pieces]
        found = known | set(sets[near & (self._high <= reach)].tolist())
        rest = np.flatnonzero(near & ~np.isin(sets, list(found)))
        for k in rest[np.argsort(self._low[rest])]:
            number = int(sets[k])
            if number in found:
                continue
            if self._index.distance(int(self._pieces[k]), self._point) <= reach:
                found.add(number)
        return found

    def pieces_within(self, reach: float) -> Indices:
        """Pieces that may have an edge within ``reach``: never too few."""
        return self._pieces[self._low <= reach]
