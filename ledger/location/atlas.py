"""The world as seen from landmarks: least distances to every country, cells, and exact land.

An :class:`Atlas` is made once from the borders and is immutable; it is safe to share.
"""

import functools
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ledger.geo.borders import Borders
from ledger.geo.sphere import EARTH_RADIUS_M, Bools, Floats, unit_vectors
from ledger.location import grid
from ledger.location.cells import CountryCells, make_cells, membership, unpack_cells
from ledger.location.loader import read_cells
from ledger.location.reach import LONGER

SPREAD = 4
"""Places of a country that are looked at before its cells: far apart, so that one is often near."""

Row = npt.NDArray[np.uint16]
Near = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Country:
    """One country's cells; ``radius`` (an angle) is the largest from a cell's middle to its edge.

    The first ``inner`` of ``middles`` (n, 3) lie on the country's land.
    """

    code: str
    middles: Floats
    inner: int
    radius: float
    cells: CountryCells


class Atlas:
    """Least distances, cells and exact land of all countries, in the order of ``codes``."""

    def __init__(self, borders: Borders, cells: list[CountryCells]) -> None:
        self.codes = borders.codes
        self.number = {code: index for index, code in enumerate(self.codes)}
        self.margin_km = borders.margin_m / 1000.0
        self.version = borders.version
        self._borders = borders
        self._member = membership(borders)
        self._code, self._piece = (found.astype(np.int64) for found in np.nonzero(self._member.T))
        self._first = np.searchsorted(self._code, np.arange(len(self.codes)))
        self._tree = shapely.STRtree(borders.data.pieces)
        self.countries = tuple(
            _country(code, own) for code, own in zip(self.codes, cells, strict=True)
        )
        spread = [_spread(country) for country in self.countries]
        self.places = np.concatenate(spread)
        """Some places on the land of every country, (n, 3)."""
        self.country_of_place = np.repeat(
            np.arange(len(spread)), [len(places) for places in spread]
        )

    @staticmethod
    def load(borders: Borders | None = None) -> "Atlas":
        """The atlas of the packaged borders (made once), or of others (which takes seconds).

        Raises:
            ConfigurationError: a packaged file is missing or damaged.
        """
        return _packaged() if borders is None else _made(borders)

    def row(self, latitude: float, longitude: float) -> tuple[Row, Near]:
        """Least distances (n,) from a place to every country, and where each is nearest (n, 3).

        Distances are whole kilometres, rounded down; 0 where the place is inside, or within the
        margin of the borders. No real place of the country is nearer on WGS 84, margin included.
        A disputed area counts for all of its countries.
        """
        index = self._borders.index
        point = unit_vectors(np.array([[longitude, latitude]]))[0]
        low, high = index.view(point).bounds()
        lows = low[self._piece]
        best = np.minimum.reduceat(high[self._piece], self._first)
        # The nearest-looking piece of each country first; it rules out nearly all of the others.
        order = np.lexsort((lows, self._code))
        rest = order[self._first]
        chord, near = np.full(len(self.codes), np.inf), np.zeros((len(self.codes), 3))
        for _ in range(2):
            pieces, back = np.unique(self._piece[rest], return_inverse=True)
            chords, places = index.nearest_places(pieces, point)
            # Farthest first, so that the nearest of each country is what stays.
            for pair in np.argsort(-chords[back], kind="stable").tolist():
                code = self._code[rest[pair]]
                if chords[back[pair]] <= chord[code]:
                    chord[code], near[code] = chords[back[pair]], places[back[pair]]
            best = np.minimum(best, chord)
            rest = np.flatnonzero(lows < best[self._code])
        arcs = 2.0 * EARTH_RADIUS_M / 1000.0 * np.arcsin(np.minimum(chord / 2.0, 1.0))
        km = np.floor(np.maximum(arcs / LONGER - self.margin_km, 0.0))
        for number in index.containing(latitude, longitude):
            for code in self._borders.data.sets[number]:
                km[self.number[code]], near[self.number[code]] = 0.0, point
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        return km.astype(np.uint16), near.astype(np.float32)

    def mask(self, codes: Collection[str]) -> Bools:
        """Which of the atlas's countries are among the codes; codes that it lacks are left out."""
        return np.array([code in codes for code in self.codes], dtype=np.bool_)

    def meets(self, country: int, boxes: Floats) -> Bools:
        """Which boxes (n, 4; west, south, east, north) meet the country's land."""
        box, piece = self._tree.query(shapely.box(*boxes.T), predicate="intersects")
        found = np.zeros(len(boxes), dtype=np.bool_)
        found[box[self._member[piece, country]]] = True
        return found

    def covers(self, country: int, lon_lat: Floats) -> Bools:
        """Which positions (n, 2) lie on the country's land."""
        at, piece = self._tree.query(shapely.points(lon_lat), predicate="intersects")
        found = np.zeros(len(lon_lat), dtype=np.bool_)
        found[at[self._member[piece, country]]] = True
        return found


def _country(code: str, cells: CountryCells) -> Country:
    middles, radii = grid.balls(grid.boxes(cells.row, cells.column, cells.level))
    return Country(code, middles, cells.inner, float(radii.max()), cells)


def _spread(country: Country) -> Floats:
    """Up to ``SPREAD`` middles on the country's land, each the farthest from those before."""
    inner = country.middles[: country.inner]
    if not len(inner):
        return inner
    chosen = [int(np.argmax(inner @ inner.mean(axis=0)))]
    while len(chosen) < min(SPREAD, len(inner)):
        chosen.append(int(np.argmin((inner @ inner[chosen].T).max(axis=1))))
    return inner[chosen]


@functools.cache
def _packaged() -> Atlas:
    return _made(Borders.load())


def _made(borders: Borders) -> Atlas:
    cells = unpack_cells(read_cells(), borders.version.digest, len(borders.codes))
    return Atlas(borders, make_cells(borders) if cells is None else cells)
