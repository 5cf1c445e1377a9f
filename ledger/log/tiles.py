"""Tiles and entry bundles of a log, per C2SP tlog-tiles.

Tile (L, N) holds up to 256 hashes: the nodes of tree level 8L with indices from 256N. The
rightmost tile of a level may be partial; a partial tile is a prefix of the full one, so one
stored row serves every width that it has had.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.merkle import HASH_SIZE, MAX_SIZE, Nodes, parents, require_size, split_hashes

TILE_WIDTH = 256
MAX_LEVEL = 63
MAX_INDEX = MAX_SIZE // TILE_WIDTH
MAX_ENTRY_SIZE = 65_535
ENTRIES: Final = "entries"

_PATH = re.compile(r"tile/(entries|[0-9]{1,2})/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([0-9]{1,3}))?")

_LEVEL_0 = "tile/0/"


class Tile(NamedTuple):
    """Hash tile ``n`` of a level as it stands in a tree of some size: 1..256 hashes wide."""

    level: int
    n: int
    width: int


class TilePath(NamedTuple):
    """What a tile path asks for; ``level`` is "entries" for an entry bundle."""

    level: int | Literal["entries"]
    n: int
    width: int


class LevelTiles(NamedTuple):
    """The tiles of one level: ``full`` ones, then one of ``partial_width`` hashes unless 0."""

    level: int
    full: int
    partial_width: int


GetTile = Callable[[Tile], bytes]
GetTiles = Callable[[Sequence[Tile]], Sequence[bytes]]
"""Gives the bytes of tiles in the order asked; a tile may come wider than asked for."""


def tile_path(level: int | Literal["entries"], index: int, width: int = TILE_WIDTH) -> str:
    """Path below the log's prefix, such as ``tile/0/x001/x234/067.p/5``."""
    known = level == ENTRIES or (type(level) is int and 0 <= level <= MAX_LEVEL)
    if not (known and 0 <= index < MAX_INDEX and 1 <= width <= TILE_WIDTH):
        raise Refused(Reason.TILE_PATH, f"there is no tile {level}/{index} of width {width}")
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    suffix = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{'/'.join(groups)}{suffix}"


