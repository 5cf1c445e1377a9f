"""Faults in the middle of work: stop for good, or keep nothing and go on later."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from ledger.errors import IntegrityError, Refused, StorageError
from ledger.registry.apply import apply
from ledger.service.check import check_ledger
from ledger.service.node import Node
from ledger.service.views import Receipt
from ledger.store.engine import writing
from ledger.store.log_rows import entry_table
from tests.service.harness import Stage, found, founded, open_node
from tests.service.storied import flipped
from tests.world import SINGAPORE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path, chips=2)
    yield stage
    stage.node.close()


def sql(node: Node, statement: str, **values: Any) -> None:
    with writing(node._engine) as connection:
        assert connection.execute(text(statement), values).rowcount


def spoil(node: Node, index: int, column: str) -> None:
    """Flip a bit of a stored entry behind the node's back."""
    with writing(node._engine) as connection:
        row = (
            connection.execute(entry_table.select().where(entry_table.c.idx == index))
            .mappings()
            .one()
        )
        connection.execute(
            entry_table.update()
            .where(entry_table.c.idx == index)
            .values(**{column: flipped(row[column], 40)})
        )


# -- stop for good --------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["leaf", "body"])
def test_nothing_is_signed_over_a_spoilt_entry_and_the_node_stops(
    stage: Stage, column: str
) -> None:
    stage.node.publish()
    before = stage.node.checkpoint()
    receipt = stage.take(stage.token(stage.chips[0]))[0]
    stage.take(stage.token(stage.chips[1]))
    spoil(stage.node, receipt.index, column)
    with pytest.raises(IntegrityError):
        stage.node.publish()
    assert stage.node.checkpoint() == before
    _stopped(stage, f"entr(y|ies) {receipt.index}")


def _stopped(stage: Stage, says: str) -> None:
    """Every way in refuses, with the reason that readiness gives too."""
    reason = stage.node.ready()
    assert reason is not None
    attempts: list[Callable[[], object]] = [
        lambda: stage.node.submit([b"junk"]),
        lambda: stage.node.set_time(stage.world.now_ms + 5),
        lambda: stage.node.follow(),
        lambda: stage.node.publish(),
        lambda: stage.node.tick(),
        lambda: stage.node.epoch(),
    ]
    for attempt in attempts:
        with pytest.raises(IntegrityError, match=says):
            attempt()


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)", "is missing"),
        ("DELETE FROM entries WHERE idx = (SELECT published_size FROM log_head)", "is missing"),
        ("UPDATE log_head SET frontier = published_frontier", "compact range"),
        (
            "UPDATE log_head SET published_frontier = CAST(substr(published_frontier, 1, 8)"
            " || zeroblob(length(published_frontier) - 8) AS BLOB)",
            "tree's root",
        ),
        ("DELETE FROM log_head", "no head row"),
    ],
)
def test_log_that_contradicts_itself_is_not_signed(stage: Stage, statement: str, says: str) -> None:
    stage.node.publish()
    before = stage.node.checkpoint()
    stage.take(*(stage.token(stage.chips[0]) for _ in range(3)))
    sql(stage.node, statement)
    with pytest.raises(IntegrityError, match=says):
        stage.node.publish()
    assert stage.node.checkpoint() == before
    _stopped(stage, says)


def test_spoilt_statement_stops_the_verifier(stage: Stage) -> None:
    stage.node.follow()
    receipt = stage.take(stage.token(stage.chips[0], place=SINGAPORE))[0]
    spoil(stage.node, receipt.index, "body")
    with pytest.raises(IntegrityError, match=f"entry {receipt.index}"):
        stage.node.follow()
    _stopped(stage, f"entry {receipt.index}")


def test_withheld_statement_stops_the_verifier(stage: Stage) -> None:
    receipt = stage.take(stage.token(stage.chips[0]))[0]
    sql(stage.node, f"UPDATE entries SET body = NULL WHERE idx = {receipt.index}")
    with pytest.raises(IntegrityError, match="withheld"):
        stage.node.follow()


def test_stopped_node_still_answers_questions_and_closes(stage: Stage, tmp_path: Path) -> None:
    stage.node.publish()
    receipt = stage.take(stage.token(stage.chips[0]))[0]
    spoil(stage.node, receipt.index, "leaf")
    with pytest.raises(IntegrityError):
        stage.node.publish()
    assert stage.node.status().size == receipt.index + 1
    assert stage.node.checkpoint() is not None
    assert stage.node.passport(stage.chips[0].ueid)["state"] == "active"
    stage.node.close()
    assert not check_ledger(str(tmp_path / "ledger.db")).sound


