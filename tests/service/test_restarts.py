"""Restarts and crashes: the log goes on to the byte as if nothing had happened."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from ledger.errors import IntegrityError, StorageError
from ledger.service import follow as follow_module
from ledger.service.check import check_ledger
from ledger.service.node import Node
from ledger.service.sequence import Sequencer
from ledger.store.engine import writing
from ledger.store.log_rows import update_head
from tests.service.harness import Stage, found, open_node
from tests.world import FRANKFURT, SINGAPORE, seed

Interruption = Callable[[Stage], None]


def close_and_open(stage: Stage) -> None:
    """A clean stop and a start."""
    stage.node.close()
    stage.node = open_node(Path(stage.node.settings.database).parent)


def crash(stage: Stage) -> None:
    """The process dies: nothing in memory is stored."""
    stage.node._follower = None
    close_and_open(stage)


def lose_verifier(stage: Stage) -> None:
    """The verifier dies alone; the next one begins at the stored position."""
    stage.node._follower = None


def save(stage: Stage) -> None:
    """The verifier stores its state at an odd moment."""
    if stage.node._follower is not None:
        stage.node._follower.save()


INTERRUPTIONS = [close_and_open, crash, lose_verifier, save]


def act(folder: Path, interrupt: Interruption) -> bytes:
    """Two days of three chips: one diverted and released, one cloned, one falling silent."""
    stage = found(
        open_node(folder),
        chips=3,
        silence_after_h=3,
        silence_hold_after_h=6,
        revoke_after_forks=2,
        travel_speed_kmh=0,
    )
    w, (diverted, cloned, silent) = stage.world, stage.chips
    for step in range(16):
        interrupt(stage)
        stage.take(
            stage.token(diverted, place=SINGAPORE if step in (3, 4, 9, 10) else FRANKFURT),
            *([stage.token(silent)] if step < 5 or step > 13 else []),
        )
        interrupt(stage)
        if step % 3 == 0:
            stage.node.follow()
            interrupt(stage)
        if step in (6, 11):
            stage.take(stage.token(cloned), stage.token(cloned))
            clone = replace(cloned, counter=cloned.counter - 1, previous=seed("clone"))
            stage.conflict(stage.token(clone))
        if step == 7:
            decision = stage.decisions(diverted)[-1]
            stage.take(w.release(diverted, 2, bytes.fromhex(decision["digest"])))
        interrupt(stage)
        stage.hours(0.75)
    stage.node.publish()
    checkpoint = stage.node.checkpoint()
    stage.node.close()
    assert checkpoint is not None
    assert check_ledger(str(folder / "ledger.db")).faults == []
    return checkpoint


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return act(tmp_path_factory.mktemp("undisturbed"), lambda _stage: None)


def test_story_has_decisions_of_every_sort(undisturbed: bytes, tmp_path: Path) -> None:
    assert act(tmp_path, lambda _stage: None) == undisturbed
    reader = open_node(tmp_path, read_only=True)
    items = reader.decisions(None, None, None, 100).items
    reader.close()
    assert {item["action"] for item in items} == {"hold", "release", "revoke"}
    assert {rule for item in items for rule in item["rules"]} >= {"silence", "location-claim"}


@pytest.mark.parametrize(
    "interruption",
    [
        crash,
        save,
        *(pytest.param(f, marks=pytest.mark.slow) for f in (close_and_open, lose_verifier)),
    ],
)
def test_interruptions_everywhere_change_nothing(
    undisturbed: bytes, tmp_path: Path, interruption: Interruption
) -> None:
    assert act(tmp_path, interruption) == undisturbed


def _at_random(undisturbed: bytes, folders: pytest.TempPathFactory, plan: list[int | None]) -> None:
    moments = iter(plan)

    def interrupt(stage: Stage) -> None:
        choice = next(moments, None)
        if choice is not None:
            INTERRUPTIONS[choice](stage)

    folder = folders.mktemp("interrupted")
    assert act(folder, interrupt) == undisturbed
    shutil.rmtree(folder)


_PLANS = some.lists(some.none() | some.integers(0, 3), min_size=20, max_size=54)


@settings(max_examples=2, suppress_health_check=list(HealthCheck))
@given(plan=_PLANS)
def test_interruptions_at_random_change_nothing(
    undisturbed: bytes, tmp_path_factory: pytest.TempPathFactory, plan: list[int | None]
) -> None:
    _at_random(undisturbed, tmp_path_factory, plan)


@pytest.mark.slow
@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(plan=_PLANS)
def test_many_interruptions_at_random_change_nothing(
    undisturbed: bytes, tmp_path_factory: pytest.TempPathFactory, plan: list[int | None]
) -> None:
    _at_random(undisturbed, tmp_path_factory, plan)


# -- the verifier between append and save ---------------------------------------------------------


def test_verifier_that_reads_everything_again_decides_nothing_twice(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=2)
    for _ in range(3):
        stage.beat(stage.chips[0], place=SINGAPORE)
    (decision,) = stage.decisions(stage.chips[0])
    size = stage.node.status().size
    crash(stage)
    assert stage.node.status().verifier_position == 0
    stage.node.follow()
    assert stage.node.status().size == size
    assert stage.decisions(stage.chips[0]) == [decision]
    stage.node.close()


def test_decision_lost_in_a_crash_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read and appraised, but dead before the append."""
    stage = found(open_node(tmp_path), chips=1)

    def die(*_arguments: object) -> None:
        raise KeyboardInterrupt

    stage.take(*(stage.token(stage.chips[0], place=SINGAPORE) for _ in range(2)))
    monkeypatch.setattr(follow_module.Follower, "_append", die)
    with pytest.raises(KeyboardInterrupt):
        stage.node.follow()
    monkeypatch.undo()
    assert stage.decisions(stage.chips[0]) == []
    stage.node.follow()
    assert len(stage.decisions(stage.chips[0])) == 1
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_decision_that_the_database_did_not_take_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = found(open_node(tmp_path), chips=1)
    stage.take(*(stage.token(stage.chips[0], place=SINGAPORE) for _ in range(2)))

    def full(*_arguments: object) -> None:
        raise StorageError("database or disk is full")

    monkeypatch.setattr(Sequencer, "batch", full)
    with pytest.raises(StorageError):
        stage.node.follow()
    assert stage.node.ready() is None
    monkeypatch.undo()
    stage.node.follow()
    assert len(stage.decisions(stage.chips[0])) == 1
    stage.node.close()


