"""Which landmarks are to range a device: first those near its claim, then others if need be.

Landmarks are indices into a :class:`~ledger.location.sightings.LandmarkTable`; ``healthy`` are
those that may be used. Equal distances are settled by index, so the same input gives the same
assignment to everybody who derives it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ledger.geo.sphere import Floats, unit_vectors
from ledger.location.atlas import Ints
from ledger.location.sightings import LandmarkTable


@dataclass(frozen=True, slots=True)
class Plan:
    """How many landmarks range in which round.

    Round 0: ``first`` nearest to the claim. If that does not confirm the claim, round 1: ``spread``
    far from all before; then rounds of ``closer`` near the smallest round trip so far, until
    ``rounds`` of them are done or ``most`` landmarks are assigned in all. docs/location.md tells
    why 6 and 2: of the plans with 24 in all, they prove most.
    """

    first: int = 12
    spread: int = 6
    closer: int = 2
    rounds: int = 3
    most: int = 24


PLAN = Plan()


def assign(
    table: LandmarkTable,
    healthy: Sequence[int],
    claim: tuple[float, float],
    turn: int,
    measured: Mapping[int, float],
    plan: Plan = PLAN,
) -> list[int]:
    """Landmarks for the round number ``turn``; none when the plan is done.

    ``claim`` is latitude and longitude. ``measured`` holds every landmark assigned so far with
    its round trip in milliseconds, infinite where none came.
    """
    left = [index for index in healthy if index not in measured]
    count = max(0, plan.most - len(measured))
    if turn == 0:
        return nearest(table, left, claim, min(plan.first, count))
    if turn == 1:
        return spread(table, left, sorted(measured), min(plan.spread, count))
    if turn > 1 + plan.rounds or not measured:
        return []
    best = min(sorted(measured), key=measured.__getitem__)
    return _nearest_to(table, left, table.units[best], min(plan.closer, count))


def nearest(
    table: LandmarkTable, among: Sequence[int], claim: tuple[float, float], count: int
) -> list[int]:
    """The landmarks nearest to a place (latitude, longitude), nearest first."""
    return _nearest_to(table, among, unit_vectors(np.array([[claim[1], claim[0]]]))[0], count)


def spread(
    table: LandmarkTable, among: Sequence[int], used: Sequence[int], count: int
) -> list[int]:
    """Landmarks each as far as possible from all that were used or chosen before it."""
    left: Ints = np.array(sorted(among), dtype=np.int64)
    # Scalar product with the nearest one used: the smaller, the farther away.
    closest = np.full(len(left), -1.0)
    if len(used):
        closest = (table.units[left] @ table.units[list(used)].T).max(axis=1, initial=-1.0)
    chosen: list[int] = []
    while len(chosen) < min(count, len(left)):
        at = int(np.argmin(closest))
        chosen.append(int(left[at]))
        closest = np.maximum(closest, table.units[left] @ table.units[left[at]])
        closest[at] = np.inf
    return chosen


def _nearest_to(table: LandmarkTable, among: Sequence[int], point: Floats, count: int) -> list[int]:
    left: Ints = np.array(sorted(among), dtype=np.int64)
    order = np.argsort(-(table.units[left] @ point), kind="stable")[:count]
    return [int(index) for index in left[order]]
