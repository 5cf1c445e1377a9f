"""The bound itself: speed, rounding, and the sphere against the ellipsoid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.geo.sphere import unit_vectors
from ledger.location.reach import (
    EARTH_RADIUS_KM,
    FIBRE_KM_PER_MS,
    LONGER,
    SHORTER,
    cosines,
    radii_km,
    sure_angles,
    wide_angles,
)
from tests.location.ground import geodesic_km


def test_speed_is_two_thirds_of_light() -> None:
    assert pytest.approx(199.8616, abs=1e-4) == FIBRE_KM_PER_MS


def test_radius_is_half_the_round_trip_with_nothing_subtracted() -> None:
    assert radii_km(np.array([1.0, 10.0]), 200.0).tolist() == [100.0, 1000.0]


def test_factors_cover_the_radii_of_curvature_of_the_ellipsoid() -> None:
    a, f = 6378.137, 1.0 / 298.257223563
    square = f * (2.0 - f)
    sine = np.sin(np.radians(np.linspace(0.0, 90.0, 9_001))) ** 2
    across = a / np.sqrt(1.0 - square * sine)
    along = a * (1.0 - square) / (1.0 - square * sine) ** 1.5
    shortest = min(across.min(), along.min()) / EARTH_RADIUS_KM
    longest = max(across.max(), along.max()) / EARTH_RADIUS_KM
    assert shortest >= 1.0 / LONGER
    assert longest <= SHORTER
    # Not by more than they need to be, either.
    assert shortest < 1.0 / LONGER + 0.001
    assert longest > SHORTER - 0.001


latitudes = st.floats(-89.0, 89.0)
longitudes = st.floats(-180.0, 180.0)


@given(latitudes, longitudes, latitudes, longitudes)
def test_geodesic_lies_between_the_factors_times_the_great_circle(
    lat1: float, lon1: float, lat2: float, lon2: float
) -> None:
    one, other = unit_vectors(np.array([[lon1, lat1], [lon2, lat2]]))
    arc = EARTH_RADIUS_KM * math.atan2(float(np.linalg.norm(np.cross(one, other))), one @ other)
    if arc > 19_000.0:
        return  # Vincenty's formula is not made for antipodes
    real = geodesic_km(lat1, lon1, lat2, lon2)
    assert arc <= real * LONGER + 1e-3
    assert real <= arc * SHORTER + 1e-3


def test_wide_angle_holds_the_disc_and_the_margin_and_the_sure_angle_lies_within() -> None:
    radii = np.array([0.0, 10.0, 5_000.0])
    assert (wide_angles(radii, 2.5) * EARTH_RADIUS_KM >= (radii + 2.5) * 1.0057).all()
    assert (sure_angles(radii) * EARTH_RADIUS_KM <= radii / 1.00449).all()


def test_half_a_turn_and_more_excludes_nothing() -> None:
    assert cosines(np.array([np.pi, 40.0])).tolist() == [-2.0, -2.0]
    assert cosines(np.array([0.0]))[0] <= 1.0 - 1e-13
