"""A ledger at work, to be killed: ``python -m tests.faults.worker FOLDER``.

Tells on standard output, line by line, what it has been promised: ``E index leaf`` for each entry
acknowledged, ``C size root`` for each checkpoint published.
"""

import os
import sys
from pathlib import Path

from ledger.errors import Refused
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.protocol.statements import Kind
from ledger.service.node import Node
from ledger.store.engine import reading
from ledger.store.registry_rows import chip_table
from tests.service.harness import found, open_node
from tests.world import Chip, World

CHIPS = 12
STEP_MS = 60_000


def main(folder: Path) -> None:
    """Work until killed."""
    node = open_node(folder)
    world = World()
    if node.status().size == 0:
        found(node, world, chips=CHIPS)
    say("R")
    chips = remembered(node, world)
    while True:
        epoch, now_ms = node.epoch().id, node.status().now_ms
        tokens = [chip.heartbeat(epoch, now_ms) for chip in chips]
        for result in node.submit(tokens, Kind.HEARTBEAT):
            if isinstance(result, Refused) or result.conflict is not None:
                raise SystemExit(f"a heartbeat in order is not taken: {result}")
            say(f"E {result.index} {result.leaf_hash.hex()}")
        node.set_time(now_ms + STEP_MS)
        note = node.checkpoint()
        if note is not None:
            checkpoint = Checkpoint.decode(parse_note(note).text)
            say(f"C {checkpoint.size} {checkpoint.root.hex()}")


def remembered(node: Node, world: World, count: int = CHIPS) -> list[Chip]:
    """The chips as far as the ledger knows that they have come."""
    chips = [world.chip(number) for number in range(count)]
    with reading(node._engine) as connection:
        rows = {row["ueid"]: row for row in connection.execute(chip_table.select()).mappings()}
    for chip in chips:
        row = rows[chip.ueid]
        chip.counter, chip.uptime = row["counter"], row["counter"] * 3_600
        if chip.counter:
            chip.previous = row["heartbeat_digest"]
    return chips


def say(line: str) -> None:
    """One line, past every buffer of ours."""
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
