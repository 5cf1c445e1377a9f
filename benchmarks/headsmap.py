"""What publishing a checkpoint costs, against the append of the entries that it covers.

A ledger has 1,000,000 subjects. 10,000 chips send a heartbeat each, which are checked and durably
appended in batches; then one checkpoint is published: rehashing, heads map, index-root, signature,
commit. Both are timed in the same run, round after round.
"""

import gc
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import delete, select

from api.workers import calm_collector
from benchmarks.figures import Figure
from benchmarks.fleet import BATCH, found, heartbeats, open_node, submit
from ledger.log.headsmap_update import rebuild
from ledger.protocol import statements as st
from ledger.registry.records import chip_subject
from ledger.service.node import Node
from ledger.store.bulk import insert_rows
from ledger.store.log_rows import link_table, read_head, subject_table, update_head
from ledger.store.map_rows import bucket_table, node_table
from ledger.store.registry_rows import chip_table, key_table
from ledger.values import subject_key
from tests.world import Chip, signer

BUCKET_BITS = 16
LIMIT = 0.15
ROUNDS = 5


def run(*, quick: bool) -> list[Figure]:
    """Time of publishing as a ratio to the append."""
    subjects, chips = (100_000, 2_000) if quick else (1_000_000, 10_000)
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        world, _ = found(folder, 1, real_clock=False, bucket_bits=BUCKET_BITS)
        fleet = [world.chip(number) for number in range(1, chips + 1)]
        node = open_node(folder, real_clock=False)
        node.publish()
        _fill(node, fleet, subjects)
        calm_collector()  # as the service does; and what the benchmark has made is left alone
        times = list(_rounds(node, fleet, world.now_ms))
        node.close()
        gc.unfreeze()
    details = {
        "subjects": subjects,
        "entries": chips,
        "append ms": [round(appended * 1000) for appended, _ in times],
        "publish ms": [round(published * 1000) for _, published in times],
    }
    ratio = median(published / appended for appended, published in times)
    return [Figure("publish / append", ratio, LIMIT, at_least=False, details=details)]


def _rounds(node: Node, fleet: list[Chip], now_ms: int) -> Iterator[tuple[float, float]]:
    """Seconds of the append and of the publishing."""
    for _ in range(ROUNDS):
        tokens = heartbeats(fleet, node.epoch().id, now_ms, 1)
        start = time.perf_counter()
        for at in range(0, len(tokens), BATCH):
            submit(node, tokens[at : at + BATCH])
        appended = time.perf_counter()
        if node.publish() is None:
            raise SystemExit("the benchmark published nothing")
        yield appended - start, time.perf_counter() - appended


def _fill(node: Node, fleet: list[Chip], subjects: int) -> None:
    """Give the ledger the fleet's chips and strangers up to ``subjects``, without their births.

    The map is made whole again and committed to with an index-root, as if it had been published.
    """
    chance = random.Random(1)
    with node._sequencer.batch(node.clock.now_ms()) as batch:
        connection = batch.connection
        template = dict(connection.execute(select(chip_table)).mappings().one())
        keys = [signer(f"chip key {chip.number}").public for chip in fleet]
        rows: list[dict[str, Any]] = [
            {**template, "ueid": chip.ueid, "cose_key": key.to_cose_key()}
            for chip, key in zip(fleet, keys, strict=True)
        ]
        insert_rows(connection, chip_table, list(template), [tuple(row.values()) for row in rows])
        owned = [
            (key.kid, "chip", chip.ueid, key.to_cose_key())
            for chip, key in zip(fleet, keys, strict=True)
        ]
        insert_rows(connection, key_table, ("kid", "owner_kind", "owner", "cose_key"), owned)
        fresh: list[tuple[bytes, bytes]] = [
            (subject_key(*chip_subject(chip.ueid)), chip.ueid) for chip in fleet
        ]
        fresh += [(key, key) for key in (chance.randbytes(32) for _ in range(len(fresh), subjects))]
        fresh.sort()
        columns = ("subject", "kind", "ident", "count", "head")
        heads = [(key, "chip", ident, 1, key) for key, ident in fresh]
        insert_rows(connection, subject_table, columns, heads)
        insert_rows(
            connection, link_table, ("subject", "seq", "idx"), [(key, 0, 0) for key, _ in fresh]
        )
        columns_now = (subject_table.c.subject, subject_table.c["count"], subject_table.c.head)
        made = rebuild(
            BUCKET_BITS, (tuple(row) for row in connection.execute(select(*columns_now)))
        )
        connection.execute(delete(bucket_table))
        connection.execute(delete(node_table))
        insert_rows(connection, bucket_table, ("n", "data"), list(made.buckets.items()))
        tiles = [(level, n, data) for (level, n), data in made.tiles.items()]
        insert_rows(connection, node_table, ("level", "n", "data"), tiles)
        body = st.IndexRoot(
            iat=batch.received_ms // 1_000,
            size=batch.appender.head.size,
            root=made.root,
            bucket_bits=BUCKET_BITS,
        )
        batch.append(st.decode(st.sign(body, node._own_keys.ledger)))
        batch.flush()
        head = read_head(connection)
        update_head(connection, published_size=head.size, published_frontier=head.frontier.encode())
