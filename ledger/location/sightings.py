"""What is measured: landmarks, and the round trips of one device to some of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ledger.geo.sphere import Bools, Floats, unit_vectors
from ledger.location.atlas import Atlas, Ints, Near, Row


@dataclass(frozen=True, slots=True)
class Landmark:
    """A place that times round trips; those of one ``operator`` are believed or not together."""

    id: str
    latitude: float
    longitude: float
    operator: str


class LandmarkTable:
    """Landmarks measured against the borders, which takes some 10 ms for each: worth keeping.

    ``units`` (n, 3); ``rows`` (n, countries) whole kilometres; ``nearest`` (n, countries, 3) where
    each country is nearest. ``number`` leads from an id to the index.
    """

    def __init__(
        self,
        atlas: Atlas,
        landmarks: Iterable[Landmark],
        row: Callable[[float, float], tuple[Row, Near]] | None = None,
    ) -> None:
        """``row`` stands in for ``atlas.row``, as a cache of it does."""
        measure = row or atlas.row
        self.landmarks = tuple(landmarks)
        self.number = {one.id: index for index, one in enumerate(self.landmarks)}
        at = np.array([[one.longitude, one.latitude] for one in self.landmarks]).reshape(-1, 2)
        self.units = unit_vectors(at)
        found = [measure(one.latitude, one.longitude) for one in self.landmarks]
        shape = (len(found), len(atlas.codes))
        self.rows = np.array([row for row, _ in found], dtype=np.uint16).reshape(shape)
        self.nearest = np.array([near for _, near in found], np.float32).reshape(*shape, 3)
        names = {name: k for k, name in enumerate(sorted({one.operator for one in self.landmarks}))}
        self.operators: Ints = np.array(
            [names[one.operator] for one in self.landmarks], dtype=np.int64
        )


class Sightings:
    """Round trips of one device, at most one for each landmark, sorted by operator.

    ``chosen`` are indices into the table, ``round_trips_ms`` in the same order.
    """

    def __init__(
        self, table: LandmarkTable, chosen: Sequence[int] | Ints, round_trips_ms: Sequence[float]
    ) -> None:
        index = np.asarray(chosen, dtype=np.int64)
        owners = table.operators[index]
        order = np.argsort(owners, kind="stable")
        self.table = table
        self.chosen: Ints = index[order]
        self.round_trips_ms = np.asarray(round_trips_ms, dtype=np.float64)[order]
        self.units: Floats = table.units[self.chosen]
        owners = owners[order]
        self._owner = np.cumsum(np.diff(owners, prepend=-1) != 0) - 1
        self.operators = int(self._owner[-1]) + 1 if len(order) else 0
        self._starts = np.searchsorted(self._owner, np.arange(self.operators))
        self._alone = self.operators == len(order)

    def __len__(self) -> int:
        return len(self.chosen)

    @property
    def landmarks(self) -> list[Landmark]:
        """The landmarks in the order of ``chosen``."""
        return [self.table.landmarks[index] for index in self.chosen.tolist()]

    def at_most(self, operators: int, excluded: Bools) -> Bools:
        """What at most so many operators exclude: (m, n), a row for each landmark, to (n,)."""
        if not self._alone:
            excluded = np.logical_or.reduceat(excluded, self._starts, axis=0)
        return np.asarray(np.add.reduce(excluded, axis=0, dtype=np.uint16) <= operators)

    def tightest(self, radii: Floats, operators: int) -> Ints:
        """Positions of the smallest discs, one each of so many different operators."""
        order = np.argsort(radii, kind="stable")
        if not self._alone:
            _, first = np.unique(self._owner[order], return_index=True)
            order = order[np.sort(first)]
        return order[:operators]
