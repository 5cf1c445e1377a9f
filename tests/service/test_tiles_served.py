"""The tiles of a large log as they are served: the example of C2SP tlog-tiles, 70,000 entries.

Only the rows that serving looks at are made; that they are what appends make is tested elsewhere.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, insert

from ledger.errors import IntegrityError, Reason, Refused
from ledger.log import merkle, tiles
from ledger.service.history import tile
from ledger.store.log_rows import entry_table, tile_table
from tests.log import oracle

SIZE = 70_000
GROWN = SIZE + 300
"""Entries that no checkpoint covers yet have made the last tiles wider."""


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    stored = tiles.grow({}, 0, oracle.leaves(GROWN))
    rows = [{"level": level, "n": n, "data": data} for (level, n), data in stored.items()]
    with engine.connect() as connection:
        for table in (tile_table, entry_table):
            table.create(connection)
        connection.execute(insert(tile_table), rows)
        yield connection
    engine.dispose()


def served(connection: Connection, path: str, size: int = SIZE) -> bytes:
    return tile(connection, path, size)


def test_the_tiles_are_those_of_the_standards_example(connection: Connection) -> None:
    widths = [
        *((f"0/{n:03d}", 256) for n in (0, 1, 272)),
        ("0/273.p/112", 112),
        ("1/000", 256),
        ("1/001.p/17", 17),
        ("2/000.p/1", 1),
    ]
    for path, width in widths:
        assert len(served(connection, path)) == 32 * width
    top = merkle.split_hashes(served(connection, "2/000.p/1"))
    assert top[0] == merkle.root_from_leaves(merkle.split_hashes(served(connection, "1/000")))
    frontier = [top[0], *merkle.split_hashes(served(connection, "1/001.p/17"))]
    assert len(frontier) == 18
    first = merkle.root_from_leaves(merkle.split_hashes(served(connection, "0/256")))
    assert first == frontier[1]


@pytest.mark.parametrize(
    "path",
    ["0/273.p/113", "0/273.p/255", "0/273", "0/274.p/1", "1/001.p/18", "1/001", "1/002.p/1",
     "2/000.p/2", "2/000", "2/001.p/1", "3/000.p/1", "3/000", "6/000.p/1", "63/000.p/1"],
)  # fmt: skip
def test_what_the_example_does_not_have_is_not_served(connection: Connection, path: str) -> None:
    """Also where the row has grown past the checkpoint by now."""
    with pytest.raises(Refused) as caught:
        served(connection, path)
    assert caught.value.reason is Reason.TILE_UNKNOWN


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65_535, 65_536, 65_537, SIZE, GROWN])
def test_root_of_every_size_comes_out_of_the_tiles_that_are_served(
    connection: Connection, size: int
) -> None:
    """A partial tile of a former size is a prefix of what is stored now."""
    leaves = oracle.leaves(size)
    rows: list[bytes] = leaves
    for level, full, partial in tiles.tiles_for_size(size):
        found = b""
        for n, width in [*((n, 256) for n in range(full)), (full, partial)]:
            if width:
                path = tiles.tile_path(level, n, width).removeprefix("tile/")
                found += served(connection, path, size)
        assert found == b"".join(rows)
        rows = [merkle.root_from_leaves(rows[at : at + 256]) for at in range(0, 256 * full, 256)]


@pytest.mark.parametrize("path", ["0/000.p/5", "0/000", "1/000.p/2", "entries/000.p/3"])
def test_row_that_is_missing_or_too_short_stops_the_service(path: str) -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as empty:
        for table in (tile_table, entry_table):
            table.create(empty)
        with pytest.raises(IntegrityError):
            served(empty, path)
        rows = [{"level": level, "n": 0, "data": bytes(32)} for level in (0, 1)]
        empty.execute(insert(tile_table), rows)
        with pytest.raises(IntegrityError):
            served(empty, path)
    engine.dispose()
