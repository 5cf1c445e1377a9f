"""The heads map's share of publishing, against the append of the entries that it commits to.

In a ledger with 1,000,000 subjects, 10,000 heartbeats are checked and appended in batches; then
10,000 random subjects of its map of 65,536 buckets change, rows read, written and durable.
"""

import gc
import itertools
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
from ledger.service.node import Node
from ledger.store.bulk import insert_rows
from ledger.store.engine import open_engine, writing
from ledger.store.log_rows import link_table, subject_table
from ledger.store.map_rows import apply_changes, bucket_table, node_table

BUCKET_BITS = 16
CHANGES = 10_000
CHIPS = 500
BEATS = CHANGES // CHIPS
ROUNDS = 5


def run(*, quick: bool) -> list[Figure]:
    """Time of a map update of 10,000 subjects, as a ratio to their append."""
    subjects = 100_000 if quick else 1_000_000
    chance = random.Random(1)
    keys = sorted(chance.randbytes(32) for _ in range(subjects))
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        world, fleet = found(folder, CHIPS, real_clock=False)
        engine = open_engine(str(folder / "ledger.db"))
        root = _fill(engine, keys)
        gc.collect()
        gc.freeze()  # else the collector walks the benchmark's own million keys meanwhile
        node = open_node(folder, real_clock=False)
        appended = append_seconds(node, heartbeats(fleet, node.epoch().id, world.now_ms, BEATS))
        node.close()
        updates = list(islice(update_seconds(engine, keys, root), ROUNDS))
        engine.dispose()
        gc.unfreeze()
    updated = median(updates)
    details = {
        "subjects": subjects,
        "append ms": round(appended * 1000),
        "map ms": [round(seconds * 1000) for seconds in updates],
    }
    return [Figure("heads map / append", updated / appended, 0.15, at_least=False, details=details)]


def append_seconds(node: Node, tokens: list[bytes]) -> float:
    """Seconds in which the heartbeats are checked and durably appended."""
    start = time.perf_counter()
    for at in range(0, len(tokens), BATCH):
        submit(node, tokens[at : at + BATCH])
    return time.perf_counter() - start


def update_seconds(engine: Engine, keys: list[bytes], root: bytes) -> Iterator[float]:
    """Seconds of one update after the other, each in a transaction of its own."""
    chance = random.Random(2)
    for count in itertools.count(2):
        changes = {key: (count, chance.randbytes(32)) for key in chance.sample(keys, CHANGES)}
        start = time.perf_counter()
        with writing(engine) as connection:
            root = apply_changes(connection, BUCKET_BITS, changes, committed=root).root
        yield time.perf_counter() - start


def _fill(engine: Engine, keys: list[bytes]) -> bytes:
    """Subjects with one entry each, in the log's tables and in the map; returns the map's root.

    An append has to find its chips among them, as it would in a ledger of this size.
    """
    SQLModel.metadata.create_all(engine, tables=[bucket_table, node_table])
    made = rebuild(BUCKET_BITS, ((key, 1, key) for key in keys))
    tiles = [(level, n, data) for (level, n), data in made.tiles.items()]
    columns = ("subject", "kind", "ident", "count", "head")
    with writing(engine) as connection:
        rows = [(key, "chip", key, 1, key) for key in keys]
        insert_rows(connection, subject_table, columns, rows)
        links = [(key, 0, 0) for key in keys]
        insert_rows(connection, link_table, ("subject", "seq", "idx"), links)
        insert_rows(connection, bucket_table, ("n", "data"), list(made.buckets.items()))
        insert_rows(connection, node_table, ("level", "n", "data"), tiles)
    return made.root
