"""How long round trips take: a delay model after real pings, and landmarks that are wrong.

A path of d km takes ``base + 2d/v · (1 + exp(N(μ, σ)))``: light in fibre there and back, longer by
a factor that is lognormal and shrinks with distance, since short routes detour most. μ and σ stand
for bands of distance and were fitted to the least of ten pings between 246 servers in 2018;
``python -m benchmarks --only delays`` holds the model against such a table. A path keeps its
delay; each probe adds jitter to it.

All randomness comes from numpy generators that the caller seeds. Distances are kilometres on the
sphere, times are milliseconds, degrees are WGS 84.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ledger.geo.sphere import EARTH_RADIUS_M, unit_vectors

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

FIBRE_KM_PER_MS = 199.86
"""Two thirds of the speed of light in vacuum: light in fibre."""
BAND_ENDS_KM = (250.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 8_000.0, 12_000.0)
"""Ends of the bands of distance; the first also holds what is nearer than 50 km, where too few
pairs were measured for a band of their own."""
MU = (1.472, 0.882, 0.782, 0.564, 0.337, -0.139, -0.057, -0.213)
SIGMA = (1.009, 0.787, 0.707, 0.571, 0.549, 0.656, 0.527, 0.424)
MEASURED_HOST_CORRELATION = 0.5
"""``host_correlation`` of those pings: a quarter of the variance goes with either host."""
MIN_MISPLACED_KM = 300.0
"""A landmark that is wrong about its place by less is not told from a slow line."""
TOO_FAST = (0.05, 0.6)
"""A row that breaks physics takes this part of its true round trip."""


def generator(seed: bytes) -> np.random.Generator:
    """The generator of a seed of ``device_sim.seeds`` (bytes of any length)."""
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed)))


def distances_km(from_lat_lon: Floats, to_lat_lon: Floats) -> Floats:
    """Great circles between all places of two lists, (n, 2) and (m, 2) degrees, as (n, m) km."""
    first = unit_vectors(np.asarray(from_lat_lon, dtype=float)[:, ::-1])
    second = unit_vectors(np.asarray(to_lat_lon, dtype=float)[:, ::-1])
    chords = np.linalg.norm(first[:, None, :] - second[None, :, :], axis=2)
    arcs: Floats = 2.0 * np.arcsin(np.minimum(chords / 2.0, 1.0)) * (EARTH_RADIUS_M / 1_000.0)
    return arcs


@dataclass(frozen=True, slots=True)
class DelayModel:
    """Parameters of the model; the defaults are those that were measured.

    ``host_correlation`` (0 to 1): which part of a path's excess, as a variance, belongs to its two
    hosts, half each. A host with a poor line is then slow to everybody, so that more landmarks
    help less than they would with independent paths. The spread of each path stays the same.
    """

    base_ms: float = 0.5
    speed_km_per_ms: float = FIBRE_KM_PER_MS
    host_correlation: float = 0.0
    jitter_mu: float = -1.4
    jitter_sigma: float = 1.2

    def __post_init__(self) -> None:
        if not 0.0 <= self.host_correlation <= 1.0:
            raise ValueError("host_correlation is a share, 0 to 1")
        if self.base_ms < 0.0 or self.speed_km_per_ms <= 0.0 or self.jitter_sigma < 0.0:
            raise ValueError("delays are not negative, and a speed is above 0")

    def paths_ms(self, distance_km: Floats, rng: np.random.Generator) -> Floats:
        """Least round trip of each path, of the shape of ``distance_km``.

        For correlated hosts the shape is (landmarks, chips): one axis for each kind of host.
        """
        distance = np.asarray(distance_km, dtype=float)
        band = np.searchsorted(BAND_ENDS_KM, distance, side="right")
        normal = self._normal(distance.shape, rng)
        excess = np.exp(np.asarray(MU)[band] + np.asarray(SIGMA)[band] * normal)
        paths: Floats = self.base_ms + 2.0 * distance / self.speed_km_per_ms * (1.0 + excess)
        return paths

    def _normal(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        own = rng.standard_normal(shape)
        if self.host_correlation == 0.0:
            return own
        if len(shape) != 2:
            raise ValueError("correlated hosts need distances of shape (landmarks, chips)")
        landmarks = rng.standard_normal((shape[0], 1))
        chips = rng.standard_normal((1, shape[1]))
        shared = math.sqrt(self.host_correlation / 2.0) * (landmarks + chips)
        return math.sqrt(1.0 - self.host_correlation) * own + shared

    def least_ms(self, paths_ms: Floats, probes: int, rng: np.random.Generator) -> Floats:
        """What a landmark measures: the least of ``probes`` round trips over each path."""
        if probes < 1:
            raise ValueError("a measurement has at least one probe")
        least = self.jitter_ms(paths_ms.shape, rng)
        for _ in range(probes - 1):
            np.minimum(least, self.jitter_ms(paths_ms.shape, rng), out=least)
        return paths_ms + least

    def jitter_ms(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """What queues on the way add to single probes."""
        return rng.lognormal(self.jitter_mu, self.jitter_sigma, shape)


def whole_us(round_trips_ms: Floats) -> npt.NDArray[np.int64]:
    """Round trips as a ranging report states them: whole microseconds, rounded up."""
    return np.ceil(round_trips_ms * 1_000.0).astype(np.int64)


def misplace(
    lat_lon: Floats, share: float, rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.intp]]:
    """What a directory says of landmarks at (n, 2) places, of which a share stand wrongly in it.

    Returns the stated places and the indices of those that are wrong, at least one for any share
    above 0. A wrong entry has a place anywhere on Earth, ``MIN_MISPLACED_KM`` away or more.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError("a share is 0 to 1")
    stated = np.array(lat_lon, dtype=float)
    count = 0 if share == 0.0 else max(1, round(share * len(stated)))
    wrong = np.sort(rng.choice(len(stated), size=count, replace=False))
    for index in wrong:
        true = stated[index : index + 1].copy()
        while distances_km(true, stated[index : index + 1])[0, 0] < MIN_MISPLACED_KM:
            latitude = math.degrees(math.asin(rng.uniform(-1.0, 1.0)))
            stated[index] = latitude, rng.uniform(-180.0, 180.0)
    return stated, wrong


def hasten(round_trips_ms: Floats, share: float, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """Round trips of which about a share are shorter than they can be, and a mask of those.

    Real tables have some: a clock that was set meanwhile, an answer that belongs to another
    packet, a proxy that answers for its host.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError("a share is 0 to 1")
    wrong = rng.random(round_trips_ms.shape) < share
    factors = rng.uniform(*TOO_FAST, round_trips_ms.shape)
    return np.where(wrong, round_trips_ms * factors, round_trips_ms), wrong
