"""Proofs served by a large ledger: 1,000,000 entries of as many subjects, over HTTP.

Inclusion proofs of entries drawn at random; completeness proofs (redacted bundles: heads map,
chain and leaves) of chips with a life and of numbers that the ledger has never seen. The strangers'
entries are appended, hashed and published by the ledger's own code, without signatures: only their
number matters here. Three witnesses have cosigned.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import median, quantiles

from api.client import Client
from api.embedded import ServerProcess
from api.settings import ServiceSettings
from benchmarks.figures import Figure
from benchmarks.fleet import found, heartbeats, open_node, opener, submit
from ledger.bundle.format import Bundle
from ledger.log.note import parse_note
from ledger.service.node import Node
from ledger.values import MILLIS_PER_SECOND, SubjectKind
from tests.bundle.double import WITNESSES
from tests.world import Chip

BUCKET_BITS = 16
CHIPS = 50
BEATS = 24
ASKED = 1_000
FILLED_AT_ONCE = 20_000
LIMIT_MS = 20
"""Of the 99th percentile."""


def run(*, quick: bool) -> list[Figure]:
    """Milliseconds of the 99th percentile, and what a proof adds to a bundle at this size."""
    entries = 50_000 if quick else 1_000_000
    with (
        ledger(entries) as (folder, fleet),
        ServerProcess(
            opener(folder, real_clock=False, workers=0), settings=ServiceSettings(access="open")
        ) as server,
        Client(server.url) as client,
    ):
        size = client.ledger()["published_size"]
        chance = random.Random(1)
        questions = {
            "inclusion proof": lambda: client.proof(chance.randrange(size)),
            "completeness proof": lambda: client.bundle(chance.choice(fleet).ueid, redacted=True),
            "proof of absence": lambda: client.bundle(_stranger(chance), redacted=True),
        }
        figures = [_times(f"{name} at {size:,} entries", ask) for name, ask in questions.items()]
        data = client.bundle(fleet[0].ueid, redacted=True)
    return [*figures, _overhead(data, size)]


def _times(name: str, ask: Callable[[], object]) -> Figure:
    ask()
    took = []
    for _ in range(ASKED):
        start = time.perf_counter()
        ask()
        took.append((time.perf_counter() - start) * 1_000)
    details = {"median ms": round(median(took), 2), "worst ms": round(max(took), 2)}
    p99 = quantiles(took, n=100)[98]
    return Figure(f"{name}, p99", p99, LIMIT_MS, at_least=False, unit="ms", details=details)


def _stranger(chance: random.Random) -> bytes:
    return b"\x01" + chance.randbytes(16)


def _overhead(data: bytes, size: int) -> Figure:
    """The bundle's bytes that are neither its entries' leaves nor their statements."""
    head = Bundle.decode(data).head
    details = {
        "checkpoint and cosignatures": len(head.checkpoint),
        "log proof": len(head.log_proof),
        "buckets": sum(map(len, head.buckets)),
        "map proof": len(head.map_proof),
        "bundle": len(data),
    }
    return Figure(
        f"bundle without its entries at {size:,} entries",
        len(head.encode()),
        4_096,
        at_least=False,
        unit="bytes",
        details=details,
    )


@contextmanager
def ledger(entries: int) -> Iterator[tuple[Path, list[Chip]]]:
    """A published and cosigned ledger of so many entries, some of them of a fleet."""
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        world, fleet = found(folder, CHIPS, real_clock=False, bucket_bits=BUCKET_BITS)
        node = open_node(folder, real_clock=False)
        for _ in range(BEATS):
            submit(node, heartbeats(fleet, node.epoch().id, world.now_ms, 1))
        _fill(node, entries)
        node.publish()
        _cosign(node)
        node.close()
        yield folder, fleet


def _fill(node: Node, entries: int) -> None:
    """Entries of strangers, one for each; nobody reads what they say."""
    for start in range(node.status().size, entries, FILLED_AT_ONCE):
        with node._sequencer.batch(node.clock.now_ms()) as batch:
            for number in range(start, min(start + FILLED_AT_ONCE, entries)):
                body = sha256(b"stranger %d" % number).digest()
                batch.appender.add(
                    "heartbeat",
                    batch.received_ms,
                    [(SubjectKind.CHIP, body[:17])],
                    digest=sha256(body).digest(),
                    content_digest=None,
                    body=body,
                )


def _cosign(node: Node) -> None:
    """As three witnesses would."""
    published = node.published()
    assert published is not None
    text = parse_note(published.note).text
    signed = {}
    for cosigner in WITNESSES:
        signature = cosigner.cosign(text, node.clock.now_ms() // MILLIS_PER_SECOND)
        signed[cosigner.vkey.encode()] = signature.signature
    node.keep_cosignatures(published.size, signed)
