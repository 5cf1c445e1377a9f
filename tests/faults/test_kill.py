"""``kill -9`` at random moments under load: nothing acknowledged is lost, nothing signed is undone.

``CHIP_PASSPORT_KILLS`` sets the number of kills (200 unless told), half of them in each of two
ledgers side by side.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.service.node import Node
from tests.faults.promises import Promises
from tests.service.harness import open_node

ROOT = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("CHIP_PASSPORT_KILLS", "200"))
LEDGERS = 2


def start(folder: Path, kills: int, seed: int) -> "subprocess.Popen[str]":
    """A ledger in ``folder`` that dies so often."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.lives", str(folder), str(kills), str(seed)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def promises_of(process: "subprocess.Popen[str]") -> Promises:
    """What its lives were promised; each was held to it already."""
    out, complaint = process.communicate()
    assert process.returncode == 0, complaint
    told = json.loads(out)
    entries, checkpoints = (
        {int(number): text for number, text in told[name].items()}
        for name in ("entries", "checkpoints")
    )
    return Promises(entries, checkpoints, told["size"])


def require_consistent(node: Node, promises: Promises) -> None:
    """Each checkpoint extends the one before: a proof that is verified as it is made."""
    for older, newer in promises.pairs():
        assert node.extension_proof(older, newer)


@pytest.mark.faults
def test_nothing_acknowledged_is_lost_to_kills(tmp_path: Path) -> None:
    shares = [KILLS // LEDGERS + (number < KILLS % LEDGERS) for number in range(LEDGERS)]
    running = [
        (tmp_path / f"{number}", share, start(tmp_path / f"{number}", share, seed=number + 1))
        for number, share in enumerate(shares)
        if share
    ]
    for folder, share, process in running:
        promises = promises_of(process)
        assert len(promises.entries) > share
        assert promises.checkpoints
        node = open_node(folder)
        require_consistent(node, promises)
        node.close()
        print(f"\n{share} kills: {len(promises.entries)} acknowledged entries of {promises.size},")
        print(f"{len(promises.checkpoints)} checkpoints, each extends the one before")


def test_a_broken_promise_is_noticed(tmp_path: Path) -> None:
    """The harness itself: an entry that went missing, and one that is another."""
    promises = promises_of(start(tmp_path, 1, seed=2))
    database = tmp_path / "ledger.db"
    promises.size = 0
    promises.check(database)
    promises.entries[10**6] = "00" * 32
    with pytest.raises(AssertionError, match="was acknowledged"):
        promises.check(database)
    promises.entries = {0: "00" * 32}
    with pytest.raises(AssertionError, match="was acknowledged"):
        promises.check(database)
    promises.entries, promises.checkpoints = {}, {10**6: "00" * 32}
    with pytest.raises(AssertionError, match="was published"):
        promises.check(database)
    promises.size = 10**6
    with pytest.raises(AssertionError):
        promises.check(database)
    promises.take(b"E 5 aa\nE 5 a")
    with pytest.raises(AssertionError, match="E 5 bb"):
        promises.take(b"E 5 bb\n")
