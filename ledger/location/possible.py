"""Which countries a device may be in, given its round trips.

A place is possible while at most ``max_faulty`` operators exclude it; a country, while one of its
places is. In order of cost:

1. The table: a country that more operators exclude as a whole is not possible.
2. Some places of each country, and the places of it nearest to the landmarks: where one of them
   is possible, so is the country.
3. Its cells, grown by their radius, tightest discs first: where all are excluded, so is it.
4. Its exact land, within the cells that are left, cut ever finer.

What step 4 cannot settle stays possible. A *witness* is a place on land that is possible even
where the ellipsoid and the margin of the borders are taken against it. Without one the round
trips may contradict one another, and nothing is proven.
"""

from dataclasses import dataclass

import numpy as np

from ledger.geo.sphere import Bools, Floats
from ledger.location import grid
from ledger.location.atlas import Atlas, Country, Ints
from ledger.location.reach import (
    EARTH_RADIUS_KM,
    FIBRE_KM_PER_MS,
    cosines,
    radii_km,
    sure_angles,
    wide_angles,
)
from ledger.location.sightings import Sightings

SMALLEST_RADIUS = 0.5 / EARTH_RADIUS_KM
"""Boxes of exact land are not cut below half a kilometre from middle to corner."""

SMALLEST_WITNESS = 0.02 / EARTH_RADIUS_KM
"""The same in the search for a witness."""

MOST_BOXES = 4_096
"""More boxes at a time are not cut again: what they hold stays possible."""

MOST_KM = 65_535.0

Place = tuple[float, float]
"""Latitude and longitude in degrees."""


@dataclass(frozen=True, slots=True)
class Possible:
    """The countries that are left, and a witness in one of them if there is one.

    ``mask`` (countries,) is in the order of the atlas's ``codes``; ``radii_km`` are in the order
    of ``sightings.chosen``.
    """

    atlas: Atlas
    sightings: Sightings
    max_faulty: int
    radii_km: Floats
    mask: Bools
    witness: Place | None

    @property
    def countries(self) -> frozenset[str]:
        """Codes of the countries that are left."""
        return frozenset(self.atlas.codes[number] for number in np.flatnonzero(self.mask))

    @property
    def contradiction(self) -> bool:
        """No place is left: more landmarks are wrong than may be, or the speed is."""
        return not self.mask.any()


def possible_countries(
    atlas: Atlas,
    sightings: Sightings,
    max_faulty: int = 1,
    speed: float = FIBRE_KM_PER_MS,
) -> Possible:
    """The countries that the sightings leave.

    ``max_faulty`` counts operators; ``speed`` is in kilometres per millisecond.
    """
    search = _Search(atlas, sightings, max_faulty, speed)
    mask = search.open_by_table()
    open_ = mask & ~search.sure_by_places(mask)
    for country in search.unsettled(np.flatnonzero(open_)):
        mask[country] = search.may_hold(country)
    if search.witness is None:
        search.look_for_witness(np.flatnonzero(mask).tolist())
    return Possible(atlas, sightings, max_faulty, search.radii, mask, search.witness)


def table_countries(
    atlas: Atlas, sightings: Sightings, max_faulty: int = 1, speed: float = FIBRE_KM_PER_MS
) -> Possible:
    """The same by the table alone: never fewer countries, and a witness only where one is easy."""
    search = _Search(atlas, sightings, max_faulty, speed)
    mask = search.open_by_table()
    search.sure_by_places(mask)
    return Possible(atlas, sightings, max_faulty, search.radii, mask, search.witness)


