"""The file of borders: gzip over a line of magic, a JSON header and packed arrays.

Layout after decompression (integers little-endian)::

    "chip-passport-borders/1\\n"
    u32 length, JSON header: title, source, version, date, licence, margin, sets, counts
    u16[pieces]      index of the piece's set of countries
    u32[pieces]      rings of each piece
    u32[rings]       vertices of each ring (closed: the first is repeated)
    i32[2*vertices]  longitude, latitude in thousandths of a degree, differences, zigzag, in planes
    u32[odd], f64[odd]  coordinates that lie off that grid: flat index, exact value
    packed bits      cells that touch water (see ``pieces.wet_cells``)

"In planes" means all lowest bytes first, then all second bytes, and so on: it compresses better.
"""

import gzip
import io
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from ledger.errors import ConfigurationError

MAGIC = b"chip-passport-borders/1\n"
MOST_BYTES = 200_000_000
REMEDY = "restore the packaged file or rebuild it (docs/borders.md)"
_DAMAGE = (
    *(OSError, EOFError, zlib.error, struct.error, shapely.GEOSException, MemoryError),
    *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError),
)
CELLS = (720, 1440)
LEAST_MARGIN_M = 50.0
"""The index is off by up to 25 m (see ``index``), so no data may claim to need less than this."""


@dataclass(frozen=True, slots=True)
class BorderData:
    """What the file holds: facts about the source, sets of codes, pieces and wet cells.

    ``margin_m`` is how far a border of this source may be from the real one.
    """

    facts: dict[str, str]
    margin_m: float
    sets: tuple[frozenset[str], ...]
    set_of_piece: npt.NDArray[np.uint16]
    pieces: npt.NDArray[np.object_]
    wet: npt.NDArray[np.bool_]


def pack(data: BorderData) -> bytes:
    """The file's bytes; equal data gives equal bytes."""
    _, coordinates, (ring_ends, piece_ends) = shapely.to_ragged_array(list(data.pieces))
    flat = np.ascontiguousarray(coordinates[:, :2]).reshape(-1)
    grid = np.rint(flat * 1000.0).astype(np.int64)
    odd = np.flatnonzero(grid / 1000.0 != flat)
    header: dict[str, Any] = {
        **data.facts,
        "margin_m": data.margin_m,
        "sets": [sorted(codes) for codes in data.sets],
        "counts": {"pieces": len(data.pieces), "rings": len(ring_ends) - 1, "odd": len(odd)},
    }
    text = json.dumps(header, sort_keys=True, ensure_ascii=False).encode()
    steps = np.diff(grid.reshape(-1, 2), axis=0, prepend=0).reshape(-1)
    zigzag = ((steps << 1) ^ (steps >> 63)).astype("<u4")
    body = [
        MAGIC,
        struct.pack("<I", len(text)),
        text,
        data.set_of_piece.astype("<u2").tobytes(),
        np.diff(piece_ends).astype("<u4").tobytes(),
        np.diff(ring_ends).astype("<u4").tobytes(),
        _planes(zigzag),
        odd.astype("<u4").tobytes(),
        flat[odd].astype("<f8").tobytes(),
        np.packbits(data.wet).tobytes(),
    ]
    return deterministic_gzip(b"".join(body))


def unpack(content: bytes) -> BorderData:
    """Read the file's bytes.

    Raises:
        ConfigurationError: not such a file, or a damaged one.
    """
    try:
        return _unpack(_inflate(content))
    except ConfigurationError:
        raise
    except _DAMAGE as error:
        raise ConfigurationError(f"the borders file is damaged ({error}); {REMEDY}") from error


def deterministic_gzip(content: bytes) -> bytes:
    """gzip without time, name or system in its header."""
    target = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", compresslevel=9, fileobj=target, mtime=0) as file:
        file.write(content)
    return target.getvalue()


