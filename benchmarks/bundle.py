"""A chip-year of hourly heartbeats as a bundle: time to check it offline, and what it adds.

The time is told as a ratio to the bare signature checks of the same heartbeats, on one core and
without an executor. An epoch lasts an hour, so that each heartbeat brings an epoch with it. The
bytes are those of a ledger with 1,000 subjects in 256 buckets and 10,000 other entries.
"""

import gc
import time
from hashlib import sha256
from statistics import median

from benchmarks.figures import Figure
from ledger.bundle.format import Bundle
from ledger.bundle.verify import verify
from ledger.log.chain import encode_leaf
from ledger.protocol import statements as st
from ledger.protocol.keys import verify_many
from tests.appraisal.bench import places
from tests.bundle.double import Double, founded, installed, trust
from tests.world import Chip

HOURS = 8_760
ROUNDS = 5


def run(*, quick: bool) -> list[Figure]:
    """The ratio, and the bytes beside leaves and statements."""
    hours = HOURS // 10 if quick else HOURS
    ledger, chip = _lived(hours)
    data = ledger.show(chip)
    tokens = [event.body for event in ledger.log if event.body and _is_report(event.leaf)]
    bare, whole = [], []
    gc.collect()
    gc.freeze()
    for _ in range(ROUNDS):
        bare.append(_bare_seconds(chip, tokens))
        whole.append(_seconds(data, ledger.now_ms))
    gc.unfreeze()
    ratio = median(w / b for w, b in zip(whole, bare, strict=True))
    details = {
        "heartbeats": hours,
        "signatures ms": round(median(bare) * 1000),
        "bundle ms": round(median(whole) * 1000),
    }
    return [
        Figure("bundle / bare signatures", ratio, 1.5, at_least=False, details=details),
        _overhead(ledger, data),
    ]


def _overhead(ledger: Double, data: bytes) -> Figure:
    """Bytes that are not in the entries: checkpoint, three cosignatures, proofs, buckets."""
    bundle = Bundle.decode(data)
    shown = list(bundle.entries())
    leaves = sum(len(ledger.log[entry.index].leaf) for entry in shown)
    statements = sum(len(entry.body or b"") for entry in shown)
    details = {
        "bundle": len(data),
        "statements": statements,
        "their leaves": leaves,
        "bundle - both": len(data) - statements - leaves,
    }
    fixed = len(bundle.head.encode())
    return Figure(
        "bundle without its entries", fixed, 4_096, at_least=False, unit="bytes", details=details
    )


def _lived(hours: int) -> tuple[Double, Chip]:
    ledger = founded()
    (chip,) = installed(ledger)
    for number in range(10_000 if hours == HOURS else 1_000):
        key = sha256(b"subject %d" % (number % 1_000)).digest()
        ledger.fill(key)
    for _ in range(hours):
        ledger.beat(chip)
    return ledger, chip


def _is_report(leaf: bytes) -> bool:
    start = encode_leaf("heartbeat", 0, (), bytes(32))[:12]
    return leaf.startswith(start)


def _bare_seconds(chip: Chip, tokens: list[bytes]) -> float:
    key, messages = chip.signer.public, [st.decode(token) for token in tokens]
    rows = [(int(key.alg), key.raw, m.tbs, m.sign1.signature) for m in messages]
    start = time.perf_counter()
    good = verify_many(rows)
    elapsed = time.perf_counter() - start
    assert all(good)
    return elapsed


def _seconds(data: bytes, now_ms: int) -> float:
    start = time.perf_counter()
    report = verify(data, trust=trust(), now_ms=now_ms, places=places)
    elapsed = time.perf_counter() - start
    assert report.accepted, report.faults
    assert report.decisions_checked
    return elapsed
