"""The heads map's rows.

Contract: the stored map is the one that the newest index-root commits to. ``apply_changes`` runs
inside the publish transaction, under the head row's lock, and is durable with it; until then
readers see the map as it was. A map whose stored bytes are not what was committed to is never
built upon: ``IntegrityError``, and nothing may be signed.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from ledger.errors import IntegrityError
from ledger.log.headsmap import SubjectProof, map_root, prove_subject
from ledger.log.headsmap_update import Changes, MapUpdate, update
from ledger.log.tiles import Tile
from ledger.store.bulk import insert_rows, update_rows
from ledger.store.log_rows import upsert
from ledger.store.map_tables import MapBucketRow, MapNodeRow

bucket_table: Any = MapBucketRow.__table__  # type: ignore[attr-defined]
node_table: Any = MapNodeRow.__table__  # type: ignore[attr-defined]

_Key = TypeVar("_Key")


class MapRows:
    """Reads the map through one connection; its methods are the getters of the pure core."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.present: set[int] = set()
        """Numbers of the buckets that were asked for and have a row."""

    def get_buckets(self, numbers: Sequence[int]) -> list[bytes]:
        """Contents of buckets in the order asked, in one query."""
        found = dict(self._select(bucket_table.name, "", numbers))
        self.present.update(found)
        return [found.get(number, b"") for number in numbers]

    def get_tiles(self, tiles: Sequence[Tile]) -> list[bytes]:
        """Tiles in the order asked, in one query for each level."""
        found: dict[tuple[int, int], bytes] = {}
        for level in dict.fromkeys(tile.level for tile in tiles):
            numbers = [tile.n for tile in tiles if tile.level == level]
            rows = self._select(node_table.name, f"level = {level:d} AND ", numbers)
            found |= {(level, n): data for n, data in rows}
        return [found.get((tile.level, tile.n), b"") for tile in tiles]

    def _select(self, table: str, where: str, numbers: Sequence[int]) -> list[tuple[int, bytes]]:
        # All numbers travel as one parameter; a list of thousands would be compiled every time.
        wanted: list[int] | str
        if self._connection.dialect.name == "postgresql":
            chosen, wanted = "= ANY(%s::bigint[])", list(numbers)
        else:
            chosen, wanted = "IN (SELECT value FROM json_each(?))", json.dumps(list(numbers))
        query = f"SELECT n, data FROM {table} WHERE {where}n {chosen}"  # noqa: S608
        # The driver's own tuples: SQLAlchemy's rows would take as long again as the query.
        result: Any = self._connection.exec_driver_sql(query, (wanted,))
        rows: list[tuple[int, bytes]] = result.cursor.fetchall()
        result.close()
        return rows


def apply_changes(
    connection: Connection, bucket_bits: int, changes: Changes, *, committed: bytes
) -> MapUpdate:
    """Carry changes out in the stored map; the caller commits.

    ``committed`` is the root that the newest index-root entry names (``empty_root`` before the
    first). Whatever the change reads must add up to it.
    """
    rows = MapRows(connection)
    done = update(rows.get_buckets, rows.get_tiles, bucket_bits, changes)
    if done.root_before != committed:
        raise IntegrityError("the stored heads map is not the one of the newest index-root")
    fresh = [(n, data) for n, data in done.buckets.items() if n not in rows.present]
    changed = [(data, n) for n, data in done.buckets.items() if n in rows.present]
    insert_rows(connection, bucket_table, ("n", "data"), fresh)
    update_rows(connection, bucket_table, ("data",), "n", changed)
    upsert(
        connection,
        node_table,
        [{"level": level, "n": n, "data": data} for (level, n), data in done.tiles.items()],
    )
    return done


def stored_root(connection: Connection, bucket_bits: int) -> bytes:
    """Root as the stored top tile says."""
    return map_root(MapRows(connection).get_tiles, bucket_bits)


def subject_proof(connection: Connection, bucket_bits: int, subject_key: bytes) -> SubjectProof:
    """Proof of presence or absence in the stored map; read it in one transaction with its root."""
    rows = MapRows(connection)
    return prove_subject(rows.get_buckets, rows.get_tiles, bucket_bits, subject_key)


def differences(connection: Connection, rebuilt: MapUpdate) -> Iterator[str]:
    """Where the stored map is not the ``rebuilt`` one, a line for each bucket or tile."""
    stored = connection.execute(select(bucket_table.c.n, bucket_table.c.data))
    for number, word in _compared(((n, data) for n, data in stored), rebuilt.buckets):
        yield f"heads map bucket {number} is {word}"
    stored = connection.execute(select(node_table.c.level, node_table.c.n, node_table.c.data))
    tiles = (((level, n), data) for level, n, data in stored)
    for (level, number), word in _compared(tiles, rebuilt.tiles):
        yield f"heads map tile {level}/{number} is {word}"


def _compared(
    stored: Iterator[tuple[_Key, bytes]], expected: Mapping[_Key, bytes]
) -> Iterator[tuple[_Key, str]]:
    seen = set()
    for key, data in stored:
        seen.add(key)
        if key not in expected:
            yield key, "not part of the map"
        elif expected[key] != data:
            yield key, "not what the entries lead to"
    for key in expected:
        if key not in seen:
            yield key, "missing"
