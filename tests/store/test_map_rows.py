"""The stored heads map on both engines."""

import contextlib
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import Engine, delete, event, insert, select, update
from sqlmodel import SQLModel

from ledger.errors import IntegrityError
from ledger.log import headsmap
from ledger.log.headsmap import Row
from ledger.log.headsmap_update import MapInMemory, rebuild
from ledger.store.engine import open_engine, reading, writing
from ledger.store.map_rows import (
    MapRows,
    apply_changes,
    bucket_table,
    differences,
    node_table,
    stored_root,
    subject_proof,
)

BITS = 9
EMPTY = headsmap.empty_root(BITS)

ENGINES = ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        database = str(tmp_path / "ledger.db")
    else:
        database = request.getfixturevalue("postgres_database")
    opened = open_engine(database)
    SQLModel.metadata.create_all(opened, tables=[bucket_table, node_table])
    yield opened
    opened.dispose()


def key(number: int) -> bytes:
    return sha256(b"subject %d" % number).digest()


def changes(numbers: range, count: int) -> dict[bytes, tuple[int, bytes]]:
    return {key(n): (count, sha256(b"%d %d" % (n, count)).digest()) for n in numbers}


def carry_out(engine: Engine, numbers: range, count: int, committed: bytes) -> bytes:
    with writing(engine) as connection:
        done = apply_changes(connection, BITS, changes(numbers, count), committed=committed)
    return done.root


def test_stored_map_is_the_one_in_memory_after_every_change(engine: Engine) -> None:
    kept = MapInMemory(BITS)
    root = EMPTY
    for numbers, count in [(range(50), 1), (range(20, 700), 2), (range(0), 3), (range(5), 4)]:
        root = carry_out(engine, numbers, count, root)
        assert root == kept.apply(changes(numbers, count)).root
        with reading(engine) as connection:
            assert stored_root(connection, BITS) == root
            assert dict(map(tuple, connection.execute(select(bucket_table)))) == kept.buckets
            tiles = {(level, n): data for level, n, data in connection.execute(select(node_table))}
            assert tiles == kept.tiles


def test_presence_and_absence_are_proved_from_rows(engine: Engine) -> None:
    root = carry_out(engine, range(30), 1, EMPTY)
    with reading(engine) as connection:
        for number in (0, 29, 30, 31):
            bucket, path = subject_proof(connection, BITS, key(number))
            row = headsmap.verify_subject(root, BITS, key(number), bucket, path)
            heads = changes(range(30), 1)
            assert row == (Row(key(number), *heads[key(number)]) if number < 30 else None)


def test_an_empty_store_is_the_empty_map(engine: Engine) -> None:
    with reading(engine) as connection:
        assert stored_root(connection, BITS) == EMPTY
        assert MapRows(connection).get_buckets([]) == []
        bucket, path = subject_proof(connection, BITS, key(0))
        assert headsmap.verify_subject(EMPTY, BITS, key(0), bucket, path) is None
        assert list(differences(connection, rebuild(BITS, []))) == []


def test_getters_keep_the_order_asked(engine: Engine) -> None:
    carry_out(engine, range(30), 1, EMPTY)
    numbers = sorted({headsmap.bucket_of(key(n), BITS) for n in range(3)}, reverse=True)
    with reading(engine) as connection:
        rows = MapRows(connection)
        found = rows.get_buckets(numbers)
        for number, data in zip(numbers, found, strict=True):
            assert headsmap.decode_bucket(data, number, BITS)


def test_an_exception_before_the_commit_leaves_the_map_as_it_was(engine: Engine) -> None:
    root = carry_out(engine, range(30), 1, EMPTY)
    with contextlib.suppress(ZeroDivisionError), writing(engine) as connection:
        apply_changes(connection, BITS, changes(range(60), 2), committed=root)
        raise ZeroDivisionError
    with reading(engine) as connection:
        assert stored_root(connection, BITS) == root
        made = rebuild(BITS, ((k, c, h) for k, (c, h) in changes(range(30), 1).items()))
        assert list(differences(connection, made)) == []


def test_a_map_that_is_not_the_committed_one_is_not_built_upon(engine: Engine) -> None:
    root = carry_out(engine, range(30), 1, EMPTY)
    with pytest.raises(IntegrityError, match="index-root"):
        carry_out(engine, range(30), 2, EMPTY)
    with reading(engine) as connection:
        assert stored_root(connection, BITS) == root


@pytest.mark.parametrize("table", [bucket_table, node_table], ids=lambda table: table.name)
def test_lost_rows_are_an_integrity_error_and_named_by_a_check(
    engine: Engine, table: object
) -> None:
    root = carry_out(engine, range(30), 1, EMPTY)
    with writing(engine) as connection:
        connection.execute(delete(table))  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        carry_out(engine, range(30), 2, root)
    made = rebuild(BITS, ((k, c, h) for k, (c, h) in changes(range(30), 1).items()))
    with reading(engine) as connection:
        lines = list(differences(connection, made))
    lost = made.buckets if table is bucket_table else made.tiles
    assert len(lines) == len(lost)
    assert all(line.endswith("missing") for line in lines)


def test_differences_name_altered_and_additional_rows(engine: Engine) -> None:
    carry_out(engine, range(1), 1, EMPTY)
    number = headsmap.bucket_of(key(0), BITS)
    other = (number + 1) % 2**BITS
    with writing(engine) as connection:
        connection.execute(update(bucket_table).values(data=b"altered"))
        connection.execute(insert(bucket_table).values(n=other, data=b"added"))
        connection.execute(insert(node_table).values(level=3, n=0, data=b"added"))
    made = rebuild(BITS, ((k, c, h) for k, (c, h) in changes(range(1), 1).items()))
    with reading(engine) as connection:
        assert sorted(differences(connection, made)) == sorted(
            [
                f"heads map bucket {number} is not what the entries lead to",
                f"heads map bucket {other} is not part of the map",
                "heads map tile 3/0 is not part of the map",
            ]
        )


def test_any_number_of_buckets_is_read_in_one_query(engine: Engine) -> None:
    carry_out(engine, range(2_000), 1, EMPTY)
    queries: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *given: queries.append(given[2]))
    with reading(engine) as connection:
        contents = MapRows(connection).get_buckets(range(2**BITS))
    assert sum(map(len, contents)) == 2_000 * headsmap.ROW_SIZE
    assert len([query for query in queries if query.startswith("SELECT n, data")]) == 1
