"""Heartbeats per second over HTTP, durable before the answer, against bare signature checks.

The server runs in a process of its own with its verifier; load and server share the machine's
cores. The load process has signed everything beforehand.
"""

import tempfile
import time
from pathlib import Path

from api.client import Client
from api.embedded import ServerProcess
from benchmarks.figures import Figure
from benchmarks.fleet import BATCH, found, heartbeats, opener
from benchmarks.wire import post_all
from ledger.protocol import statements as st
from ledger.protocol.keys import verify_many
from tests.world import Chip

ROUTE = "/v1/heartbeats"
LANES = 4
SINGLES_UNDER_WAY = 16


def run(*, quick: bool) -> list[Figure]:
    """Batch ingest as a ratio, single posts as a rate."""
    rounds, singles = (8, 480) if quick else (40, 4_000)
    figures = []
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        world, fleet = found(folder, LANES * BATCH, real_clock=True)
        with ServerProcess(opener(folder, real_clock=True, workers=1)) as server:
            with Client(server.url) as client:
                epoch = client.epoch().id
            lanes = [
                heartbeats(fleet[lane * BATCH :][:BATCH], epoch, world.now_ms, rounds)
                for lane in range(LANES)
            ]
            batch_rate(server.url, [lane[:BATCH] for lane in lanes])  # starts the workers
            bare = bare_rate(fleet, lanes[0])
            rate = batch_rate(server.url, [lane[BATCH:] for lane in lanes])
            lag_s, reading = catch_up(server.url)
            details = {"heartbeats/s": round(rate), "bare checks/s": round(bare)}
            figures.append(
                Figure("batch ingest / bare signature checks", rate / bare, 0.4, details=details)
            )
            figures.append(
                Figure("verifier behind after the load", lag_s, unit="s", details=reading)
            )
            extra = heartbeats(fleet, epoch, world.now_ms, -(-singles // len(fleet)))
            rate = single_rate(server.url, extra[:singles])
            figures.append(Figure("single posts", rate, unit="heartbeats/s"))
    return figures


def bare_rate(fleet: list[Chip], tokens: list[bytes]) -> float:
    """Signatures that one core checks in a second when it does nothing else."""
    keys = {chip.ueid: chip.signer.public for chip in fleet}
    items = []
    for token in tokens[:5_000]:
        message = st.decode(token)
        key = keys[message.body.ueid]
        items.append((int(key.alg), key.raw, message.tbs, message.sign1.signature))
    start = time.perf_counter()
    results = verify_many(items)
    elapsed = time.perf_counter() - start
    assert all(results)
    return len(items) / elapsed


def batch_rate(url: str, lanes: list[list[bytes]]) -> float:
    """Heartbeats acknowledged per second in batches that hold each chip once.

    Each lane has chips of its own, so that two batches under way never hold the same chip.
    """
    bodies = [
        [b"".join(lane[at : at + BATCH]) for at in range(0, len(lane), BATCH)] for lane in lanes
    ]
    start = time.perf_counter()
    statuses = post_all(url, ROUTE, "application/cbor-seq", bodies)
    elapsed = time.perf_counter() - start
    if statuses.keys() != {200}:
        raise SystemExit(f"the benchmark's heartbeats were refused: {dict(statuses)}")
    return sum(map(len, lanes)) / elapsed


def single_rate(url: str, tokens: list[bytes]) -> float:
    """Heartbeats acknowledged per second, one a request, some requests under way at a time."""
    lanes = [tokens[lane::SINGLES_UNDER_WAY] for lane in range(SINGLES_UNDER_WAY)]
    start = time.perf_counter()
    statuses = post_all(url, ROUTE, "application/cose", lanes)
    elapsed = time.perf_counter() - start
    if statuses.keys() != {201}:
        raise SystemExit(f"the benchmark's heartbeats were refused: {dict(statuses)}")
    return len(tokens) / elapsed


def catch_up(url: str) -> tuple[float, dict[str, int]]:
    """Seconds until a checkpoint covers everything that the verifier read after the load."""
    start = time.perf_counter()
    with Client(url) as client:
        while True:
            status = client.ledger()
            if status["published_size"] == status["size"]:
                return time.perf_counter() - start, {"entries": status["size"]}
            if time.perf_counter() - start > 120:
                raise SystemExit("the verifier did not catch up within 120 s")
            time.sleep(0.1)