def test_row_that_cannot_be_read_is_not_blamed_on_the_sender(stage: Stage, tmp_path: Path) -> None:
    stage.node.close()
    stage.node = open_node(tmp_path)
    sql(stage.node, "UPDATE chips SET cose_key = zeroblob(3)")
    with pytest.raises(IntegrityError, match="damaged"):
        stage.node.submit([stage.token(stage.chips[0])])
    assert stage.node.ready() is not None


# -- a full disk ----------------------------------------------------------------------------------


def limit_pages(engine: Engine, spare: int) -> Callable[[], None]:
    """Let the database file grow by so many pages only; returns how to lift that."""
    with engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    limit = {"pages": int(pages or 0) + spare}

    def apply(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count={limit['pages']}")
        cursor.close()

    event.listen(engine, "checkout", apply)

    def lift() -> None:
        limit["pages"] = 2**30

    return lift


def test_full_disk_keeps_nothing_of_the_batch_and_the_node_goes_on(
    stage: Stage, tmp_path: Path
) -> None:
    stage.beat(stage.chips[0])
    lift = limit_pages(stage.node._engine, 2)
    rejected = None
    for _ in range(200):
        before = stage.node.status().size
        tokens = [stage.world.licence(id=f"L-{before + n}") for n in range(5)]
        try:
            stage.node.submit(tokens)
        except StorageError:
            rejected = tokens
            break
    assert rejected is not None
    assert stage.node.status().size == before
    assert stage.node.ready() == "the last write failed: database or disk is full"
    with pytest.raises(StorageError, match="full"):
        stage.node.submit(rejected)
    assert stage.node.status().size == before
    lift()
    assert stage.node.ready() == "the last write failed: database or disk is full"
    assert all(isinstance(result, Receipt) for result in stage.node.submit(rejected))
    assert stage.node.ready() is None
    stage.beat(stage.chips[0])
    stage.hours()
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_full_disk_while_the_clock_moves_leaves_it_to_be_moved_again(
    stage: Stage, tmp_path: Path
) -> None:
    lift = limit_pages(stage.node._engine, 0)
    target = stage.world.now_ms + 48 * 3_600_000
    with pytest.raises(StorageError, match="full"):
        stage.node.set_time(target)
    assert stage.node.ready() == "the last write failed: database or disk is full"
    lift()
    stage.node.set_time(target)
    assert stage.node.ready() is None
    assert stage.node.epoch().counter == 48
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_node_that_nobody_writes_to_finds_out_that_there_is_room_again(stage: Stage) -> None:
    """Or it would be kept out of service for as long as nobody may ask it."""
    stage.node.publish()
    lift = limit_pages(stage.node._engine, 0)
    with pytest.raises(StorageError, match="full"):
        stage.node.submit([stage.world.licence(id=f"L-{number + 2}") for number in range(100)])
    size = stage.node.status().size
    assert stage.node.ready() == "the last write failed: database or disk is full"
    stage.node.submit([b"junk"])  # what is refused writes nothing and tells nothing
    assert stage.node.ready() is not None
    lift()
    stage.node.tick()
    assert stage.node.ready() is None
    assert stage.node.status().size == size


def test_full_disk_at_the_end_lets_go_of_the_file_all_the_same(
    stage: Stage, tmp_path: Path
) -> None:
    for _ in range(40):
        stage.beat(stage.chips[0])
    lift = limit_pages(stage.node._engine, 0)
    with suppress(StorageError):
        for _ in range(60):
            stage.beat(stage.chips[0])
    with suppress(StorageError):
        stage.node.close()
    lift()
    again = open_node(tmp_path)
    again.follow()
    again.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


SMALL_FILES = """
import sys
from pathlib import Path
from ledger.errors import StorageError
from tests.service.harness import Stage, found, founded, open_node
stage = found(open_node(Path(sys.argv[1])), chips=1)
import resource
path = Path(sys.argv[1]) / "ledger.db-wal"
limit = path.stat().st_size + 60_000
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
taken = stage.node.status().size
for number in range(500):
    try:
        stage.take(stage.world.licence(id=f"L-{number + 2}"))
        taken += 1
    except StorageError as error:
        print("full:", error)
        break
print(stage.node.status().size - taken, stage.node.ready())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
stage.take(stage.world.licence(id="L-again"))
stage.hours()
stage.node.close()
print("done")
"""


@pytest.mark.faults
def test_file_that_may_not_grow_is_a_storage_error(tmp_path: Path) -> None:
    """The operating system refuses the write itself, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", SMALL_FILES, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("full: "), (done.stdout, done.stderr)
    said = lines[0].removeprefix("full: ")
    assert lines[1:] == [f"0 the last write failed: {said}", "done"], (done.stdout, done.stderr)
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


KILLED = """
import os, sys
from pathlib import Path
from tests.service.harness import found, open_node
stage = found(open_node(Path(sys.argv[1])), chips=1)
print("ready", flush=True)
while True:
    (receipt,) = stage.take(stage.token(stage.chips[0]))
    print(receipt.index, receipt.leaf_hash.hex(), flush=True)
"""


@pytest.mark.faults
@pytest.mark.parametrize("after", [1, 7, 30])
def test_everything_acknowledged_before_a_kill_is_kept(tmp_path: Path, after: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        acknowledged = [process.stdout.readline().split() for _ in range(after)]
        process.kill()
        rest = [line.split() for line in process.stdout if line.endswith("\n")]
    node = open_node(tmp_path)
    with writing(node._engine) as connection:
        stored = {
            str(row["idx"]): row["leaf_hash"].hex()
            for row in connection.execute(entry_table.select()).mappings()
        }
    for index, leaf_hash in [*acknowledged, *rest]:
        assert stored[index] == leaf_hash
    node.follow()
    node.publish()
    node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


# -- exceptions in odd places ---------------------------------------------------------------------


@pytest.mark.parametrize("at", ["flush", "append", "prefetch"])
def test_exception_within_a_batch_keeps_nothing_in_memory_either(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """What the node remembers of chips and chains must not run ahead of the database."""
    (chip, other) = stage.chips
    stage.take(stage.token(chip), stage.token(other))
    before = stage.node.status()

    def fail(*_arguments: object) -> None:
        raise RuntimeError("out of memory")

    first, second = stage.token(chip), stage.token(chip)
    if at == "append":
        monkeypatch.setattr("ledger.service.sequence.apply", _fail_second(fail))
    else:
        monkeypatch.setattr(f"ledger.service.sequence.Batch.{at}", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        stage.node.submit([first, second])
    monkeypatch.undo()
    assert stage.node.status() == before
    stage.take(first, second)
    stage.hours()
    stage.node.close()
    assert check_ledger(stage.node.settings.database).faults == []


def _fail_second(fail: Callable[..., None]) -> Callable[..., None]:
    calls = iter([apply, fail])

    def wrapper(*arguments: Any) -> None:
        next(calls)(*arguments)

    return wrapper


def test_batch_that_was_refused_whole_costs_no_transaction(stage: Stage) -> None:
    before = stage.node.status()
    results = stage.node.submit([b"", b"\x00", stage.token(stage.world.chip(9))])
    assert all(isinstance(result, Refused) for result in results)
    assert stage.node.status() == before


# -- threads --------------------------------------------------------------------------------------


def test_threads_of_one_node_take_turns(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=6)
    stop = threading.Event()

    def report(number: int) -> list[int]:
        chip = stage.chips[number]
        return [stage.take(stage.token(chip))[0].index for _ in range(15)]

    def read() -> int:
        questions = 0
        while not stop.is_set():
            stage.node.passport(stage.chips[0].ueid)
            stage.node.history(stage.chips[1].ueid, None, 50)
            stage.node.status()
            stage.node.follow()
            stage.node.publish()
            questions += 1
        return questions

    with ThreadPoolExecutor(7) as pool:
        reader = pool.submit(read)
        results = list(pool.map(report, range(6)))
        stop.set()
        assert reader.result() > 0
    indices = [index for result in results for index in result]
    assert len(set(indices)) == 90
    assert all(result == sorted(result) for result in results)
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_nodes_of_two_processes_append_to_one_log(two_nodes: tuple[Node, Node]) -> None:
    """Each remembers chips and chains only while nobody else writes."""
    first, second = two_nodes
    stage = found(first, chips=2)
    for turn in range(12):
        stage.node = (first, second, second)[turn % 3]
        stage.take(*(stage.token(chip) for chip in stage.chips))
    moved = stage.world.licence(id="L-2")
    stage.node = second
    stage.take(moved, stage.world.policy(version=2, title="second"))
    stage.node = first
    stage.take(stage.token(stage.chips[0]))
    stage.hours()
    for node in two_nodes:
        assert node.ready() is None
        node.close()
    assert check_ledger(first.settings.database).faults == []
