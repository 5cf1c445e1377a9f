"""Publishing: index-root, heads map and checkpoint in one transaction, or nothing."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ledger.errors import IntegrityError, Reason
from ledger.log.checkpoint import Checkpoint, open_checkpoint
from ledger.log.headsmap import Row, verify_subject
from ledger.log.merkle import CompactRange
from ledger.log.note import NoteVerifier
from ledger.log.vkey import Vkey
from ledger.protocol import statements as st
from ledger.protocol.statements import Kind
from ledger.registry.records import chip_subject
from ledger.service.check import check_ledger
from ledger.service.node import Node
from ledger.store.engine import reading, writing
from ledger.store.log_rows import advance_published, entry_table, read_head, subject_table
from ledger.store.map_rows import subject_proof
from ledger.values import subject_key
from tests.service.harness import HOUR_MS, Stage, found, founded, open_node
from tests.world import signer


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = founded(tmp_path, chips=2)
    yield stage
    stage.node.close()


def newest(stage: Stage) -> tuple[Checkpoint, st.IndexRoot]:
    """The newest checkpoint, and the index-root that is its last entry."""
    note, status = stage.node.checkpoint(), stage.node.status()
    assert note is not None
    assert status.origin is not None
    assert status.vkey is not None
    checkpoint, _ = open_checkpoint(note, status.origin, [NoteVerifier(Vkey.parse(status.vkey))])
    with reading(stage.node._engine) as connection:
        query = entry_table.select().where(entry_table.c.idx == checkpoint.size - 1)
        body = connection.execute(query).mappings().one()["body"]
    return checkpoint, st.decode(body, expect=Kind.INDEX_ROOT).body


def test_checkpoint_ends_with_an_index_root_that_covers_everything(stage: Stage) -> None:
    chip = stage.chips[0]
    for _ in range(3):
        stage.take(stage.token(chip))
        stage.node.publish()
        checkpoint, body = newest(stage)
        assert body.size == checkpoint.size - 1
        key = subject_key(*chip_subject(chip.ueid))
        with reading(stage.node._engine) as connection:
            proof = subject_proof(connection, body.bucket_bits, key)
            query = subject_table.select().where(subject_table.c.subject == key)
            chain = connection.execute(query).mappings().one()
        row = verify_subject(body.root, body.bucket_bits, key, proof.bucket, proof.path)
        assert row == Row(key, chain["count"], chain["head"])


def test_a_chip_without_entries_is_proved_absent(stage: Stage) -> None:
    stage.node.publish()
    _, body = newest(stage)
    key = subject_key(*chip_subject(b"\x01" + bytes(16)))
    with reading(stage.node._engine) as connection:
        proof = subject_proof(connection, body.bucket_bits, key)
    assert verify_subject(body.root, body.bucket_bits, key, proof.bucket, proof.path) is None


def test_nothing_new_makes_neither_index_root_nor_checkpoint(stage: Stage) -> None:
    stage.node.publish()
    before = stage.node.status()
    assert stage.node.publish() is None
    assert stage.node.status() == before
    stage.node.follow()
    assert stage.node.publish() is None


def test_index_root_of_a_stranger_is_refused(stage: Stage) -> None:
    iat = stage.world.now_ms // 1_000
    body = st.IndexRoot(iat=iat, size=9, root=bytes(32), bucket_bits=8)
    assert stage.refuse(st.sign(body, signer("holder"))).reason is Reason.NOT_AUTHORISED
    assert stage.refuse(st.sign(body, signer("nobody"))).reason is Reason.NOT_AUTHORISED


def test_index_root_that_the_ledger_signed_is_refused_from_everybody_else(stage: Stage) -> None:
    """One of a future that an old backup has lost would speak of entries that there are not."""
    iat = stage.world.now_ms // 1_000
    body = st.IndexRoot(iat=iat, size=999, root=bytes(32), bucket_bits=8)
    refused = stage.refuse(st.sign(body, signer("ledger")))
    assert (refused.reason, refused.detail) == (
        Reason.NOT_AUTHORISED,
        "the ledger appends it when it publishes",
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE map_buckets SET data = zeroblob(length(data))",
        "UPDATE map_nodes SET data = zeroblob(length(data)) WHERE level = 0",
        "DELETE FROM map_buckets",
        "DELETE FROM map_nodes",
    ],
)
def test_nothing_is_signed_over_a_map_that_is_not_the_committed_one(
    stage: Stage, statement: str
) -> None:
    stage.node.publish()
    before = stage.node.checkpoint()
    with writing(stage.node._engine) as connection:
        assert connection.execute(text(statement)).rowcount
    stage.take(stage.token(stage.chips[0]))
    size = stage.node.status().size
    with pytest.raises(IntegrityError, match="heads map"):
        stage.node.publish()
    assert stage.node.ready() is not None
    assert stage.node.checkpoint() == before
    with reading(stage.node._engine) as connection:
        assert read_head(connection).size == size


def test_two_publishers_make_one_checkpoint(two_nodes: tuple[Node, Node]) -> None:
    """Whoever comes second finds nothing to do, or builds on what the first has published."""
    stage = found(two_nodes[0], chips=1)
    for _ in range(3):
        stage.take(stage.token(stage.chips[0]))
        with ThreadPoolExecutor(2) as pool:
            notes = list(pool.map(lambda node: node.publish(), two_nodes))
        assert sorted(note is None for note in notes) == [False, True]
        assert two_nodes[0].checkpoint() == two_nodes[1].checkpoint() == (notes[0] or notes[1])
        with reading(two_nodes[0]._engine) as connection:
            head = read_head(connection)
        assert head.size == head.published_size


def test_published_row_that_moved_under_its_lock_is_not_overwritten(stage: Stage) -> None:
    with writing(stage.node._engine) as connection:
        before = read_head(connection, lock=True)
        advance_published(connection, before, before.frontier)
        with pytest.raises(IntegrityError, match="another publisher"):
            advance_published(connection, before, CompactRange())
        assert read_head(connection).published_size == before.size


def test_failed_publishing_keeps_nothing(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.take(stage.token(stage.chips[0]))
    before = stage.node.status()

    def fail(*_: Any) -> Any:
        raise OSError("no signature today")

    monkeypatch.setattr("ledger.service.publish.sign_checkpoint", fail)
    with pytest.raises(OSError, match="no signature"):
        stage.node.publish()
    assert stage.node.status() == before
    monkeypatch.undo()
    assert stage.node.publish() is not None
    stage.hours(1)
    stage.take(stage.token(stage.chips[1]))


def test_ledger_from_before_the_map_gets_one(tmp_path: Path) -> None:
    """A database of the first schema is migrated, and its map begins with its first entry."""
    stage = founded(tmp_path, chips=2)
    stage.node.close()
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        kinds = [kind for (kind,) in connection.execute("SELECT kind FROM entries ORDER BY idx")]
        if "index-root" in kinds:
            pytest.fail("the harness publishes; this test needs a ledger without an index-root")
        connection.executescript(
            "DROP TABLE map_buckets; DROP TABLE map_nodes; DROP TABLE cosignatures;"
            "DROP TABLE access_tokens;"
            "UPDATE alembic_version SET version_num = '0001'"
        )
        connection.commit()
    stage.node = open_node(tmp_path)
    assert stage.node.publish() is not None
    checkpoint, body = newest(stage)
    assert body.size == checkpoint.size - 1 == len(kinds)
    stage.world.now_ms += HOUR_MS
    stage.node.set_time(stage.world.now_ms)
    stage.take(stage.token(stage.chips[0]))
    stage.node.publish()
    stage.node.close()
    assert check_ledger(str(path)).faults == []
