"""``check`` on ledgers that are in order, and what it says then."""

import shutil
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.appraisal.appraiser import Appraiser, LoggedEntry
from ledger.appraisal.places import cached_places
from ledger.errors import ConfigurationError
from ledger.geo.borders import Borders
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.registry.records import Registry
from ledger.service.check import check_ledger
from ledger.service.clock import SystemClock
from ledger.service.publish import publish
from ledger.store.engine import open_engine, reading, writing
from ledger.store.log_rows import entry_table
from ledger.store.registry_rows import load_documents
from tests.service.harness import Stage, found, open_node
from tests.service.storied import copy_of, counts, place, run, tell, value
from tests.world import SINGAPORE, World, signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("story")
    tell(folder)
    return folder / "ledger.db"


def test_ledger_with_everything_in_it_is_sound(made: Path) -> None:
    report = check_ledger(str(made))
    assert report.faults == []
    assert report.sound
    assert report.entries == report.signatures > 70
    assert (report.conflicts, report.chips, report.tiles) == (5, 6, 1)
    assert report.verifier_position == report.entries - 1
    assert report.decisions == 7
    assert report.checkpoints == value(made, "SELECT count(*) FROM checkpoints")
    kinds = value(made, "SELECT group_concat(DISTINCT kind) FROM entries").split(",")
    assert sorted(kinds) == sorted(kind.value for kind in Kind)


def test_check_changes_nothing(made: Path, tmp_path: Path) -> None:
    path = copy_of(made, tmp_path)
    before = path.read_bytes()
    check_ledger(str(path))
    assert path.read_bytes() == before


def test_progress_is_told_from_the_first_entry_to_the_last(made: Path) -> None:
    told: list[tuple[int, int]] = []
    report = check_ledger(str(made), progress=lambda done, total: told.append((done, total)))
    assert told[0] == (0, report.entries)
    assert told[-1] == (report.entries, report.entries)


