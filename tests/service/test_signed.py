"""What was signed last is recorded apart from the database, and a start is held to it."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.service import signed as signed_module
from ledger.service.check import check_ledger
from ledger.service.node import Node
from ledger.service.signed import Signed, SignedRecord
from ledger.values import sha256
from tests.service.harness import Stage, found, founded, open_node
from tests.world import World

SIGNED = Signed(b"\x01" * 32, 7, b"\x02" * 32, 1_767_225_600_000)
RECORD = "ledger.db.signed"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path, chips=2)
    stage.node.publish()
    yield stage
    stage.node.close()


def newest(node: Node) -> Checkpoint:
    note = node.checkpoint()
    assert note is not None
    return Checkpoint.decode(parse_note(note).text)


def recorded(folder: Path) -> tuple[int, bytes]:
    signed = Signed.decode((folder / RECORD).read_bytes())
    return signed.size, signed.root


def backup(stage: Stage, folder: Path) -> Path:
    """A copy of the closed database; the node goes on."""
    stage.node.close()
    shutil.copyfile(folder / "ledger.db", folder / "backup")
    stage.node = open_node(folder)
    return folder / "backup"


def test_record_names_the_newest_checkpoint(stage: Stage, tmp_path: Path) -> None:
    for _ in range(3):
        stage.take(stage.token(stage.chips[0]))
        stage.node.publish()
        checkpoint = newest(stage.node)
        assert recorded(tmp_path) == (checkpoint.size, checkpoint.root)
    stage.node.close()
    stage.node = open_node(tmp_path)
    assert list(tmp_path.glob("*.new")) == []


@pytest.mark.parametrize("further", [0, 1, 30])
def test_old_backup_is_refused_and_the_newest_state_is_not(
    stage: Stage, tmp_path: Path, further: int
) -> None:
    """However much was taken since, and whether that would reach the recorded size or not."""
    old = backup(stage, tmp_path)
    for _ in range(further):
        stage.take(stage.token(stage.chips[0]))
    stage.take(stage.token(stage.chips[1]))
    stage.node.publish()
    stage.node.close()
    size, root = recorded(tmp_path)
    shutil.copyfile(tmp_path / "ledger.db", tmp_path / "newest")
    shutil.copyfile(old, tmp_path / "ledger.db")
    with pytest.raises(IntegrityError, match=f"{size} entries .*an old backup"):
        open_node(tmp_path)
    shutil.copyfile(tmp_path / "newest", tmp_path / "ledger.db")
    stage.node = open_node(tmp_path)
    assert (newest(stage.node).size, newest(stage.node).root) == (size, root)


def test_backup_with_other_entries_up_to_the_recorded_size_is_refused(
    stage: Stage, tmp_path: Path
) -> None:
    old = backup(stage, tmp_path)
    stage.take(stage.token(stage.chips[1]))
    stage.node.publish()
    record = (tmp_path / RECORD).read_bytes()
    stage.node.close()
    shutil.copyfile(old, tmp_path / "ledger.db")
    (tmp_path / RECORD).unlink()
    other = open_node(tmp_path)
    stage.node = other
    stage.take(stage.world.licence(id="L-other"))
    other._follower = None
    other.close()
    # As many entries as before the lost checkpoint, but not the same ones.
    (tmp_path / RECORD).write_bytes(record)
    with pytest.raises(IntegrityError, match="another checkpoint"):
        open_node(tmp_path)
    assert (tmp_path / RECORD).read_bytes() == record


def test_another_checkpoint_of_the_recorded_size_is_refused(stage: Stage, tmp_path: Path) -> None:
    stage.node.close()
    signed = Signed.decode((tmp_path / RECORD).read_bytes())
    other = Signed(signed.genesis, signed.size, bytes(32), signed.received_ms)
    (tmp_path / RECORD).write_bytes(other.encode())
    with pytest.raises(IntegrityError, match="another of that size"):
        open_node(tmp_path)
    (tmp_path / RECORD).write_bytes(signed.encode())
    stage.node = open_node(tmp_path)


# -- between the record and the commit ------------------------------------------------------------


def die_after_recording(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kill does: recorded, not committed, and nobody puts the old record back."""
    real = SignedRecord.write

    def write(self: SignedRecord, signed: Signed) -> None:
        real(self, signed)
        raise KeyboardInterrupt

    monkeypatch.setattr(SignedRecord, "write", write)
    monkeypatch.setattr(SignedRecord, "withdrawn_on_failure", lambda _self: nullcontext())
    with pytest.raises(KeyboardInterrupt):
        stage.node.publish()
    monkeypatch.undo()


