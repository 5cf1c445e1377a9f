"""The simulator's delay model against real pings, quantile by quantile.

Reads the table of pings that ``benchmarks.pings`` names, which is not part of this repository;
without it nothing is measured. A few of its cities have wrong coordinates and reply faster than
light, which shows in the lowest quantiles of some bands.
"""

import csv
from pathlib import Path

import numpy as np

from benchmarks import pings
from benchmarks.figures import Figure
from device_sim.delays import BAND_ENDS_KM, DelayModel, Floats, generator

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NEAREST_KM = 50.0
PROBES = 10
"""Pings behind each row of the table."""
LIMIT = 1.2
"""Worst middle quantile (25, 50, 75 %) of a band, as a factor, either way."""
SEED = b"chip-passport/delays/v1"


def run(*, quick: bool) -> list[Figure]:
    """Worst factor between a quantile of the model and the same one of the real table."""
    if (reason := pings.missing()) is not None:
        print(f"delays: skipped, {reason}")
        return []
    distance, least = read(sorted(pings.folder().glob("*pings.csv"))[0])
    made = simulate(distance, 1 if quick else 8)
    worst = 1.0
    print(f"{'km':>14} {'pairs':>7} " + "".join(f"{q:>18.0%}" for q in QUANTILES))
    for name, real, model in bands(distance, least, made):
        cells = []
        for quantile in QUANTILES:
            first, second = float(np.quantile(real, quantile)), float(np.quantile(model, quantile))
            cells.append(f"{first:7.1f} {second:7.1f} ms")
            if 0.25 <= quantile <= 0.75:
                worst = max(worst, first / second, second / first)
        print(f"{name:>14} {len(real):>7,} " + "".join(f"{cell:>18}" for cell in cells))
    details = {"pairs": len(distance), "bands": len(BAND_ENDS_KM) + 1}
    return [Figure("delay model, worst quantile", worst, LIMIT, at_least=False, details=details)]


def read(path: Path) -> tuple[Floats, Floats]:
    """Distances in km and least round trips in ms of all pairs that are far enough apart."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [(float(row["distance_km"]), float(row["min_ms"])) for row in csv.DictReader(file)]
    table = np.array(rows)
    table = table[table[:, 0] >= NEAREST_KM]
    return table[:, 0], table[:, 1]


def simulate(distance_km: Floats, times: int) -> Floats:
    """The model's round trips for these pairs, (times, pairs)."""
    model, rng = DelayModel(), generator(SEED)
    return np.stack(
        [model.least_ms(model.paths_ms(distance_km, rng), PROBES, rng) for _ in range(times)]
    )


def bands(distance_km: Floats, real: Floats, model: Floats) -> list[tuple[str, Floats, Floats]]:
    """Name, real and simulated round trips of each band of distance."""
    found = []
    for low, high in zip((NEAREST_KM, *BAND_ENDS_KM), (*BAND_ENDS_KM, np.inf), strict=True):
        inside = (distance_km >= low) & (distance_km < high)
        name = f"{low:,.0f} and up" if high == np.inf else f"{low:,.0f}–{high:,.0f}"
        found.append((name, real[inside], model[:, inside].ravel()))
    return found