class _Search:
    """One search; keeps the first witness that it comes across."""

    def __init__(self, atlas: Atlas, sightings: Sightings, most: int, speed: float) -> None:
        self.atlas, self.sightings, self.most = atlas, sightings, most
        self.radii = radii_km(sightings.round_trips_ms, speed)
        self.witness: Place | None = None
        self._wide = wide_angles(self.radii, atlas.margin_km)
        self._narrow = sure_angles(self.radii)
        self._tight: Ints | None = None

    def open_by_table(self) -> Bools:
        """Step 1: countries that at most ``most`` operators exclude as a whole."""
        whole = np.minimum(self.radii, MOST_KM).astype(np.uint16)  # a row holds whole kilometres
        rows = self.sightings.table.rows[self.sightings.chosen]
        return self._left(rows > whole[:, None])

    def sure_by_places(self, mask: Bools) -> Bools:
        """Step 2: countries of which one of the atlas's places is possible for sure."""
        chosen = np.flatnonzero(mask[self.atlas.country_of_place])
        found = chosen[self._witnesses(self.atlas.places[chosen])]
        sure = np.zeros(len(mask), dtype=np.bool_)
        sure[self.atlas.country_of_place[found]] = True
        return sure

    def unsettled(self, countries: Ints) -> list[int]:
        """Step 2: those of the countries that are not possible at any of their nearest places."""
        if not len(countries) or not len(self.sightings):
            return list(countries.tolist())
        places = self.sightings.table.nearest[self.sightings.chosen[:, None], countries]
        flat = places.reshape(-1, 3).astype(np.float64)
        if self.witness is None:
            self._witnesses(flat)
        may = self._may(flat, 0.0).reshape(len(places), len(countries)).any(axis=0)
        return list(countries[~may].tolist())

    def may_hold(self, number: int) -> bool:
        """Steps 3 and 4: whether a place of this country may be possible."""
        cells = self._cells_left(number)
        country = self.atlas.countries[number]
        inner = country.middles[cells[: int(np.searchsorted(cells, country.inner))]]
        if len(inner) and self._may(inner, 0.0).any():
            return True
        boxes = _boxes(country, cells)
        # How often boxes are cut depends on the country alone, so that larger discs never leave
        # less than smaller ones.
        for _ in range(_cuts(country, SMALLEST_RADIUS)):
            middles, boxes = self._cut(number, boxes, self._wide)
            if not len(boxes) or len(boxes) > MOST_BOXES:
                break
            found = np.flatnonzero(self._may(middles, 0.0))
            if len(found) and self.atlas.covers(number, _middles(boxes[found])).any():
                return True
            boxes = grid.quarters(boxes)
        return bool(len(boxes))

    def look_for_witness(self, countries: list[int]) -> None:
        """Search the land of the given countries for a place that is possible for sure."""
        for number in countries:
            country = self.atlas.countries[number]
            boxes = _boxes(country, self._cells_left(number))
            for _ in range(_cuts(country, SMALLEST_WITNESS)):
                middles, boxes = self._cut(number, boxes, self._narrow)
                if not len(boxes) or len(boxes) > MOST_BOXES:
                    break
                on_land = self.atlas.covers(number, _middles(boxes))
                if len(self._witnesses(middles[on_land])):
                    return
                boxes = grid.quarters(boxes)

    def _cells_left(self, number: int) -> Ints:
        """Step 3: cells of a country that may hold a possible place."""
        country = self.atlas.countries[number]
        found = np.arange(len(country.middles))
        if self._tight is None:
            self._tight = self.sightings.tightest(self.radii, self.most + 1)
        if len(self._tight) > self.most:
            # A place outside of all of these discs is excluded by one operator too many.
            products = self.sightings.units[self._tight] @ country.middles.T
            reach = cosines(self._wide[self._tight] + country.radius)
            found = np.flatnonzero((products >= reach[:, None]).any(axis=0))
        return found[self._may(country.middles[found], country.radius)]

    def _cut(self, number: int, boxes: Floats, angles: Floats) -> tuple[Floats, Floats]:
        """The boxes that may hold a place on land within the angles, and their middles."""
        if not len(boxes):
            return np.zeros((0, 3)), boxes
        middles, radii = grid.balls(boxes)
        keep = np.flatnonzero(self._within(angles + radii.max(), middles))
        keep = keep[self.atlas.meets(number, boxes[keep])]
        return middles[keep], boxes[keep]

    def _may(self, middles: Floats, radius: float) -> Bools:
        """Whether at most ``most`` operators exclude the whole ball around each middle (n, 3)."""
        return self._within(self._wide + radius, middles)

    def _within(self, angles: Floats, places: Floats) -> Bools:
        products = self.sightings.units @ places.T
        return self._left(products < cosines(angles)[:, None])

    def _left(self, excluded: Bools) -> Bools:
        return self.sightings.at_most(self.most, excluded)

    def _witnesses(self, places: Floats) -> Ints:
        """Which of the places, all on land, are possible for sure; the first one is kept."""
        found = np.flatnonzero(self._within(self._narrow, places))
        if self.witness is None and len(found):
            x, y, z = places[found[0]].tolist()
            self.witness = (
                float(np.degrees(np.arcsin(max(-1.0, min(1.0, z))))),
                float(np.degrees(np.arctan2(y, x))),
            )
        return found


def _boxes(country: Country, cells: Ints) -> Floats:
    own = country.cells
    return grid.boxes(own.row[cells], own.column[cells], own.level)


def _cuts(country: Country, smallest: float) -> int:
    """How often to cut a country's cells in four until they are small enough."""
    return max(1, int(np.ceil(np.log2(country.radius / smallest))) + 1)


def _middles(boxes: Floats) -> Floats:
    return np.asarray((boxes[:, :2] + boxes[:, 2:]) / 2.0)
