"""The log's rows: any split into batches gives the same, and it is what RFC 6962 says."""

from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from sqlalchemy import Engine, delete, select, update

from ledger.errors import IntegrityError, StorageError
from ledger.log.chain import decode_leaf, leaf_hash
from ledger.log.merkle import CompactRange
from ledger.log.tiles import tiles_for_size
from ledger.store.engine import open_engine, reading, writing
from ledger.store.log_rows import (
    entry_table,
    head_table,
    link_table,
    read_head,
    subject_table,
    tile_table,
    update_head,
    upsert,
)
from ledger.store.schema import migrate
from ledger.values import ZERO_DIGEST, subject_key
from tests.log import oracle
from tests.store.rows import SUBJECTS, add, append, dump, items, locked

MANY = 600
"""Past two full tiles of level 0, and into the first of level 1."""


def test_entries_in_one_batch_equal_entries_one_by_one(engine: Engine, tmp_path: Path) -> None:
    batch = items(40)
    append(engine, batch)
    other = open_engine(str(tmp_path / "one-by-one.db"))
    migrate(other)
    for item in batch:
        append(other, [item])
    assert dump(engine) == dump(other)
    other.dispose()


@settings(max_examples=8)
@given(cuts=some.lists(some.integers(0, 300), max_size=6))
def test_any_split_into_batches_gives_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("split")
    batch = items(300)
    engines = [open_engine(str(folder / name)) for name in ("whole.db", "parts.db")]
    for engine in engines:
        migrate(engine)
    append(engines[0], batch)
    edges = [0, *sorted(cuts), len(batch)]
    for begin, end in pairwise(edges):
        append(engines[1], batch[begin:end])
    assert dump(engines[0]) == dump(engines[1])
    for engine in engines:
        engine.dispose()


def test_frontier_and_root_equal_the_naive_tree(engine: Engine) -> None:
    places = append(engine, items(200)) + append(engine, items(401)[200:])
    with reading(engine) as connection:
        head = read_head(connection)
    hashes = [hashed for _, hashed in places]
    assert [index for index, _ in places] == list(range(401))
    assert head.size == 401
    assert head.frontier.root() == oracle.root(hashes)
    assert head.frontier == CompactRange().extend(hashes)


