"""Which countries a claimed place may lie in.

The answer is never too small: where the data, the accuracy or the sea leave a doubt, every country
in question is in it. docs/borders.md gives the reasons for the margins.
"""

import functools
import hashlib
import json
import math
from dataclasses import dataclass
from gzip import decompress
from typing import Any

import numpy as np

from ledger.errors import ConfigurationError, Reason, Refused
from ledger.geo.codec import REMEDY, BorderData, unpack
from ledger.geo.index import Indices, PieceIndex
from ledger.geo.loader import BORDERS_PATH, DISPLAY_PATH, FilePath, read
from ledger.geo.sphere import HALF_TURN_M, Floats, arc_m, chord, destination, unit_vectors

SPHERE_FACTOR = 1.006
"""WGS 84 lengths against those on the sphere of mean radius: between 0.9955 and 1.0056."""

COVER_DEPTH = 3
COVER_LEAST_M = 5_000.0
"""A disc with water in it is covered by seven of half the size, this often and down to this size,
before it is taken as a whole."""

TWICE = 2.02
"""How many radii from the centre a coast can be that is nearest to some water in the disc (beside
the centre's own distance): two, and 1% for comparing WGS 84 lengths on the sphere."""

HALF = 0.5005
"""Of the covering discs: a little more than half, for the rounding of their centres."""

_DEGREE_M = 111_195.0
_METRES_TO_LAT = SPHERE_FACTOR / _DEGREE_M


@dataclass(frozen=True, slots=True)
class BordersVersion:
    """Where the borders come from; ``digest`` is the SHA-256 of the file's bytes, in hex."""

    source: str
    date: str
    digest: str

    def __str__(self) -> str:
        return f"{self.date} sha256:{self.digest}"


