"""The cells of every country: all of its land lies in them, and some have their middle on it.

File: gzip over a line of magic, u32 length, a JSON header, then arrays (little-endian): u1 level
and u4 number of cells of each country, u4 how many of those have their middle on the country's
land (they come first), u2 row and u2 column of each cell. The header names the borders by digest.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from ledger.errors import ConfigurationError
from ledger.geo.borders import Borders
from ledger.geo.codec import deterministic_gzip
from ledger.location import grid

MAGIC = b"chip-passport-cells/1\n"
FEWEST = 24
"""A country is cut finer until it has so many cells, as far as the grid goes."""
MOST_BYTES = 20_000_000

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CountryCells:
    """Row and column of the cells of one country; the first ``inner`` have their middle on it."""

    level: int
    inner: int
    row: Ints
    column: Ints


def membership(borders: Borders) -> npt.NDArray[np.bool_]:
    """(pieces, countries): which pieces stand for which country, in the order of the codes."""
    sets = borders.data.sets
    table = np.array([[code in codes for code in borders.codes] for codes in sets], dtype=np.bool_)
    return table[borders.data.set_of_piece.astype(np.int64)]


def make_cells(borders: Borders) -> list[CountryCells]:
    """The cells of every country, in the order of the codes."""
    pieces = borders.data.pieces
    member = membership(borders)
    done: dict[int, CountryCells] = {}
    for level in range(grid.LEVELS):
        left = [code for code in range(len(borders.codes)) if code not in done]
        wanted = np.flatnonzero(member[:, left].any(axis=1))
        piece, row, column, middle = _touched(pieces, wanted, level)
        for code in left:
            own = member[piece, code]
            cells = _merged(level, row[own], column[own], middle[own])
            if len(cells.row) >= FEWEST or level == grid.LEVELS - 1:
                done[code] = cells
    return [done[code] for code in range(len(borders.codes))]


def pack_cells(cells: Sequence[CountryCells], digest: str) -> bytes:
    """The file's bytes; ``digest`` is that of the borders they were made from."""
    text = json.dumps({"borders": digest, "countries": len(cells)}, sort_keys=True).encode()
    return deterministic_gzip(
        b"".join(
            (
                MAGIC,
                struct.pack("<I", len(text)),
                text,
                np.array([one.level for one in cells], dtype="u1").tobytes(),
                np.array([len(one.row) for one in cells], dtype="<u4").tobytes(),
                np.array([one.inner for one in cells], dtype="<u4").tobytes(),
                np.concatenate([one.row for one in cells]).astype("<u2").tobytes(),
                np.concatenate([one.column for one in cells]).astype("<u2").tobytes(),
            )
        )
    )


def unpack_cells(content: bytes, digest: str, countries: int) -> list[CountryCells] | None:
    """Read the file's bytes; None where they were made from other borders.

    Raises:
        ConfigurationError: not such a file, or a damaged one.
    """
    try:
        opened = zlib.decompressobj(wbits=31)
        raw = opened.decompress(content, MOST_BYTES)
        if not raw.startswith(MAGIC) or not opened.eof:
            raise ValueError("not a file of cells")
        length = struct.unpack_from("<I", raw, len(MAGIC))[0]
        start = len(MAGIC) + 4
        header = json.loads(raw[start : start + length])
        if header["borders"] != digest or header["countries"] != countries:
            return None
        return _unpacked(raw[start + length :], countries)
    except (zlib.error, struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"the file of cells is damaged ({error}); restore it or rebuild it (docs/location.md)"
        ) from error


def _unpacked(raw: bytes, countries: int) -> list[CountryCells]:
    levels = np.frombuffer(raw, "u1", countries)
    counts = np.frombuffer(raw, "<u4", countries, countries).astype(np.int64)
    inner = np.frombuffer(raw, "<u4", countries, 5 * countries).astype(np.int64)
    total = int(counts.sum())
    rows = np.frombuffer(raw, "<u2", total, 9 * countries).astype(np.int64)
    column = np.frombuffer(raw, "<u2", total, 9 * countries + 2 * total).astype(np.int64)
    level = np.repeat(levels.astype(np.int64), counts)
    if len(raw) != 9 * countries + 4 * total or (inner > counts).any() or not counts.all():
        raise ValueError("the arrays do not add up")
    if (levels >= grid.LEVELS).any() or (rows >= 360 * 2**level).any():
        raise ValueError("a cell is off the globe")
    ends = np.cumsum(counts)
    found = []
    for code, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        one = CountryCells(int(levels[code]), int(inner[code]), rows[start:end], column[start:end])
        if (one.column >= grid.columns(one.row, one.level)).any():
            raise ValueError("a cell is off the globe")
        found.append(one)
    return found


def _touched(
    pieces: npt.NDArray[np.object_], wanted: Ints, level: int
) -> tuple[Ints, Ints, Ints, npt.NDArray[np.bool_]]:
    """Pairs of a piece and a cell that it meets, and whether the cell's middle is on it."""
    found = [grid.covering(tuple(box), level) for box in shapely.bounds(pieces[wanted]).tolist()]
    piece = np.repeat(wanted, [len(row) for row, _ in found])
    row = np.concatenate([row for row, _ in found])
    column = np.concatenate([column for _, column in found])
    shapely.prepare(pieces[wanted])
    boxes = grid.boxes(row, column, level)
    hit = shapely.intersects(pieces[piece], shapely.box(*boxes.T))
    piece, row, column, boxes = piece[hit], row[hit], column[hit], boxes[hit]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2.0
    return piece, row, column, shapely.contains_xy(pieces[piece], middles)


def _merged(level: int, row: Ints, column: Ints, middle: npt.NDArray[np.bool_]) -> CountryCells:
    """Each cell once, those with their middle on land first, both in the order of the grid."""
    width = 2 * 360 * 2**grid.LEVELS
    key = row * width + column
    inner = np.unique(key[middle])
    keys = np.concatenate((inner, np.setdiff1d(key, inner)))
    return CountryCells(level, len(inner), keys // width, keys % width)
