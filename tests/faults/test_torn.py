"""Torn tails: the last pages of database and WAL cut off, zeroed, or with flipped bits.

As a disk leaves them that lost what it had promised to keep. Each variant is a copy of a folder as
a kill left it. Opening it either recovers, and then every promise of which anything is left is
kept, or it refuses and says why. Never is a checkpoint signed that does not extend every one that
was published before, and ``check`` finds nothing wrong with what recovered.

``CHIP_PASSPORT_TORN`` sets the number of variants (100 unless told).
"""

import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from ledger.errors import ConfigurationError, IntegrityError, StorageError
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.service.check import check_ledger
from ledger.service.node import Node
from tests.faults.promises import Promises
from tests.service.harness import Stage, founded, open_node
from tests.world import World

VARIANTS = int(os.environ.get("CHIP_PASSPORT_TORN", "100"))
SEED = 11
FRAME, FIRST_FRAME = 24 + 4096, 32
PAGE = 4096
CHIPS = 3


@dataclass(frozen=True)
class Left:
    """A folder as a kill left it, and what its ledger had promised until then."""

    folder: Path
    promises: Promises


def told(node: Node, promises: Promises) -> None:
    note = node.checkpoint()
    if note is not None:
        checkpoint = Checkpoint.decode(parse_note(note).text)
        promises.take(f"C {checkpoint.size} {checkpoint.root.hex()}\n".encode())


def work(stage: Stage, promises: Promises, rounds: int) -> None:
    """Heartbeats and checkpoints, each noted."""
    for _ in range(rounds):
        for receipt in stage.take(*(stage.token(chip) for chip in stage.chips)):
            promises.take(f"E {receipt.index} {receipt.leaf_hash.hex()}\n".encode())
        stage.node.publish()
        told(stage.node, promises)


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Callable[[bool], Left]:
    """Folders whose newest transaction is a checkpoint, or statements behind it."""

    @cache
    def make(published: bool) -> Left:
        source, target = tmp_path_factory.mktemp("work"), tmp_path_factory.mktemp("left")
        promises = Promises()
        stage = founded(source, chips=CHIPS)
        work(stage, promises, 4)
        stage.node.close()  # the database holds this, the WAL what comes now
        stage.node = open_node(source)
        work(stage, promises, 6)
        if not published:
            for receipt in stage.take(*(stage.token(chip) for chip in stage.chips)):
                promises.take(f"E {receipt.index} {receipt.leaf_hash.hex()}\n".encode())
        for path in source.iterdir():
            if path.is_dir():
                shutil.copytree(path, target / path.name)
            elif path.suffix != ".lock":
                shutil.copyfile(path, target / path.name)
        (target / "ledger.db-shm").unlink()
        stage.node.close()
        return Left(target, promises)

    return make


# -- damage ---------------------------------------------------------------------------------------


def cut(path: Path, chance: random.Random, reach: int) -> None:
    """Less of the tail, at any byte."""
    size = path.stat().st_size
    os.truncate(path, max(0, size - chance.randrange(1, reach)))