def test_recorded_checkpoint_that_was_not_committed_is_made_at_the_next_start(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.take(stage.token(stage.chips[0]))
    before = newest(stage.node)
    die_after_recording(stage, monkeypatch)
    assert newest(stage.node) == before
    size, root = recorded(tmp_path)
    assert size > before.size
    stage.node._follower = None
    stage.node.close()
    stage.node = open_node(tmp_path)
    assert (newest(stage.node).size, newest(stage.node).root) == (size, root)
    stage.beat(stage.chips[0])
    stage.hours()
    stage.node.close()
    assert check_ledger(str(tmp_path / "ledger.db")).faults == []
    stage.node = open_node(tmp_path)


def fail_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes after the record within the transaction fails."""

    def fail(*_: object) -> None:
        raise StorageError("disk I/O error")

    monkeypatch.setattr("ledger.service.sequence._keep_simulated_time", fail)


def test_record_is_withdrawn_when_the_commit_fails(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (tmp_path / RECORD).read_bytes()
    stage.take(stage.token(stage.chips[0]))
    fail_commits(monkeypatch)
    with pytest.raises(StorageError):
        stage.node.publish()
    assert (tmp_path / RECORD).read_bytes() == before
    monkeypatch.undo()
    stage.take(stage.token(stage.chips[1]))  # the recorded checkpoint could not be made any more
    assert stage.node.publish() is not None
    stage.node.close()
    stage.node = open_node(tmp_path)
    assert recorded(tmp_path)[0] == newest(stage.node).size


def test_first_record_is_withdrawn_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = founded(tmp_path, chips=1)
    fail_commits(monkeypatch)
    with pytest.raises(StorageError):
        stage.node.publish()
    assert not (tmp_path / RECORD).exists()
    monkeypatch.undo()
    stage.node.close()
    open_node(tmp_path).close()


def test_record_that_cannot_be_put_back_stops_the_node_until_the_next_start(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.take(stage.token(stage.chips[0]))
    fail_commits(monkeypatch)
    real, calls = signed_module.replace_file, iter([True, False])

    def replace(path: Path, data: bytes, *, ending: str) -> None:
        if not next(calls):
            raise OSError(5, "Input/output error")
        real(path, data, ending=ending)

    monkeypatch.setattr(signed_module, "replace_file", replace)
    with pytest.raises(IntegrityError, match="cannot be put back: Input/output error"):
        stage.node.publish()
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        stage.node.submit([stage.world.licence(id="L-2")])
    stage.node.close()
    stage.node = open_node(tmp_path)
    assert recorded(tmp_path)[0] == newest(stage.node).size


def test_nothing_is_published_that_cannot_be_recorded(stage: Stage, tmp_path: Path) -> None:
    stage.take(stage.token(stage.chips[0]))
    before = newest(stage.node)
    (tmp_path / f"{RECORD}.new").mkdir()
    with pytest.raises(StorageError, match=r"cannot write .*ledger\.db\.signed"):
        stage.node.publish()
    assert newest(stage.node) == before
    (tmp_path / f"{RECORD}.new").rmdir()
    assert stage.node.publish() is not None
    assert newest(stage.node).size > before.size


# -- the file -------------------------------------------------------------------------------------


def test_ledger_without_a_record_gets_one(stage: Stage, tmp_path: Path) -> None:
    stage.node.close()
    (tmp_path / RECORD).unlink()
    stage.node = open_node(tmp_path)
    stage.take(stage.token(stage.chips[0]))
    stage.node.publish()
    assert recorded(tmp_path)[0] == newest(stage.node).size


@pytest.mark.parametrize("damage", [b"", b"x", None])
def test_damaged_record_is_refused(stage: Stage, tmp_path: Path, damage: bytes | None) -> None:
    stage.node.close()
    sound = (tmp_path / RECORD).read_bytes()
    (tmp_path / RECORD).write_bytes(sound.replace(b"[", b" ") if damage is None else damage)
    with pytest.raises(ConfigurationError, match="is damaged"):
        open_node(tmp_path)
    (tmp_path / RECORD).write_bytes(sound)
    stage.node = open_node(tmp_path)


def test_record_of_another_ledger_is_refused(stage: Stage, tmp_path: Path) -> None:
    stage.node.close()
    sound = (tmp_path / RECORD).read_bytes()
    (tmp_path / RECORD).write_bytes(SIGNED.encode())
    with pytest.raises(ConfigurationError, match="holds another ledger"):
        open_node(tmp_path)
    (tmp_path / RECORD).write_bytes(sound)
    stage.node = open_node(tmp_path)


def test_empty_database_beside_a_record_is_refused(stage: Stage, tmp_path: Path) -> None:
    """Whoever means to begin anew moves the record away."""
    stage.node.close()
    kept = tmp_path / "kept"
    shutil.move(tmp_path / "ledger.db", kept)
    with pytest.raises(ConfigurationError, match="the database is empty"):
        open_node(tmp_path)
    (tmp_path / RECORD).rename(tmp_path / "record")
    open_node(tmp_path).close()
    shutil.move(kept, tmp_path / "ledger.db")
    stage.node = open_node(tmp_path)


def test_reading_needs_no_record(stage: Stage, tmp_path: Path) -> None:
    stage.node.close()
    (tmp_path / RECORD).write_bytes(b"junk")
    reader = open_node(tmp_path, read_only=True)
    assert reader.checkpoint() is not None
    reader.close()
    (tmp_path / RECORD).unlink()
    stage.node = open_node(tmp_path)


def test_record_round_trips() -> None:
    assert Signed.decode(SIGNED.encode()) == SIGNED


@given(some.binary(max_size=300))
def test_record_of_any_bytes_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="it"):
        Signed.decode(data)


@given(some.recursive(some.none() | some.integers() | some.text(), some.lists))
def test_record_of_any_content_is_taken_or_a_value_error(content: object) -> None:
    text = f"chip-passport signed v1\n{json.dumps(content)}\n".encode()
    with pytest.raises(ValueError, match=r"."):
        Signed.decode(text + sha256(text).hex().encode() + b"\n")


@given(some.integers(0, len(SIGNED.encode()) * 8 - 1))
def test_flipped_bit_of_a_record_is_noticed(bit: int) -> None:
    data = bytearray(SIGNED.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="it"):
        Signed.decode(bytes(data))


# -- PostgreSQL -----------------------------------------------------------------------------------


@pytest.mark.postgres
def test_postgresql_that_forgot_a_checkpoint_is_refused(
    postgres_database: str, tmp_path: Path
) -> None:
    """A standby that took over without the newest transactions."""
    stage = found(open_node(tmp_path, postgres_database), World(), chips=1)
    stage.node.publish()
    checkpoint = newest(stage.node)
    path = tmp_path / "keys" / "signed"
    signed = Signed.decode(path.read_bytes())
    assert (signed.size, signed.root) == (checkpoint.size, checkpoint.root)
    stage.node.close()
    open_node(tmp_path, postgres_database).close()
    ahead = Signed(signed.genesis, stage.node.status().size + 1, signed.root, signed.received_ms)
    path.write_bytes(ahead.encode())
    with pytest.raises(IntegrityError, match="an old backup"):
        open_node(tmp_path, postgres_database)


@pytest.mark.postgres
def test_postgresql_goes_on_with_keys_in_a_folder_that_takes_no_files(
    postgres_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_node(tmp_path, postgres_database).close()
    keys = tmp_path / "keys"
    real = os.access
    monkeypatch.setattr("os.access", lambda path, *rest: path != keys and real(path, *rest))
    stage = found(open_node(tmp_path, postgres_database), World(), chips=1)
    assert stage.node.publish() is not None
    stage.node.close()
    assert not (tmp_path / "keys" / "signed").exists()


def test_a_database_is_not_searched_for_more_than_it_holds(stage: Stage, tmp_path: Path) -> None:
    """The checkpoint that the record names may be an older one: others were committed since."""
    first = (tmp_path / RECORD).read_bytes()
    stage.take(stage.token(stage.chips[0]))
    stage.node.publish()
    stage.node.close()
    (tmp_path / RECORD).write_bytes(first)
    stage.node = open_node(tmp_path)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM checkpoints")
    assert count >= 2
