"""``kill -9`` at random moments under load: nothing acknowledged is lost, nothing signed is undone.

``CHIP_PASSPORT_KILLS`` sets the number of kills (200 unless told).
"""

import os
import random
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ledger.service.check import check_ledger

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CHIP_PASSPORT_KILLS", "200"))
CHECK_EVERY = 40
LONGEST_S = 0.5
START_S = 60.0


@dataclass
class Promises:
    """What a worker has been told, over all its lives."""

    entries: dict[int, str] = field(default_factory=dict)
    checkpoints: dict[int, str] = field(default_factory=dict)
    size: int = 0

    def take(self, said: bytes) -> None:
        """Whole lines only: what was cut was not promised yet."""
        for line in said[: said.rfind(b"\n") + 1].decode().splitlines():
            kind, *rest = line.split()
            if kind == "R":
                continue
            kept = self.entries if kind == "E" else self.checkpoints
            number = int(rest[0])
            # The newest checkpoint is told again after a restart; it has to be the same one.
            assert kept.setdefault(number, rest[1]) == rest[1], line

    def check(self, database: Path) -> None:
        """Every promise is kept by what is stored; the log never shrinks."""
        with closing(sqlite3.connect(database)) as connection:
            stored = dict(connection.execute("SELECT idx, lower(hex(leaf_hash)) FROM entries"))
            notes = dict(connection.execute("SELECT size, lower(hex(root)) FROM checkpoints"))
            ((size,),) = connection.execute("SELECT size FROM log_head")
        assert size >= self.size
        assert size == len(stored)
        self.size = size
        for index, leaf_hash in self.entries.items():
            assert stored.get(index) == leaf_hash, f"entry {index} was acknowledged"
        for covered, root in self.checkpoints.items():
            assert notes.get(covered) == root, f"checkpoint {covered} was published"


def live(folder: Path, seconds: float) -> bytes:
    """One life of a worker: killed so long after it was ready; what it said until then."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.worker", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    guard = threading.Timer(START_S, process.kill)
    guard.start()
    first = process.stdout.readline()
    guard.cancel()
    killer = threading.Timer(seconds, process.kill)
    killer.start()
    rest, complaint = process.communicate()
    killer.cancel()
    assert first == b"R\n", complaint.decode()
    assert process.returncode == -9, complaint.decode()
    return first + rest


def survive(folder: Path, kills: int, seed: int) -> Promises:
    chance = random.Random(seed)
    promises = Promises()
    for number in range(1, kills + 1):
        promises.take(live(folder, chance.uniform(0, LONGEST_S)))
        promises.check(folder / "ledger.db")
        if number % CHECK_EVERY == 0 or number == kills:
            assert check_ledger(str(folder / "ledger.db")).faults == []
    return promises


@pytest.mark.faults
def test_nothing_acknowledged_is_lost_to_kills(tmp_path: Path) -> None:
    promises = survive(tmp_path, KILLS, seed=1)
    assert len(promises.entries) > KILLS
    assert promises.checkpoints


def test_a_broken_promise_is_noticed(tmp_path: Path) -> None:
    """The harness itself: an entry that went missing, and one that is another."""
    promises = survive(tmp_path, 1, seed=2)
    promises.size = 0
    index = max(promises.entries, default=0)
    if not promises.entries:  # killed before the first answer
        with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
            ((index, leaf),) = connection.execute(
                "SELECT idx, lower(hex(leaf_hash)) FROM entries ORDER BY idx DESC LIMIT 1"
            )
        promises.entries[index] = leaf
    promises.entries[index] = "00" * 32
    with pytest.raises(AssertionError, match="was acknowledged"):
        promises.check(tmp_path / "ledger.db")
    del promises.entries[index]
    promises.checkpoints = {10**6: "00" * 32}
    with pytest.raises(AssertionError, match="was published"):
        promises.check(tmp_path / "ledger.db")
    promises.size = 10**6
    with pytest.raises(AssertionError):
        promises.check(tmp_path / "ledger.db")
