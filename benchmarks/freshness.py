"""How long an acknowledged heartbeat waits for a checkpoint that proves it, end to end over HTTP.

A service on a real clock with its defaults, verifier included, takes a steady load of batches;
beside it a heartbeat is posted at a random moment again and again, and the checkpoint is read until
it covers that heartbeat's entry.
"""

import random
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from api.client import Client
from api.embedded import ServerProcess
from benchmarks.figures import Figure
from benchmarks.fleet import found, heartbeats, opener
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from tests.world import Chip

CHIPS = 200
LIMIT_S = 2.0
LOAD_EVERY_S = 0.5
"""A batch of one heartbeat for each chip of the load comes so often: 400 heartbeats/s."""
LOOK_EVERY_S = 0.01


def run(*, quick: bool) -> list[Figure]:
    """The longest wait in seconds."""
    samples = 10 if quick else 100
    chance = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        _, (probe, *fleet) = found(folder, CHIPS + 1, real_clock=True)
        with (
            ServerProcess(opener(folder, real_clock=True, workers=0)) as server,
            Client(server.url) as client,
        ):
            epoch = client.epoch().id
            with _load(server.url, fleet, epoch) as sent:
                waits = []
                for _ in range(samples):
                    time.sleep(chance.random())
                    waits.append(_wait(client, probe.heartbeat(epoch, _now_ms())))
    details = {
        "median s": round(median(waits), 2),
        "heartbeats posted": samples,
        "heartbeats beside them": sum(sent),
    }
    return [
        Figure(
            "acknowledgement to checkpoint, longest",
            max(waits),
            LIMIT_S,
            at_least=False,
            unit="s",
            details=details,
        )
    ]


def _wait(client: Client, token: bytes) -> float:
    (result,) = client.post_heartbeats([token])
    start = time.perf_counter()
    assert result.accepted, result
    assert result.index is not None
    while Checkpoint.decode(parse_note(client.checkpoint()).text).size <= result.index:
        time.sleep(LOOK_EVERY_S)
    return time.perf_counter() - start


@contextmanager
def _load(url: str, fleet: Sequence[Chip], epoch: bytes) -> Iterator[list[int]]:
    """Batches from a thread of their own; yields the numbers of heartbeats that were accepted."""
    sent: list[int] = []
    done = threading.Event()

    def post() -> None:
        with Client(url) as client:
            while not done.wait(LOAD_EVERY_S):
                results = client.post_heartbeats(heartbeats(list(fleet), epoch, _now_ms(), 1))
                sent.append(sum(result.accepted for result in results))

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
