"""A grid of cells on the globe, of about the same width everywhere; none lies across ±180°.

Level k has rows of 0.5° / 2^k. Each row is cut into as many columns as keep a cell no wider than
its row is high. A cell is named by row and column, both counted from 90°S 180°W.
"""

import numpy as np
import numpy.typing as npt

from ledger.geo.sphere import Floats, unit_vectors

COARSEST_DEGREES = 0.5
LEVELS = 6

Ints = npt.NDArray[np.int64]


def height(level: int) -> float:
    """Rows of this level, in degrees of latitude."""
    return float(COARSEST_DEGREES / 2**level)


def columns(row: Ints, level: int) -> Ints:
    """How many cells the rows have."""
    high = height(level)
    south = row * high - 90.0
    widest = np.cos(np.radians(np.minimum(np.abs(south), np.abs(south + high))))
    count: Ints = np.maximum(3, np.ceil(360.0 / high * widest - 1e-9)).astype(np.int64)
    return count


def boxes(row: Ints, column: Ints, level: int) -> Floats:
    """(n, 4): west, south, east, north of cells, in degrees."""
    width = 360.0 / columns(row, level)
    high = height(level)
    return np.column_stack(
        (
            column * width - 180.0,
            row * high - 90.0,
            (column + 1) * width - 180.0,
            (row + 1) * high - 90.0,
        )
    ).clip([-180.0, -90.0, -180.0, -90.0], [180.0, 90.0, 180.0, 90.0])


def covering(box: tuple[float, float, float, float], level: int) -> tuple[Ints, Ints]:
    """Rows and columns of all cells that meet a box (west, south, east, north), edge included."""
    west, south, east, north = box
    high, last = height(level), round(180.0 / height(level)) - 1
    rows = np.arange(
        max(0, int(np.ceil((south + 90.0) / high)) - 1),
        min(last, int(np.floor((north + 90.0) / high))) + 1,
    )
    count = columns(rows, level)
    first = np.maximum(0, np.ceil((west + 180.0) * count / 360.0).astype(np.int64) - 1)
    end = np.minimum(count - 1, np.floor((east + 180.0) * count / 360.0).astype(np.int64))
    each = end - first + 1
    start = np.repeat(np.cumsum(each) - each, each)
    return np.repeat(rows, each), np.repeat(first, each) + np.arange(each.sum()) - start


def quarters(given: Floats) -> Floats:
    """(4n, 4): every box cut into four."""
    west, south, east, north = given.T
    x, y = (west + east) / 2.0, (south + north) / 2.0
    return np.concatenate(
        [
            np.column_stack(corners)
            for corners in (
                (west, south, x, y),
                (x, south, east, y),
                (west, y, x, north),
                (x, y, east, north),
            )
        ]
    )


def balls(given: Floats) -> tuple[Floats, Floats]:
    """Middle (n, 3) of boxes on the unit sphere, and the angle from it that the box stays within.

    The farthest place of a box is a corner: along a parallel the distance from the middle grows
    with the difference in longitude, and along a meridian it is greatest at an end.
    """
    west, south, east, north = given.T
    middle = unit_vectors(np.column_stack(((west + east) / 2.0, (south + north) / 2.0)))
    widest = np.zeros(len(given))
    for x, y in ((west, south), (west, north)):  # the eastern corners are as far
        corner = unit_vectors(np.column_stack((x, y))) - middle
        widest = np.maximum(widest, np.einsum("ij,ij->i", corner, corner))
    return middle, 2.0 * np.arcsin(np.minimum(1.0, np.sqrt(widest) / 2.0)) + 1e-9