@pytest.mark.parametrize("pool", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_executor_changes_no_answer(
    made: Path, tmp_path: Path, pool: type[ThreadPoolExecutor] | type[ProcessPoolExecutor]
) -> None:
    """A forged signature under a leaf and tree made to fit is found by the executor too."""
    plain = check_ledger(str(made))
    with pool(1) as executor:
        assert check_ledger(str(made), executor=executor) == plain
        path = copy_of(made, tmp_path)
        run(path, "UPDATE entries SET body = zeroblob(9) WHERE idx = 60")
        assert place(path, executor=executor) == "entry 60, statement"


def test_empty_ledgers_are_sound(tmp_path: Path) -> None:
    node = open_node(tmp_path)
    node.close()
    report = check_ledger(str(tmp_path / "ledger.db"))
    assert (report.sound, report.entries, report.origin) == (True, 0, None)


def test_ledger_with_a_genesis_only_is_sound(tmp_path: Path) -> None:
    stage = Stage(open_node(tmp_path), World())
    status = stage.node.status()
    stage.take(stage.world.genesis(status.ledger_key, status.verifier_key))
    stage.node.close()
    report = check_ledger(str(tmp_path / "ledger.db"))
    assert (report.sound, report.entries, report.checkpoints) == (True, 2, 0)


def test_ledger_that_the_verifier_has_not_read_to_its_end_is_sound(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=2)
    stage.beat(stage.chips[0])
    stage.node.close()
    stage.node = open_node(tmp_path)
    stage.take(*(stage.token(stage.chips[1], place=SINGAPORE) for _ in range(3)))
    stage.node.close()
    report = check_ledger(str(tmp_path / "ledger.db"))
    assert report.faults == []
    assert report.verifier_position == report.entries - 3


def test_ledger_in_use_is_sound_at_any_moment(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=1)
    path = str(tmp_path / "ledger.db")
    for _ in range(3):
        stage.take(stage.token(stage.chips[0], place=SINGAPORE))
        assert check_ledger(path).faults == []
        stage.node.follow()
        assert check_ledger(path).faults == []
        stage.node.publish()
        assert check_ledger(path).faults == []
    stage.node.close()


def test_checkpoint_made_while_the_clock_is_back_is_sound(made: Path, tmp_path: Path) -> None:
    path = copy_of(made, tmp_path)
    came = "(SELECT received_ms FROM entries WHERE idx = size - 1)"
    run(path, f"UPDATE checkpoints SET published_ms = {came}")
    assert check_ledger(str(path)).faults == []
    stage = found(open_node(tmp_path), chips=1)
    with reading(stage.node._engine) as connection:
        genesis = load_documents(connection).genesis
    assert genesis is not None
    publish(stage.node._sequencer, genesis, signer("ledger"), now_ms=1)
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_clock_that_was_moved_before_the_genesis_is_no_fault(tmp_path: Path) -> None:
    """Also where the ledger was then founded on the real clock, which has no use for it."""
    path = tmp_path / "ledger.db"
    node = open_node(tmp_path)
    node.set_time(node.clock.now_ms() + 5)
    node.close()
    assert check_ledger(str(path)).faults == []
    world = World()
    stage = Stage(open_node(tmp_path, clock=SystemClock()), world)
    world.now_ms = stage.node.clock.now_ms()
    status = stage.node.status()
    stage.take(world.genesis(status.ledger_key, status.verifier_key, clock="real"))
    stage.node.publish()
    stage.node.close()
    assert value(path, "SELECT simulated_ms FROM log_head") > 0
    report = check_ledger(str(path))
    assert report.faults == []
    assert report.checkpoints == 1
    run(path, "UPDATE checkpoints SET published_ms = 0")
    assert place(path).startswith("checkpoint ")


def test_ledger_stopped_while_its_clock_moves_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is stored after the epochs on its way; entries must not be ahead of it."""
    stage = found(open_node(tmp_path), chips=1)
    monkeypatch.setattr("ledger.service.node.move_simulated_clock", lambda *_: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        stage.hours(48)
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []
    stage.node.close()


@pytest.mark.postgres
def test_postgresql_gives_the_same_ledger_and_the_same_report(
    made: Path, tmp_path: Path, postgres_database: str
) -> None:
    stage = tell(tmp_path, postgres_database)
    report = check_ledger(postgres_database)
    assert report.faults == []
    expected = check_ledger(str(made))
    assert counts(report) == counts(expected)
    assert report.root == expected.root
    assert stage.node.ready() is None
    engine = open_engine(postgres_database)
    with writing(engine) as connection:
        connection.execute(text("UPDATE chips SET holder = 'thief' WHERE holder = 'reseller'"))
    engine.dispose()
    assert check_ledger(postgres_database).faults[0].place.startswith("table chips, row 01")


@pytest.mark.slow
def test_ledger_past_a_full_tile_is_sound(tmp_path: Path) -> None:
    tell(tmp_path, rounds=60)
    report = check_ledger(str(tmp_path / "ledger.db"))
    assert report.faults == []
    assert (report.entries > 300, report.tiles) == (True, 3)
    path = copy_of(tmp_path / "ledger.db", tmp_path)
    run(path, "UPDATE tiles SET data = zeroblob(32) WHERE level = 1")
    assert place(path) == "tile 1/0"
    shutil.copyfile(tmp_path / "ledger.db", path)
    run(path, "UPDATE tiles SET data = zeroblob(8192) WHERE level = 0 AND n = 0")
    assert place(path) == "tile 0/0"


def test_missing_ledger_is_no_unsound_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no ledger"):
        check_ledger(str(tmp_path / "ledger.db"))


# -- replay ---------------------------------------------------------------------------------------


def replay(made: Path) -> list[bytes]:
    """Every draft that the log makes due, as bytes; from the stored entries alone."""
    engine = open_engine(str(made), read_only=True)
    with reading(engine) as connection:
        rows = connection.execute(entry_table.select().order_by(entry_table.c.idx)).mappings().all()
    engine.dispose()
    appraiser = Appraiser(Registry(), cached_places(Borders.load()))
    drafts = []
    for row in rows:
        message = st.decode(row["body"])
        entry = LoggedEntry(
            row["idx"],
            row["leaf_hash"],
            row["received_ms"],
            message,
            row["conflict"] is not None,
        )
        drafts += [st.encode_body(draft) for draft in appraiser.feed(entry)]
    return drafts


def test_two_replays_of_one_log_decide_the_same_to_the_byte(made: Path) -> None:
    first, second = replay(made), replay(made)
    assert first == second
    assert len(first) == 7
    engine = open_engine(str(made), read_only=True)
    with reading(engine) as connection:
        query = entry_table.select().where(entry_table.c.kind == Kind.DECISION.value)
        logged = [st.decode(row["body"]) for row in connection.execute(query).mappings()]
    engine.dispose()
    by_verifier = [st.encode_body(m.body) for m in logged if m.body.action != "release"]
    assert by_verifier == first


def test_two_runs_of_one_story_make_the_same_log(made: Path, tmp_path: Path) -> None:
    tell(tmp_path)
    again = check_ledger(str(tmp_path / "ledger.db"))
    assert again == check_ledger(str(made))
