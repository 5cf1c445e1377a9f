"""A dishonest keeper: makes a demo's ledger anew, with the ledger's own keys, and hides something.

    python keeper.py DEMO FORGED.db UEID KIND [KIND …]

Entries of these kinds are left out from the day on that the chip was first decided upon, all others
are taken over in their order. What comes out is a ledger in good form: every hash is right, every
chain counts up, and the checkpoint is signed.
"""

import sqlite3
import sys
from itertools import groupby
from pathlib import Path

from ledger.service.clock import SimulatedClock
from ledger.service.node import Node, NodeSettings
from ledger.values import MILLIS_PER_DAY

demo, forged, ueid, *kinds = sys.argv[1:]
true = sqlite3.connect(f"file:{demo}/ledger.db?mode=ro", uri=True)
entries = true.execute("SELECT idx, received_ms, kind, body FROM entries ORDER BY idx").fetchall()
about_the_chip = {
    index
    for (index,) in true.execute(
        "SELECT idx FROM entry_subjects JOIN subjects USING (subject) WHERE ident = ?",
        [bytes.fromhex(ueid)],
    )
}
first_decision_ms = min(
    received_ms
    for index, received_ms, kind, _ in entries
    if kind == "decision" and index in about_the_chip
)


def hidden(index: int, received_ms: int, kind: str) -> bool:
    """Whether the keeper would rather not have this entry."""
    late = received_ms > first_decision_ms - MILLIS_PER_DAY
    return late and kind in kinds and index in about_the_chip


clock = SimulatedClock(entries[0][1])
keys = Path(demo, "ledger.db.keys")
node = Node.open(NodeSettings(database=forged, keys=keys, clock=clock))
for (received_ms, _), group in groupby(entries, key=lambda entry: (entry[1], entry[2] == "epoch")):
    clock.move(received_ms)
    shown = [
        body
        for index, _, kind, body in group
        if kind != "index-root" and not hidden(index, received_ms, kind)
    ]
    if shown:
        node.submit(shown)
node.publish()
node.close()
