"""Countries of a claimed place, remembered by small cells so that a still chip costs nothing."""

from collections.abc import Callable
from functools import lru_cache
from math import floor

from ledger.geo.borders import Borders

CELLS_PER_DEGREE = 50
CELL_RADIUS_M = 1_600.0
"""No point of a 0.02° cell is farther than this from its centre (half diagonal 1,573 m)."""
MAX_CELL_ACCURACY_M = 2_000.0

Places = Callable[[float, float, float], frozenset[str]]
"""(latitude, longitude, accuracy in metres) → every country the claim may lie in."""


def cached_places(borders: Borders, size: int = 65_536) -> Places:
    """``borders.countries_at`` with a memory.

    The disc round a cell's centre that covers every claim in the cell is asked once. Where it
    touches one country only, that is the answer for each of them; else the claim itself is asked.
    """

    @lru_cache(maxsize=size)
    def cell(row: int, column: int) -> frozenset[str]:
        latitude = (row + 0.5) / CELLS_PER_DEGREE
        longitude = (column + 0.5) / CELLS_PER_DEGREE
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            return frozenset()
        return borders.countries_at(latitude, longitude, CELL_RADIUS_M + MAX_CELL_ACCURACY_M)

    def places(latitude: float, longitude: float, accuracy_m: float) -> frozenset[str]:
        if accuracy_m <= MAX_CELL_ACCURACY_M:
            found = cell(floor(latitude * CELLS_PER_DEGREE), floor(longitude * CELLS_PER_DEGREE))
            if len(found) == 1:
                return found
        return borders.countries_at(latitude, longitude, accuracy_m)

    return places
