"""Two sightings of one chip: whether any place of the one can be reached from any of the other.

If at most ``f`` operators are wrong, then one of the ``f`` + 1 tightest discs (of different
operators) holds the device. So the gap between two sightings is at least the least gap between a
tight disc of the one and a tight disc of the other, whoever is wrong.
"""

import numpy as np

from ledger.location.possible import Possible
from ledger.location.reach import EARTH_RADIUS_KM, LONGER

SPEED_KMH = 900.0
"""No freight travels faster than an airliner."""


def least_gap_km(one: Possible, other: Possible) -> float:
    """Kilometres that lie between the two possible areas, at least; 0 where they may meet."""
    pairs = []
    for possible in (one, other):
        sightings, most = possible.sightings, possible.max_faulty
        if sightings.operators <= most:
            return 0.0
        tight = sightings.tightest(possible.radii_km, most + 1)
        pairs.append((sightings.units[tight], possible.radii_km[tight]))
    (units, radii), (others, other_radii) = pairs
    chords = np.linalg.norm(units[:, None] - others[None], axis=2)
    arcs = 2.0 * EARTH_RADIUS_KM * np.arcsin(np.minimum(chords / 2.0, 1.0))
    gaps = arcs / LONGER - radii[:, None] - other_radii[None]
    return max(0.0, float(gaps.min()))


def needs_faster_km(
    one: Possible, other: Possible, elapsed_s: float, speed_kmh: float = SPEED_KMH
) -> float:
    """Kilometres that no travel in the time between covers; 0 where travel explains it.

    More than 0 says that the key is in two chips or that a landmark is wrong beyond what is
    allowed for. ``elapsed_s`` includes what the clocks may be off by, so it errs upwards; time for
    handling at both ends is for the caller to take from it.
    """
    return max(0.0, least_gap_km(one, other) - max(0.0, elapsed_s) / 3600.0 * speed_kmh)