def test_state_is_stored_every_so_many_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_module, "SAVE_EVERY", 5)
    monkeypatch.setattr(follow_module, "READ_AHEAD", 3)
    stage = found(open_node(tmp_path), chips=1)
    for _ in range(10):
        stage.beat(stage.chips[0])
    crash(stage)
    position = stage.node.status().verifier_position
    assert 0 <= stage.node.status().size - position < 8
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []


def test_position_that_went_back_stops_the_node(tmp_path: Path) -> None:
    stage = found(open_node(tmp_path), chips=1)
    close_and_open(stage)
    stage.beat(stage.chips[0])
    with writing(stage.node._engine) as connection:
        update_head(connection, verifier_position=1)
    with pytest.raises(IntegrityError, match="went back"):
        stage.node.close()
    open_node(tmp_path).close()


def test_position_past_the_end_stops_a_verifier_that_begins_and_one_that_stores(
    tmp_path: Path,
) -> None:
    """Only at start would be too late where another process wrote it."""
    stage = found(open_node(tmp_path), chips=1)
    stage.beat(stage.chips[0])
    with writing(stage.node._engine) as connection:
        update_head(connection, verifier_position=1_000)
    with pytest.raises(IntegrityError, match="position is 1000"):
        save(stage)
    lose_verifier(stage)
    with pytest.raises(IntegrityError, match="position is 1000"):
        stage.node.follow()
    assert stage.node.ready() is not None
    stage.node.close()


def test_verifiers_of_two_processes_decide_once(two_nodes: tuple[Node, Node]) -> None:
    first, second = two_nodes
    stage = found(first, chips=2)
    for node in (first, second, second, first):
        stage.node = node
        for chip in stage.chips:
            stage.beat(chip, place=SINGAPORE)
        first.follow()
        second.follow()
        assert node._follower is not None
        node._follower.save()
    stage.hours()
    assert [len(stage.decisions(chip)) for chip in stage.chips] == [1, 1]
    database = first.settings.database
    for node in two_nodes:
        assert node.ready() is None
        node.close()
    assert check_ledger(database).faults == []
