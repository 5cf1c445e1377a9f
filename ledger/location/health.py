"""Landmarks that cannot be where they say: their round trips to others were too fast for that."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ledger.geo.sphere import EARTH_RADIUS_M
from ledger.location.reach import FIBRE_KM_PER_MS, LONGER
from ledger.location.sightings import LandmarkTable

WITH_SO_MANY = 3
"""A landmark is suspended that breaks the bound with so many others. One or two may be theirs."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A landmark whose place is refuted by ``others``, and by how many kilometres at most."""

    landmark: str
    others: tuple[str, ...]
    excess_km: float

    def __str__(self) -> str:
        names = ", ".join(self.others[:4]) + (" …" if len(self.others) > 4 else "")
        return (
            f"{self.landmark} is up to {self.excess_km:.0f} km too far from {len(self.others)} "
            f"others for the round trips between them ({names})"
        )


def suspended(
    table: LandmarkTable,
    round_trips_ms: Mapping[tuple[int, int], float] | Iterable[tuple[tuple[int, int], float]],
    speed: float = FIBRE_KM_PER_MS,
) -> list[Fault]:
    """Landmarks to suspend, worst first, given round trips between pairs of them.

    The one that breaks the bound with most others goes first, and its pairs with it: an honest
    landmark is not to be blamed for the wrong ones.
    """
    given = round_trips_ms.items() if isinstance(round_trips_ms, Mapping) else round_trips_ms
    broken: dict[int, dict[int, float]] = {}
    for (one, other), round_trip in given:
        chord = float(np.linalg.norm(table.units[one] - table.units[other]))
        arc = 2.0 * EARTH_RADIUS_M / 1000.0 * float(np.arcsin(min(1.0, chord / 2.0)))
        excess = arc / LONGER - round_trip * speed / 2.0
        if one != other and excess > 0.0:
            for a, b in ((one, other), (other, one)):
                mine = broken.setdefault(a, {})
                mine[b] = max(excess, mine.get(b, 0.0))
    faults = []
    while broken:
        worst = max(sorted(broken), key=lambda index: len(broken[index]))
        others = broken.pop(worst)
        if len(others) < WITH_SO_MANY:
            break
        names = tuple(sorted(table.landmarks[index].id for index in others))
        faults.append(Fault(table.landmarks[worst].id, names, max(others.values())))
        for other in others:
            broken.get(other, {}).pop(worst, None)
    return faults
