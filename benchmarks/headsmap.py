"""The heads map's share of publishing, against the append of the entries that it commits to.

10,000 heartbeats are appended to a ledger of 500 chips, signatures checked; then 10,000 of the
1,000,000 subjects of a map with 65,536 buckets change, rows read, written and durable.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

from sqlalchemy import Engine
from sqlmodel import SQLModel

from benchmarks.figures import Figure
from benchmarks.fleet import BATCH, found, heartbeats, open_node, submit
from ledger.log.headsmap_update import rebuild
from ledger.store.bulk import insert_rows
from ledger.store.engine import open_engine, writing
from ledger.store.map_rows import apply_changes, bucket_table, node_table

BUCKET_BITS = 16
CHANGES = 10_000
CHIPS = 500
ROUNDS = 5


def run(*, quick: bool) -> list[Figure]:
    """Time of a map update of 10,000 subjects, as a ratio to their append."""
    subjects = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        appended = append_seconds(Path(name))
        updates = list(islice(update_seconds(Path(name), subjects), ROUNDS))
    updated = median(updates)
    details = {
        "subjects": subjects,
        "append ms": round(appended * 1000),
        "map ms": round(updated * 1000),
        "rounds ms": [round(seconds * 1000) for seconds in updates],
    }
    return [Figure("heads map / append", updated / appended, 0.15, at_least=False, details=details)]


def append_seconds(folder: Path) -> float:
    """Seconds in which 10,000 heartbeats are checked and durably appended."""
    world, fleet = found(folder, CHIPS, real_clock=False)
    node = open_node(folder, real_clock=False)
    tokens = heartbeats(fleet, node.epoch().id, world.now_ms, CHANGES // CHIPS)
    start = time.perf_counter()
    for at in range(0, len(tokens), BATCH):
        submit(node, tokens[at : at + BATCH])
    elapsed = time.perf_counter() - start
    node.close()
    return elapsed


def update_seconds(folder: Path, subjects: int) -> Iterator[float]:
    """Seconds of one update after the other, each in a transaction of its own."""
    chance = random.Random(1)
    keys = [chance.randbytes(32) for _ in range(subjects)]
    engine = open_engine(str(folder / "map.db"))
    root = _fill(engine, keys)
    count = 1
    while True:
        count += 1
        changes = {key: (count, chance.randbytes(32)) for key in chance.sample(keys, CHANGES)}
        start = time.perf_counter()
        with writing(engine) as connection:
            root = apply_changes(connection, BUCKET_BITS, changes, committed=root).root
        yield time.perf_counter() - start


def _fill(engine: Engine, keys: list[bytes]) -> bytes:
    SQLModel.metadata.create_all(engine, tables=[bucket_table, node_table])
    made = rebuild(BUCKET_BITS, ((key, 1, key) for key in keys))
    with writing(engine) as connection:
        insert_rows(connection, bucket_table, ("n", "data"), list(made.buckets.items()))
        tiles = [(level, n, data) for (level, n), data in made.tiles.items()]
        insert_rows(connection, node_table, ("level", "n", "data"), tiles)
    return made.root
