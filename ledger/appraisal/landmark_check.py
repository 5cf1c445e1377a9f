"""Landmarks hold each other to their places: who cannot be where the directory has it?

Landmarks range one another. Two whose directory places are farther apart than light in fibre goes
in half their round trip cannot both be right, and a pair alone does not tell which is wrong. One
that breaks the bound with landmarks of three or more other operators is to be suspended: a rival
who reports false round trips would need two accomplices.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ledger.errors import Reason, Refused
from ledger.geo.sphere import EARTH_RADIUS_M, unit_vectors
from ledger.protocol.landmarks import Landmark
from ledger.protocol.ranging import MAX_ROUND_TRIP_US

SPEED_KM_PER_MS = 299_792.458 / 1_000 * 2 / 3
"""Light in fibre: two thirds of that in vacuum."""
MIN_OPERATORS = 3
ELLIPSOID = 1 - 0.006
"""A geodesic of WGS 84 is at most 0.56 % shorter than the great circle on the mean sphere."""


class Broken(NamedTuple):
    """A pair that breaks the bound: it is ``distance_km`` apart and answers within ``reach_km``."""

    first: str
    second: str
    distance_km: float
    reach_km: float
    round_trip_us: int

    def words(self) -> str:
        """One sentence."""
        return (
            f"{self.first} and {self.second}: {self.distance_km:,.0f} km apart in the directory, "
            f"{self.reach_km:,.0f} km at most in {self.round_trip_us / 1_000:,.3f} ms"
        )


class Suspension(NamedTuple):
    """A landmark to suspend; ``reason`` fits the directory's member ``suspended``."""

    landmark: str
    reason: str
    broken: tuple[Broken, ...]


class SelfCheck(NamedTuple):
    """``unresolved``: broken pairs that no suspension explains; somebody has to look."""

    pairs: int
    suspensions: tuple[Suspension, ...]
    unresolved: tuple[Broken, ...]

    @property
    def sound(self) -> bool:
        """Whether every pair that was measured can be as the directory says."""
        return not self.suspensions and not self.unresolved


def self_check(
    landmarks: Sequence[Landmark],
    measured: Iterable[tuple[str, str, int]],
    *,
    speed_km_per_ms: float = SPEED_KM_PER_MS,
    min_operators: int = MIN_OPERATORS,
) -> SelfCheck:
    """Check measured round trips, (id, id, µs) in any order and number, against the directory.

    The least round trip of a pair counts. Landmarks that are suspended already are left out.
    Suspends the one that breaks the bound with landmarks of most other operators, then looks
    again: the honest neighbours of one wrong entry are then clear. Refuses landmarks that are
    not in the directory (LANDMARK_UNKNOWN) and round trips that cannot be (FIELD_INVALID).
    """
    least = _least(landmarks, measured)
    open_pairs = _broken(landmarks, least, speed_km_per_ms)
    operators = {entry.id: entry.operator for entry in landmarks}
    suspensions = []
    while open_pairs:
        worst = max(operators, key=lambda ident: _weight(ident, open_pairs, operators))
        against = [pair for pair in open_pairs if worst in pair[:2]]
        count = _weight(worst, open_pairs, operators)[0]
        if count < min_operators:
            break
        suspensions.append(_suspension(worst, against, count))
        open_pairs = [pair for pair in open_pairs if worst not in pair[:2]]
    return SelfCheck(len(least), tuple(suspensions), tuple(open_pairs))


def _least(
    landmarks: Sequence[Landmark], measured: Iterable[tuple[str, str, int]]
) -> dict[tuple[str, str], int]:
    known = {entry.id for entry in landmarks}
    healthy = {entry.id for entry in landmarks if entry.suspended is None}
    least: dict[tuple[str, str], int] = {}
    for first, second, round_trip_us in measured:
        for ident in (first, second):
            if ident not in known:
                raise Refused(Reason.LANDMARK_UNKNOWN, f"no landmark {ident[:63]!r}")
        if type(round_trip_us) is not int or not 0 < round_trip_us <= MAX_ROUND_TRIP_US:
            raise Refused(Reason.FIELD_INVALID, "not a round trip in µs", field="round_trip_us")
        if first == second:
            raise Refused(Reason.FIELD_INVALID, f"{first} cannot range itself", field="landmark")
        if healthy.issuperset((first, second)):
            pair = (min(first, second), max(first, second))
            least[pair] = min(round_trip_us, least.get(pair, round_trip_us))
    return least


def _broken(
    landmarks: Sequence[Landmark], least: dict[tuple[str, str], int], speed_km_per_ms: float
) -> list[Broken]:
    places = np.array([(entry.longitude, entry.latitude) for entry in landmarks], dtype=float)
    points = dict(zip((entry.id for entry in landmarks), unit_vectors(places), strict=True))
    found = []
    for (first, second), round_trip_us in sorted(least.items()):
        chord = float(np.linalg.norm(points[first] - points[second]))
        arc_km = 2 * math.asin(min(1.0, chord / 2)) * EARTH_RADIUS_M / 1_000 * ELLIPSOID
        reach_km = speed_km_per_ms * round_trip_us / 2_000
        if arc_km > reach_km:
            found.append(Broken(first, second, arc_km, reach_km, round_trip_us))
    return found


def _weight(
    ident: str, pairs: Sequence[Broken], operators: dict[str, str]
) -> tuple[int, int, float, str]:
    """Other operators, pairs, excess in km; then the id, so that the order is always the same."""
    against = [pair for pair in pairs if ident in pair[:2]]
    others = {operators[end] for pair in against for end in pair[:2]} - {operators[ident]}
    excess = sum(pair.distance_km - pair.reach_km for pair in against)
    return len(others), len(against), excess, ident


def _suspension(ident: str, against: Sequence[Broken], operators: int) -> Suspension:
    worst = max(against, key=lambda pair: pair.distance_km - pair.reach_km)
    other = worst.second if worst.first == ident else worst.first
    reason = (
        f"too fast for its place with {len(against)} landmarks of {operators} other operators; "
        f"{other[:40]} is {worst.distance_km:,.0f} km away and answers within "
        f"{worst.reach_km:,.0f} km"
    )
    return Suspension(ident, reason, tuple(against))