def cut_frames(path: Path, chance: random.Random, reach: int) -> None:
    """Whole frames or pages less, as if they had never been written."""
    unit, start = (FRAME, FIRST_FRAME) if path.name.endswith("-wal") else (PAGE, 0)
    units = (path.stat().st_size - start) // unit
    os.truncate(path, start + unit * max(0, units - chance.randrange(1, reach // unit)))


def zero(path: Path, chance: random.Random, reach: int) -> None:
    """A page of zeros among the last ones."""
    data = bytearray(path.read_bytes())
    at = max(0, len(data) - chance.randrange(1, reach)) // PAGE * PAGE
    data[at : at + PAGE] = bytes(len(data[at : at + PAGE]))
    path.write_bytes(data)


def flip(path: Path, chance: random.Random, reach: int) -> None:
    """A few flipped bits among the last bytes."""
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 8)):
        at = max(0, len(data) - chance.randrange(1, reach))
        data[at] ^= 1 << chance.randrange(8)
    path.write_bytes(data)


DAMAGES = (cut, cut_frames, zero, flip)
FILES = ("ledger.db-wal", "ledger.db-wal", "ledger.db")


def outcome(folder: Path, promises: Promises) -> str:
    """Open what is left and go on; how that went. AssertionError where a promise was broken."""
    try:
        node = open_node(folder)
    except (ConfigurationError, IntegrityError) as refusal:
        return f"refused: {_kind(str(refusal))}"
    try:
        with closing(node):
            _require_same_history(node, promises)
            stage = Stage(node, World())
            stage.take(stage.world.licence(id="L-later"))
            node.follow()
            node.publish()
            _require_same_history(node, promises)
            lost = sum(not _stored(node, index, leaf) for index, leaf in promises.entries.items())
    except (IntegrityError, StorageError) as refusal:
        return f"stopped at work: {_kind(str(refusal))}"
    report = check_ledger(str(folder / "ledger.db"))
    if report.faults:
        return "check names it"
    return "recovered" if not lost else "recovered, newest entries lost"


def _kind(words: str) -> str:
    assert words, "refused without a word"
    for part in ("old backup", "is damaged", "not a usable ledger"):
        if part in words:
            return part
    return words[:40]


def _require_same_history(node: Node, promises: Promises) -> None:
    """Whatever the ledger shows as its newest checkpoint extends every one that it showed before.

    Refused proofs are damage that was noticed; a wrong root is not.
    """
    note = node.checkpoint()
    assert note is not None, "no checkpoint is served although some were"
    checkpoint = Checkpoint.decode(parse_note(note).text)
    assert checkpoint.size >= max(promises.checkpoints), "an older checkpoint is served again"
    with closing(sqlite3.connect(f"file:{node.settings.database}?mode=ro", uri=True)) as connection:
        notes = dict(connection.execute("SELECT size, lower(hex(root)) FROM checkpoints"))
    for size, root in promises.checkpoints.items():
        assert notes.get(size) == root, f"checkpoint {size} was published"
        node.extension_proof(size, checkpoint.size)


def _stored(node: Node, index: int, leaf: str) -> bool:
    with closing(sqlite3.connect(f"file:{node.settings.database}?mode=ro", uri=True)) as connection:
        query = "SELECT lower(hex(leaf_hash)) FROM entries WHERE idx = ?"
        return connection.execute(query, (index,)).fetchone() == (leaf,)


# -- the tests ------------------------------------------------------------------------------------


@pytest.mark.faults
def test_torn_tails_recover_or_are_refused(left: Callable[[bool], Left], tmp_path: Path) -> None:
    chance = random.Random(SEED)
    outcomes: Counter[tuple[str, str, str]] = Counter()
    for number in range(VARIANTS):
        source = left(number % 2 == 0)
        folder = tmp_path / f"{number}"
        shutil.copytree(source.folder, folder)
        damage, name = chance.choice(DAMAGES), chance.choice(FILES)
        reach = chance.choice((2, 30)) * FRAME
        damage(folder / name, chance, reach)
        try:
            found = outcome(folder, source.promises)
        except AssertionError as error:
            raise AssertionError(f"variant {number}: {damage.__name__} {name}: {error}") from error
        if found.endswith("lost"):
            # Only where nothing but the WAL's tail held them: no checkpoint covered them yet.
            assert number % 2, f"variant {number}: {damage.__name__} {name}: {found}"
        outcomes[name, damage.__name__, found] += 1
        shutil.rmtree(folder)
    print()
    for (name, how, what), count in sorted(outcomes.items()):
        print(f"{name:15}{how:12}{what:45}{count:5}")
    assert any("old backup" in what for _, _, what in outcomes)
    assert any(what.startswith("recovered") for _, _, what in outcomes)


@pytest.mark.parametrize("frames", [1, 3, 10_000])
def test_wal_that_lost_a_published_checkpoint_is_noticed(
    left: Callable[[bool], Left], tmp_path: Path, frames: int
) -> None:
    """Without the record beside the database it would sign another checkpoint of that size."""
    source = left(True)
    shutil.copytree(source.folder, tmp_path / "torn")
    wal = tmp_path / "torn" / "ledger.db-wal"
    os.truncate(wal, max(0, wal.stat().st_size - frames * FRAME))
    found = outcome(tmp_path / "torn", source.promises)
    # Where only the checkpoint's own transaction is gone, the very same one is made again.
    assert found in ("recovered", "refused: old backup")
    if frames > 1_000:
        assert found == "refused: old backup"
        (tmp_path / "torn" / "ledger.db.signed").unlink()
        with pytest.raises(AssertionError, match="older checkpoint"):
            outcome(tmp_path / "torn", source.promises)


def test_entries_behind_the_newest_checkpoint_that_only_the_wal_held_are_gone_unnoticed(
    left: Callable[[bool], Left], tmp_path: Path
) -> None:
    """What is not detected, so that it is known: docs/faults.md says the same."""
    source = left(False)
    shutil.copytree(source.folder, tmp_path / "torn")
    wal = tmp_path / "torn" / "ledger.db-wal"
    os.truncate(wal, wal.stat().st_size - FRAME)
    assert outcome(tmp_path / "torn", source.promises) == "recovered, newest entries lost"