class Borders:
    """Countries by place. Immutable after loading, and safe to share between threads."""

    def __init__(self, data: BorderData, digest: str) -> None:
        self._index = PieceIndex(data.pieces, data.set_of_piece)
        self._sets = data.sets
        self._wet = data.wet
        self.data, self.index = data, self._index  # for ledger.location, which reads them
        self.margin_m = data.margin_m
        self.codes: tuple[str, ...] = tuple(sorted(frozenset().union(*data.sets)))
        self.version = BordersVersion(data.facts["source"], data.facts["date"], digest)

    @staticmethod
    def load(path: FilePath | None = None) -> "Borders":
        """Read the packaged file (once per process), or another one of the same format.

        Raises:
            ConfigurationError: the file is missing, damaged or of another kind.
        """
        return _packaged() if path is None else _read(path)

    @staticmethod
    def display() -> dict[str, Any]:
        """Simplified shapes as a GeoJSON FeatureCollection, for pictures only, never verdicts."""
        try:
            collection: dict[str, Any] = json.loads(decompress(read(DISPLAY_PATH)))
        except (OSError, EOFError, ValueError) as error:
            raise ConfigurationError(f"{DISPLAY_PATH.name}: {error}; {REMEDY}") from error
        return collection

    def countries_at(self, lat: float, lon: float, accuracy_m: float = 0.0) -> frozenset[str]:
        """Every country (ISO 3166 alpha-2, XK) that a disc around a WGS 84 position may touch.

        ``accuracy_m`` is the radius in metres. Water counts as the countries of the nearest
        coasts. The answer is never empty.

        Raises:
            Refused: CLAIM_INVALID, a number that is not finite or out of its range.
        """
        lat = _checked("latitude", lat, -90.0, 90.0)
        lon = _checked("longitude", lon, -180.0, 180.0)
        radius = _checked("accuracy", accuracy_m, 0.0, math.inf)
        lon = 0.0 if abs(lat) == 90.0 else -180.0 if lon == 180.0 else lon  # one place, one answer
        if self._inflated(radius) >= HALF_TURN_M:
            return frozenset(self.codes)
        sets = self._on_land(lat, lon, radius)
        if sets is None:
            sets = self._possible(lat, lon, radius, COVER_DEPTH, None)
        return frozenset[str]().union(*(self._sets[number] for number in sets))

    def _inflated(self, radius: float) -> float:
        return radius * SPHERE_FACTOR + self.margin_m

    def _on_land(self, lat: float, lon: float, radius: float) -> set[int] | None:
        """The answer for a small disc around a point on land; None where that is not plain."""
        height = self._inflated(TWICE * radius) * _METRES_TO_LAT
        if radius > COVER_LEAST_M or abs(lat) + height > 85.0:
            return None
        width = _half_width(lat, height)
        if abs(lon) + width > 180.0:
            return None
        around = self._index.in_box(lon - width, lat - height, lon + width, lat + height)
        sets = set(self._index.set_of[around].tolist())
        if not sets:
            return None
        at = self._index.containing(lat, lon)
        if not at or at == sets:
            return at or None
        view = self._index.view(_unit_vector(lat, lon), around)
        radii = TWICE if self._is_wet(lat, lon, radius) else 1.0
        return view.sets_within(chord(self._inflated(radii * radius)), at)

    def _possible(
        self, lat: float, lon: float, radius: float, depth: int, among: Indices | None
    ) -> set[int]:
        """Sets that the disc touches, or that are nearest to some water in it.

        ``among`` names the pieces that count, None for all.
        """
        view = self._index.view(_unit_vector(lat, lon), among)
        at = self._index.containing(lat, lon)
        touched = view.sets_within(chord(self._inflated(radius)), at)
        if at and not self._is_wet(lat, lon, radius):
            return touched
        # A point of water in the disc is at most `away` + radius from the nearest coast, and its
        # own nearest coast is at most another radius farther from the centre.
        away = 0.0 if at else arc_m(view.nearest()) * SPHERE_FACTOR**2
        reach = chord(away + self._inflated(TWICE * radius))
        doubtful = view.sets_within(reach, touched)
        small = depth == 0 or radius < COVER_LEAST_M
        if small or len(doubtful) == 1 or doubtful == touched:
            return doubtful
        found, among = set(touched), view.pieces_within(reach)
        for y, x in _cover(lat, lon, radius):
            if doubtful <= found:
                break
            found |= doubtful & self._possible(y, x, radius * HALF, depth - 1, among)
        return found

    def _is_wet(self, lat: float, lon: float, radius: float) -> bool:
        """Whether some cell that meets the disc's bounding box touches water."""
        rows, columns = self._wet.shape
        size = 180.0 / rows
        height = radius * _METRES_TO_LAT
        first = max(0, math.floor((lat - height + 90.0) / size))
        last = min(rows - 1, math.floor((lat + height + 90.0) / size))
        band = self._wet[first : last + 1]
        if abs(lat) + height > 89.0:
            return bool(band.any())
        width = _half_width(lat, height)
        west = math.floor((lon - width + 180.0) / size)
        east = math.floor((lon + width + 180.0) / size)
        if east - west + 1 >= columns:
            return bool(band.any())
        return bool(band[:, np.arange(west, east + 1) % columns].any())


def _unit_vector(lat: float, lon: float) -> Floats:
    return np.asarray(unit_vectors(np.array([[lon, lat]]))[0], dtype=np.float64)


def _half_width(lat: float, height: float) -> float:
    """Half the width in degrees of a disc's bounding box; ``abs(lat) + height`` below 90."""
    ratio = math.sin(math.radians(height)) / math.cos(math.radians(lat))
    return math.degrees(math.asin(min(1.0, ratio))) if height < 90.0 else 180.0


def _cover(lat: float, lon: float, radius: float) -> list[tuple[float, float]]:
    """Centres of seven discs of half the radius that cover a disc.

    In the plane: one in the middle, six at √3/2 of the radius. On a sphere the same bearings and
    distances lie closer together, so the cover holds there as well.
    """
    ring = radius * SPHERE_FACTOR * math.sqrt(3.0) / 2.0
    ends = [destination(lat, lon, 60.0 * k, ring)[0] for k in range(6)]
    return [(lat, lon), *((float(end[1]), float(end[0])) for end in ends)]


def _checked(name: str, value: float, low: float, high: float) -> float:
    # Claims come from decoded messages: the annotation is a promise of the caller, not a fact.
    given: object = value
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise Refused(Reason.CLAIM_INVALID, "not a number", field=name)
    try:
        number = float(given)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or not low <= number <= high:
        raise Refused(Reason.CLAIM_INVALID, f"{number} is out of range", field=name)
    return number


@functools.cache
def _packaged() -> Borders:
    return _read(BORDERS_PATH)


def _read(path: FilePath) -> Borders:
    content = read(path)
    return Borders(unpack(content), hashlib.sha256(content).hexdigest())
