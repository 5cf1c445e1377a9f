"""Writers at the same time: the second waits for the first, and the log never forks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Engine, create_engine, event, select

from ledger.errors import StorageError
from ledger.log.merkle import CompactRange
from ledger.store.engine import open_engine, reading, writing
from ledger.store.log_rows import entry_table, head_table, link_table, read_head
from tests.store.rows import Item, add, append, items, locked

WRITERS, BATCHES, PER_BATCH = 3, 8, 5


def work(writer: int) -> list[list[Item]]:
    """Batches that no other writer has, all under the same subjects."""
    own = [
        Item(b"writer %d " % writer + item.body, item.subjects, item.received_ms, item.plain)
        for item in items(BATCHES * PER_BATCH)
    ]
    return [own[at : at + PER_BATCH] for at in range(0, len(own), PER_BATCH)]


def test_writers_in_threads_never_fork(engine: Engine, database: str) -> None:
    """Each with an engine of its own, as processes have; PostgreSQL is the one that is meant so."""
    start = threading.Barrier(WRITERS)

    def write(writer: int) -> list[tuple[int, bytes]]:
        own = open_engine(database)
        start.wait()
        places = [place for batch in work(writer) for place in append(own, batch)]
        own.dispose()
        return places

    with ThreadPoolExecutor(WRITERS) as pool:
        results = list(pool.map(write, range(WRITERS)))
    places = dict(place for result in results for place in result)
    total = WRITERS * BATCHES * PER_BATCH
    assert sorted(places) == list(range(total))
    for result in results:
        assert [index for index, _ in result] == sorted(index for index, _ in result)
    with reading(engine) as connection:
        head = read_head(connection)
        hashes: dict[int, bytes] = dict(
            connection.execute(select(entry_table.c.idx, entry_table.c.leaf_hash)).all()
        )
        links = connection.execute(select(link_table)).all()
    assert hashes == places
    assert head.frontier == CompactRange().extend([places[index] for index in range(total)])
    by_subject: dict[bytes, list[int]] = {}
    for subject, seq, index in sorted(links):
        assert seq == len(by_subject.setdefault(subject, []))
        by_subject[subject].append(index)
    assert all(chain == sorted(chain) for chain in by_subject.values())


def test_second_writer_waits_and_builds_on_the_first(engine: Engine, database: str) -> None:
    append(engine, items(2))
    entered = threading.Event()

    def second() -> int:
        own = open_engine(database)
        entered.set()
        with writing(own) as connection:
            size = locked(connection).head.size
        own.dispose()
        return size

    with ThreadPoolExecutor(1) as pool:
        with writing(engine) as connection:
            appender = locked(connection)
            future = pool.submit(second)
            assert entered.wait(10)
            add(appender, items(3)[2:])
            appender.flush()
            assert not future.done()
        assert future.result(30) == 3


def test_writer_that_fails_lets_the_next_one_on(engine: Engine, database: str) -> None:
    other = open_engine(database)

    def fail() -> None:
        with writing(engine) as connection:
            locked(connection)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    append(other, items(1))
    other.dispose()


def test_reader_neither_waits_for_a_writer_nor_sees_its_work(engine: Engine, database: str) -> None:
    append(engine, items(2))
    with writing(engine) as connection:
        appender = locked(connection)
        add(appender, items(3)[2:])
        appender.flush()
        with reading(engine) as other:
            assert read_head(other).size == 2


def test_writer_on_sqlite_takes_the_lock_before_it_reads(sqlite_engine: Engine) -> None:
    """Or two would read the same head, and the second one's commit would fail at the end."""
    impatient = create_engine(sqlite_engine.url, connect_args={"timeout": 0})
    with writing(sqlite_engine) as connection:
        connection.execute(select(head_table.c.size)).first()
        with (
            impatient.connect() as other,
            pytest.raises(Exception, match="database is locked"),
        ):
            other.exec_driver_sql("BEGIN IMMEDIATE")
    impatient.dispose()


def test_connections_are_renewed_after_a_fault(sqlite_engine: Engine) -> None:
    """SQLite's own keep a lock that the system did not let them give up."""
    made: list[object] = []
    event.listen(sqlite_engine, "connect", lambda connection, _: made.append(connection))
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert made == []
    with pytest.raises(StorageError), writing(sqlite_engine) as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")
    with writing(sqlite_engine) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert len(made) == 1
    with pytest.raises(StorageError), reading(sqlite_engine) as connection:
        connection.exec_driver_sql("SELECT * FROM nothing")
    with reading(sqlite_engine) as connection:
        connection.exec_driver_sql("SELECT 1")
    assert len(made) == 2