def test_tiles_hold_exactly_the_complete_nodes_of_the_naive_tree(engine: Engine) -> None:
    batch = items(MANY)
    hashes = [
        hashed
        for part in (batch[:255], batch[255:256], batch[256:], [])
        for _, hashed in append(engine, part)
    ]
    with reading(engine) as connection:
        stored = {(row.level, row.n): row.data for row in connection.execute(select(tile_table))}
    expected = {}
    for level, rows in enumerate([hashes, _above(hashes)]):
        for at in range(0, len(rows), 256):
            expected[level, at // 256] = b"".join(rows[at : at + 256])
    assert stored == expected
    assert len(tiles_for_size(MANY)) == 2


def _above(hashes: list[bytes]) -> list[bytes]:
    whole = len(hashes) // 256 * 256
    return [oracle.root(hashes[at : at + 256]) for at in range(0, whole, 256)]


def test_each_subject_has_a_chain_of_its_own(engine: Engine) -> None:
    append(engine, items(25))
    append(engine, items(60)[25:])
    chains: dict[bytes, tuple[int, bytes]] = {}
    with reading(engine) as connection:
        rows = connection.execute(select(entry_table).order_by(entry_table.c.idx)).mappings().all()
        links = {(r.subject, r.seq): r.idx for r in connection.execute(select(link_table))}
        subjects = {r["subject"]: r for r in connection.execute(select(subject_table)).mappings()}
    for row in rows:
        assert leaf_hash(row["leaf"]) == row["leaf_hash"]
        leaf = decode_leaf(row["leaf"])
        assert (leaf.kind, leaf.received_ms) == (row["kind"], row["received_ms"])
        assert leaf.statement_digest == sha256(row["body"]).digest()
        for link in leaf.links:
            assert (link.seq, link.prev) == chains.get(link.subject, (0, ZERO_DIGEST))
            assert links.pop((link.subject, link.seq)) == row["idx"]
            chains[link.subject] = (link.seq + 1, row["leaf_hash"])
    assert links == {}
    assert {key: (row["count"], row["head"]) for key, row in subjects.items()} == chains
    assert {(row["kind"], row["ident"]) for row in subjects.values()} == {
        (kind.value, ident) for kind, ident in SUBJECTS
    }


def test_subjects_of_one_name_and_different_kind_are_different() -> None:
    keys = {subject_key(kind, b"same") for kind, _ in SUBJECTS}
    assert len(keys) == len({kind for kind, _ in SUBJECTS})


def test_appender_without_entries_writes_nothing(engine: Engine) -> None:
    append(engine, items(3))
    before = dump(engine)
    append(engine, [])
    assert dump(engine) == before


def test_exception_before_the_commit_leaves_nothing(engine: Engine) -> None:
    append(engine, items(10))
    before = dump(engine)

    def fail_after_flush() -> None:
        with writing(engine) as connection:
            appender = locked(connection)
            add(appender, items(30)[10:])
            appender.flush()
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        fail_after_flush()
    assert dump(engine) == before
    append(engine, items(30)[10:])
    with reading(engine) as connection:
        assert read_head(connection).size == 30


def test_statement_of_known_content_is_a_storage_error_and_leaves_nothing(engine: Engine) -> None:
    append(engine, items(10))
    before = dump(engine)
    with pytest.raises(StorageError):
        append(engine, [*items(12)[10:], items(1)[0]])
    assert dump(engine) == before
    append(engine, items(12)[10:])


def test_index_taken_by_a_stray_row_is_a_storage_error(engine: Engine) -> None:
    append(engine, items(4))
    with writing(engine) as connection:
        connection.execute(update(entry_table).where(entry_table.c.idx == 3).values(idx=4))
    with pytest.raises(StorageError):
        append(engine, items(5)[4:])


def test_many_heartbeats_share_no_content_digest(engine: Engine) -> None:
    """NULL is not equal to NULL in a unique column, on either engine."""
    append(engine, [item for item in items(40) if not item.plain])
    with reading(engine) as connection:
        assert read_head(connection).size == 20


def test_received_time_of_the_head_is_that_of_the_last_entry(engine: Engine) -> None:
    append(engine, items(10))
    with reading(engine) as connection:
        assert read_head(connection).received_ms == items(10)[-1].received_ms


def test_head_that_contradicts_its_range_is_refused(engine: Engine) -> None:
    append(engine, items(10))
    with writing(engine) as connection:
        update_head(connection, size=9)
    with pytest.raises(IntegrityError, match="compact range"), reading(engine) as connection:
        read_head(connection)


@pytest.mark.parametrize("column", ["frontier", "published_frontier"])
def test_head_with_a_mutilated_range_is_refused(engine: Engine, column: str) -> None:
    append(engine, items(10))
    with writing(engine) as connection:
        update_head(connection, **{column: b"\x00" * 9})
    with pytest.raises(IntegrityError), reading(engine) as connection:
        read_head(connection)


def test_missing_head_is_refused(engine: Engine) -> None:
    with writing(engine) as connection:
        connection.execute(delete(head_table))
    with pytest.raises(IntegrityError, match="no head row"):
        append(engine, items(1))


def test_upsert_inserts_and_overwrites_by_primary_key(engine: Engine) -> None:
    rows = [{"level": 0, "n": 5, "data": b"old"}, {"level": 0, "n": 6, "data": b"six"}]
    with writing(engine) as connection:
        upsert(connection, tile_table, rows)
        upsert(connection, tile_table, [{"level": 0, "n": 5, "data": b"new"}])
        upsert(connection, tile_table, [])
    assert dump(engine)["tiles"] == [(0, 5, b"new"), (0, 6, b"six")]


def test_bytes_of_any_value_come_back_as_they_were(engine: Engine) -> None:
    """COPY's text form has characters of its own (backslash, tab, newline, nothing)."""
    odd = [bytes(range(256)), b"\\N", b"\\.", b"\t\n\r\\", b"", b"\x00"]
    batch = [
        item.__class__(body, item.subjects, 5) for item, body in zip(items(6), odd, strict=True)
    ]
    append(engine, batch)
    assert [row[5] for row in dump(engine)["entries"]] == odd


def test_reading_sees_one_state_while_others_append(engine: Engine) -> None:
    append(engine, items(3))
    with reading(engine) as connection:
        before = read_head(connection)
        append(engine, items(6)[3:])
        assert read_head(connection) == before
        assert len(connection.execute(select(entry_table.c.idx)).all()) == 3
    with reading(engine) as connection:
        assert read_head(connection).size == 6