def parse_tile_path(path: str) -> TilePath:
    """Inverse of :func:`tile_path`; refuses every other spelling (leading zeroes, width 256)."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise Refused(Reason.TILE_PATH, "expected tile/<level>/<index>[.p/<width>]")
    level, groups, partial = match.groups()
    parsed = TilePath(
        ENTRIES if level == ENTRIES else int(level),
        int(groups.replace("/", "").replace("x", "")),
        TILE_WIDTH if partial is None else int(partial),
    )
    if tile_path(*parsed) != path:
        raise Refused(Reason.TILE_PATH, "numbers carry no additional zeroes, a full tile no width")
    return parsed


def index_path(index: int) -> str:
    """The index as tile paths write it: ``x001/x234/067``."""
    return tile_path(0, index).removeprefix(_LEVEL_0)


def parse_index_path(path: str) -> int:
    """Inverse of :func:`index_path`; refuses every other spelling."""
    if "." in path:
        raise Refused(Reason.TILE_PATH, "a width belongs to tiles")
    return parse_tile_path(_LEVEL_0 + path).n


def tiles_for_size(size: int) -> list[LevelTiles]:
    """Every level's tiles in the tree of ``size`` leaves; empty for size 0."""
    require_size(size)
    levels: list[LevelTiles] = []
    while size:
        full, partial = divmod(size, TILE_WIDTH)
        levels.append(LevelTiles(len(levels), full, partial))
        size = full
    return levels


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of the tree of ``size`` leaves: what :func:`grow` wants to be given."""
    return [Tile(level, full, width) for level, full, width in tiles_for_size(size) if width]


def grow(
    last_tiles: Mapping[tuple[int, int], bytes], start_size: int, leaf_hashes: Sequence[bytes]
) -> dict[tuple[int, int], bytes]:
    """Append leaf hashes to the tree of ``start_size`` leaves; returns each changed tile whole.

    ``last_tiles`` maps (level, index) to the bytes of the partial tiles of that tree; other
    keys are not looked at. A tile that becomes full is hashed into the level above from its own
    256 hashes, independently of the compact range. Raises IntegrityError if a given tile is not
    as long as the size wants it.
    """
    require_size(start_size)
    require_size(start_size + len(leaf_hashes))
    if set(map(len, leaf_hashes)) - {HASH_SIZE}:
        raise Refused(Reason.PROOF_INVALID, "a leaf hash has 32 bytes", field="leaf_hashes")
    changed: dict[tuple[int, int], bytes] = {}
    added = leaf_hashes
    level, start = 0, start_size
    while added:
        index, width = divmod(start, TILE_WIDTH)
        before = last_tiles.get((level, index), b"") if width else b""
        if len(before) != width * HASH_SIZE:
            raise IntegrityError(f"tile {level}/{index} has {len(before)} bytes, width {width}")
        row = before + b"".join(added)
        added = []
        for at in range(0, len(row), TILE_WIDTH * HASH_SIZE):
            tile = row[at : at + TILE_WIDTH * HASH_SIZE]
            changed[level, index] = tile
            index += 1
            if len(tile) == TILE_WIDTH * HASH_SIZE:
                added.append(_subtree_root(tile))
        level, start = level + 1, start // TILE_WIDTH
    return changed


def tile_nodes(get_tiles: GetTiles, size: int) -> Nodes:
    """Node getter over the tiles of the tree of ``size`` leaves.

    ``get_tiles`` is called once for each call, with every tile needed and each tile once.
    Refuses nodes that the tree does not have and tiles too short to be what was asked for.
    """
    require_size(size)

    def nodes(wanted: Sequence[tuple[int, int]]) -> list[bytes]:
        places = [_locate(level, index, size) for level, index in wanted]
        tiles = list(dict.fromkeys(tile for tile, _, _ in places))
        found = get_tiles(tiles) if tiles else []
        if len(found) != len(tiles):
            raise Refused(Reason.PROOF_INVALID, "a tile is missing", field="tile")
        data = dict(zip(tiles, found, strict=True))
        for tile, content in data.items():
            _require_tile(tile, content)
        return [_subtree_root(data[tile][begin:end]) for tile, begin, end in places]

    return nodes


def one_by_one(get_tile: GetTile) -> GetTiles:
    """A getter of several tiles from a getter of one."""
    return lambda tiles: [get_tile(tile) for tile in tiles]


def node_hash_from_tiles(get_tile: GetTile, level: int, index: int, size: int) -> bytes:
    """Hash of the perfect node (level, index) in the tree of ``size`` leaves."""
    return tile_nodes(one_by_one(get_tile), size)([(level, index)])[0]


def _locate(level: int, index: int, size: int) -> tuple[Tile, int, int]:
    """The tile below a node, and the byte range of the node's hashes in it."""
    if level < 0 or index < 0 or (index + 1) << level > size:
        raise Refused(Reason.PROOF_INVALID, f"a tree of size {size} has no node {level}/{index}")
    tile_level, height = divmod(level, 8)
    tile_index, offset = divmod(index << height, TILE_WIDTH)
    width = min(TILE_WIDTH, (size >> 8 * tile_level) - tile_index * TILE_WIDTH)
    end = offset + (1 << height)
    return Tile(tile_level, tile_index, width), offset * HASH_SIZE, end * HASH_SIZE


def _require_tile(tile: Tile, content: bytes) -> None:
    full = TILE_WIDTH * HASH_SIZE
    if len(content) % HASH_SIZE or not tile.width * HASH_SIZE <= len(content) <= full:
        raise Refused(
            Reason.PROOF_INVALID,
            f"tile {tile.level}/{tile.n} has {len(content)} bytes, not {tile.width} hashes",
            field="tile",
        )


def _subtree_root(data: bytes) -> bytes:
    """Root over 2**n concatenated hashes."""
    row: Iterable[bytes] = split_hashes(data)
    for _ in range((len(data) // HASH_SIZE).bit_length() - 1):
        row = parents(row)
    return next(iter(row))


def entry_bundle_encode(entries: Sequence[bytes]) -> bytes:
    """Bundle 1..256 entries, each behind its length as 2 bytes big-endian."""
    if not 1 <= len(entries) <= TILE_WIDTH:
        raise Refused(Reason.TOO_LARGE, "a bundle has 1 to 256 entries", field="bundle")
    if any(len(entry) > MAX_ENTRY_SIZE for entry in entries):
        raise Refused(Reason.TOO_LARGE, "an entry has at most 65535 bytes", field="bundle")
    return b"".join(len(entry).to_bytes(2) + entry for entry in entries)


def entry_bundle_decode(data: bytes, width: int | None = None) -> list[bytes]:
    """Entries of a bundle; refuses cut or empty bundles, and another count than ``width``."""
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) <= TILE_WIDTH:
        begin = at + 2
        at = begin + int.from_bytes(data[at:begin])
        entries.append(data[begin:at])
    if at != len(data) or not 1 <= len(entries) <= TILE_WIDTH:
        raise Refused(Reason.PROOF_INVALID, "a bundle is 1 to 256 whole entries", field="bundle")
    if width is not None and len(entries) != width:
        raise Refused(
            Reason.PROOF_INVALID,
            f"the bundle has {len(entries)} entries, not {width}",
            field="bundle",
        )
    return entries
