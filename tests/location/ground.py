"""What the tests of location share: sightings in one line, and distances by another formula."""

import math
from collections.abc import Iterable

from ledger.location.atlas import Atlas, Near, Row
from ledger.location.possible import Possible, possible_countries
from ledger.location.reach import FIBRE_KM_PER_MS
from ledger.location.sightings import Landmark, LandmarkTable, Sightings

ATLAS = Atlas.load()

Seen = tuple[float, float, float] | tuple[float, float, float, str]
"""Latitude, longitude, round trip in ms, and the operator where it is not the landmark's own."""


# Places of landmarks, so that tests need not measure new ones against the borders each time: all
# over the globe, and where borders are hard.
POOL = [
    *(
        (lat, lon)
        for lat in (-75.0, -38.0, -12.0, 8.0, 31.0, 49.0, 66.0)
        for lon in range(-170, 180, 45)
    ),
    *((90.0, 0.0), (-90.0, 0.0), (10.0, 180.0), (66.0, -180.0), (-17.0, 180.0), (67.5, 179.5)),
    *((22.3, 114.1), (22.2, 113.5), (1.35, 103.8), (49.6, 6.1), (47.56, 7.6), (44.95, 34.1)),
    *((54.7, 20.5), (31.8, 35.2), (-29.3, 27.5), (42.5, 1.5), (19.4, -72.3), (43.73, 7.42)),
    *((34.6, 74.5), (51.5, 0.0), (35.7, 139.7), (40.7, -74.0), (-36.9, 174.8), (52.4, 4.9)),
]
_ROWS: dict[tuple[float, float], tuple[Row, Near]] = {}


def _row(lat: float, lon: float) -> tuple[Row, Near]:
    if (lat, lon) not in _ROWS:
        _ROWS[lat, lon] = ATLAS.row(lat, lon)
    return _ROWS[lat, lon]


def sightings(seen: Iterable[Seen]) -> Sightings:
    """Sightings by landmarks called 0, 1, ...."""
    rows = list(seen)
    marks = [
        Landmark(str(number), row[0], row[1], row[3] if len(row) > 3 else f"own {number}")
        for number, row in enumerate(rows)
    ]
    table = LandmarkTable(ATLAS, marks, _row)
    return Sightings(table, range(len(rows)), [row[2] for row in rows])


def left(seen: Iterable[Seen], max_faulty: int = 1, speed: float = FIBRE_KM_PER_MS) -> Possible:
    """What sightings leave possible."""
    return possible_countries(ATLAS, sightings(seen), max_faulty, speed)


def geodesic_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Vincenty's inverse formula on WGS 84; a lower bound near the antipode, where it fails."""
    a, f = 6378.137, 1.0 / 298.257223563
    b = a * (1.0 - f)
    u1 = math.atan((1.0 - f) * math.tan(math.radians(lat1)))
    u2 = math.atan((1.0 - f) * math.tan(math.radians(lat2)))
    length = math.radians(lon2 - lon1)
    lam = length
    for _ in range(200):
        x = math.cos(u2) * math.sin(lam)
        y = math.cos(u1) * math.sin(u2) - math.sin(u1) * math.cos(u2) * math.cos(lam)
        sine = math.hypot(x, y)
        if sine < 1e-15:
            return 0.0
        cosine = math.sin(u1) * math.sin(u2) + math.cos(u1) * math.cos(u2) * math.cos(lam)
        sigma = math.atan2(sine, cosine)
        alpha = math.cos(u1) * math.cos(u2) * math.sin(lam) / sine
        square = 1.0 - alpha**2
        middle = cosine - 2.0 * math.sin(u1) * math.sin(u2) / square if square else 0.0
        c = f / 16.0 * square * (4.0 + f * (4.0 - 3.0 * square))
        before = lam
        lam = length + (1.0 - c) * f * alpha * (
            sigma + c * sine * (middle + c * cosine * (2.0 * middle**2 - 1.0))
        )
        if abs(lam - before) < 1e-12:
            break
    else:
        return 0.9 * math.pi * b
    square *= (a**2 - b**2) / b**2
    big = 1.0 + square / 16384.0 * (4096.0 + square * (-768.0 + square * (320.0 - 175.0 * square)))
    small = square / 1024.0 * (256.0 + square * (-128.0 + square * (74.0 - 47.0 * square)))
    delta = (
        small
        * sine
        * (
            middle
            + small
            / 4.0
            * (
                cosine * (2.0 * middle**2 - 1.0)
                - small / 6.0 * middle * (4.0 * sine**2 - 3.0) * (4.0 * middle**2 - 3.0)
            )
        )
    )
    return b * big * (sigma - delta)
