"""A chip's history of a year of hourly heartbeats: first page, and all of it, over HTTP."""

import tempfile
import time
from pathlib import Path
from statistics import median

from api.client import Client
from api.embedded import ServerProcess
from api.settings import ServiceSettings
from benchmarks.figures import Figure
from benchmarks.fleet import BATCH, found, heartbeats, open_node, opener, submit

HOURS = 8_760
PAGE = 1_000


def run(*, quick: bool) -> list[Figure]:
    """Milliseconds for the first page of 100, seconds for all entries."""
    with tempfile.TemporaryDirectory(prefix="chip-passport-bench-") as name:
        folder = Path(name)
        world, fleet = found(folder, 1, real_clock=False)
        node = open_node(folder, real_clock=False)
        tokens = heartbeats(fleet, node.epoch().id, world.now_ms, HOURS)
        for at in range(0, len(tokens), BATCH):
            submit(node, tokens[at : at + BATCH])
        node.close()
        ueid = fleet[0].ueid
        with (
            ServerProcess(
                opener(folder, real_clock=False, workers=0),
                settings=ServiceSettings(access="open"),
            ) as server,
            Client(server.url) as client,
        ):
            first = median(
                _timed(lambda: next(client.history(ueid, page=100)))[0] for _ in range(9)
            )
            rounds = [_timed(lambda: list(client.history(ueid, page=PAGE))) for _ in range(3)]
    entries = len(rounds[0][1])
    assert entries >= HOURS
    return [
        Figure("history, first page of 100", first * 1000, 50, at_least=False, unit="ms"),
        Figure(
            f"history, all {entries} entries",
            median(elapsed for elapsed, _ in rounds),
            1.0,
            at_least=False,
            unit="s",
        ),
    ]


def _timed(question):  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    answer = question()
    return time.perf_counter() - start, answer
