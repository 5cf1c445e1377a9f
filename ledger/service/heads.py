"""The heads map as of the newest checkpoint, for whoever wants to see that nothing is missing.

The map is stored once, and changes with each checkpoint. So everything is asked for by the
checkpoint's size, and there is nothing under an earlier one: what is read under one size belongs
together, and the bytes at a path never change.
"""

import re
from hashlib import sha256

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log.headsmap import filled_tiles, verify_bucket
from ledger.log.merkle import HASH_SIZE, leaf_hash
from ledger.log.tiles import (
    ENTRIES,
    TILE_WIDTH,
    Tile,
    parse_index_path,
    parse_tile_path,
    tiles_for_size,
)
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.service.history import stored_message
from ledger.store.log_rows import entry_table, read_head
from ledger.store.map_rows import MapRows

INDEX_ROOT = "index-root"
BUCKET = "bucket/"
_PATH = re.compile(r"([1-9][0-9]{0,18})/(.+)", re.DOTALL)


def heads(connection: Connection, path: str) -> bytes:
    """What is at ``path`` behind ``/log/heads/``.

    ``<size>/index-root``: the signed statement that commits to the map, which is the last entry
    under the checkpoint of ``size``. ``<size>/bucket/<N>``: the rows of a bucket, its number
    written like a tile's. ``<size>/tile/<L>/<N>[.p/<W>]``: hashes of the map's tree.
    Refused: TILE_PATH; TILE_UNKNOWN, also where the newest checkpoint is of another size.
    IntegrityError where the stored map contradicts itself.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise Refused(Reason.TILE_PATH, "expected <size>/index-root, …/bucket/<N> or …/tile/…")
    size, rest = int(match[1]), match[2]
    number = parse_index_path(rest.removeprefix(BUCKET)) if rest.startswith(BUCKET) else None
    tile = None if number is not None or rest == INDEX_ROOT else _parse_tile(rest)
    newest = read_head(connection).published_size
    if size != newest:
        raise Refused(Reason.TILE_UNKNOWN, f"the heads map is that of the checkpoint of {newest}")
    message = _index_root(connection, size)
    bits: int = message.body.bucket_bits
    if number is not None:
        return _bucket(connection, number, bits)
    return message.token if tile is None else _tile(connection, tile, bits)


def _parse_tile(path: str) -> Tile:
    level, n, width = parse_tile_path(path)
    if level == ENTRIES:
        raise Refused(Reason.TILE_PATH, "buckets have addresses of their own")
    return Tile(level, n, width)


def _index_root(connection: Connection, size: int) -> st.Message:
    """The last entry under the checkpoint; a ledger from before the map has another there."""
    columns = (entry_table.c.kind, entry_table.c.leaf, entry_table.c.body)
    row = connection.execute(select(*columns).where(entry_table.c.idx == size - 1)).first()
    if row is None:
        raise IntegrityError(f"entry {size - 1} is missing")
    if row.kind != Kind.INDEX_ROOT:
        raise Refused(Reason.TILE_UNKNOWN, "no checkpoint with a heads map is published yet")
    if row.body is None or sha256(row.body).digest() != row.leaf[-HASH_SIZE:]:
        raise IntegrityError(f"the statement of entry {size - 1} is not the one of its leaf")
    return stored_message(size - 1, row.body)


def _tile(connection: Connection, tile: Tile, bits: int) -> bytes:
    for level, full, partial in tiles_for_size(1 << bits):
        width = TILE_WIDTH if tile.n < full else partial
        if tile.level == level and tile.n < full + bool(partial) and tile.width == width:
            return filled_tiles(MapRows(connection).get_tiles, [tile])[0]
    raise Refused(Reason.TILE_UNKNOWN, f"a map of {1 << bits} buckets has no such tile")


def _bucket(connection: Connection, number: int, bits: int) -> bytes:
    """A bucket that is the one its tile commits to."""
    if number >= 1 << bits:
        raise Refused(Reason.TILE_UNKNOWN, f"the map has {1 << bits} buckets")
    n, at = divmod(number, TILE_WIDTH)
    rows = MapRows(connection)
    (content,) = rows.get_buckets([number])
    (row,) = filled_tiles(rows.get_tiles, [Tile(0, n, min(TILE_WIDTH, 1 << bits))])
    try:
        verify_bucket(content, number, bits)
    except Refused as error:
        raise IntegrityError(f"heads map bucket {number} is damaged: {error}") from error
    if leaf_hash(content) != row[at * HASH_SIZE : (at + 1) * HASH_SIZE]:
        raise IntegrityError(f"heads map bucket {number} is not the one that its tile names")
    return content