def _inflate(content: bytes) -> memoryview:
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        raw = file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES or not raw.startswith(MAGIC):
        raise ConfigurationError(f"this is not a borders file of this format; {REMEDY}")
    return memoryview(raw)[len(MAGIC) :]


def _unpack(raw: memoryview) -> BorderData:
    length = struct.unpack_from("<I", raw)[0]
    header = json.loads(bytes(raw[4 : 4 + length]))
    reader = _Reader(raw[4 + length :])
    counts = header["counts"]
    set_of_piece = reader.take("<u2", counts["pieces"])
    piece_sizes = reader.take("<u4", counts["pieces"])
    ring_sizes = reader.take("<u4", counts["rings"])
    size = 2 * int(ring_sizes.sum())
    zigzag = reader.planes(size).astype(np.int64)
    flat = np.cumsum(((zigzag >> 1) ^ -(zigzag & 1)).reshape(-1, 2), axis=0).reshape(-1) / 1000.0
    places, values = reader.take("<u4", counts["odd"]), reader.take("<f8", counts["odd"])
    flat[places] = values
    bits = np.unpackbits(reader.take("u1", CELLS[0] * CELLS[1] // 8))
    sets = tuple(frozenset(codes) for codes in header["sets"])
    reader.finish()
    return BorderData(
        facts={key: header[key] for key in ("title", "source", "version", "date", "licence")},
        margin_m=_checked_margin(header["margin_m"]),
        sets=sets,
        set_of_piece=_checked_sets(set_of_piece, sets),
        pieces=_polygons(flat.reshape(-1, 2), ring_sizes, piece_sizes),
        wet=bits.reshape(CELLS).astype(np.bool_),
    )


class _Reader:
    """Takes arrays off the front of a buffer; whatever is missing or left over is an error."""

    def __init__(self, raw: memoryview) -> None:
        self._raw, self._at = raw, 0

    def take(self, kind: str, count: int) -> npt.NDArray[Any]:
        array = np.frombuffer(self._raw, dtype=kind, count=count, offset=self._at)
        if count < 0 or len(array) != count:
            raise ValueError("an array is too short")
        self._at += array.nbytes
        return array

    def planes(self, count: int) -> npt.NDArray[np.uint32]:
        rows = self.take("u1", 4 * count).reshape(4, count)
        return np.ascontiguousarray(rows.T).view("<u4").reshape(count)

    def finish(self) -> None:
        if self._at != len(self._raw):
            raise ValueError("bytes are left over")


def _planes(values: npt.NDArray[Any]) -> bytes:
    return values.view("u1").reshape(-1, 4).T.tobytes()


def _checked_margin(value: object) -> float:
    if not isinstance(value, int | float) or not LEAST_MARGIN_M <= value <= 1_000_000:
        raise ValueError("the margin is out of range")
    return float(value)


def _checked_sets(
    index: npt.NDArray[Any], sets: tuple[frozenset[str], ...]
) -> npt.NDArray[np.uint16]:
    if not len(index) or int(index.max()) >= len(sets) or not all(sets):
        raise ValueError("a piece has no set of countries")
    return index.astype(np.uint16)


def _polygons(
    coordinates: npt.NDArray[np.float64],
    ring_sizes: npt.NDArray[Any],
    piece_sizes: npt.NDArray[Any],
) -> npt.NDArray[np.object_]:
    within = np.abs(coordinates) <= [180.0, 90.0]
    if not within.all() or int(ring_sizes.min()) < 4 or int(piece_sizes.min()) < 1:
        raise ValueError("a position is off the globe, or a ring is too short")
    ring_ends = np.concatenate(([0], np.cumsum(ring_sizes, dtype=np.int64)))
    piece_ends = np.concatenate(([0], np.cumsum(piece_sizes, dtype=np.int64)))
    if int(piece_ends[-1]) != len(ring_sizes):
        raise ValueError("the rings do not add up")
    return shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coordinates, (ring_ends, piece_ends)
    )
