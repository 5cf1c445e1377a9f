"""How far a round trip reaches: the one bound that everything here rests on.

A landmark whose round trip took ``t`` excludes what is farther away than ``v * t / 2``. Nothing is
subtracted from ``t``: whatever the device, the host or the network needed only makes it longer.
Every number below errs on the side of keeping a place possible.
"""

import numpy as np

from ledger.geo.sphere import EARTH_RADIUS_M, Floats

LIGHT_KM_PER_MS = 299.792458
FIBRE_KM_PER_MS = LIGHT_KM_PER_MS * 2.0 / 3.0
"""Two thirds of c. Light in single-mode fibre is up to 2.2% faster (group index 1.468): the bound
rests on no cable being straight to within 2%. A caller who doubts that gives a higher speed."""

LEAST_SPEED = 199.8
"""Slower speeds, as of a typical network, would convict the innocent and are refused."""

EARTH_RADIUS_KM = EARTH_RADIUS_M / 1000.0

LONGER = 1.006
"""A way on the sphere is at most this much longer than on WGS 84: the radii of curvature of the
ellipsoid lie between 0.9944 and 1.0045 of the sphere's."""

SHORTER = 1.0045
"""A way on WGS 84 is at most this much longer than on the sphere."""

HALF_TURN = np.pi


def radii_km(round_trips_ms: Floats, speed: float = FIBRE_KM_PER_MS) -> Floats:
    """Distances in kilometres on WGS 84 that the holder of the key cannot have exceeded."""
    return np.asarray(round_trips_ms * (speed / 2.0), dtype=np.float64)


def wide_angles(radii: Floats, margin_km: float) -> Floats:
    """Angles on the sphere that no possible place exceeds; ``margin_km`` is that of the borders."""
    return np.asarray((radii + margin_km) * (LONGER / EARTH_RADIUS_KM), dtype=np.float64)


def sure_angles(radii: Floats) -> Floats:
    """Angles on the sphere within which a place is possible whatever the ellipsoid does."""
    return np.asarray(radii / (SHORTER * EARTH_RADIUS_KM), dtype=np.float64)


def cosines(angles: Floats) -> Floats:
    """Thresholds for scalar products of unit vectors: a place is beyond where its product is less.

    An angle of half a turn or more gives -2, which no product falls below.
    """
    # 1e-12 covers the rounding of a product of two unit vectors (about 3e-16 each way).
    return np.where(angles >= HALF_TURN, -2.0, np.cos(np.minimum(angles, HALF_TURN)) - 1e-12)
