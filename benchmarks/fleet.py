"""A ledger with a fleet on it, and heartbeats signed beforehand."""

import time
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from api.workers import worker_pool
from ledger.errors import Refused
from ledger.service.clock import SimulatedClock, SystemClock
from ledger.service.keys import write_keys
from ledger.service.node import Node, NodeSettings
from tests.world import START_MS, Chip, World, seed

BATCH = 500


def open_node(folder: Path, *, real_clock: bool, workers: int = 0) -> Node:
    """The benchmark's node; ``workers`` processes check signatures (0: the node's own threads)."""
    keys = folder / "keys"
    if not keys.exists():
        write_keys(keys, seed("ledger"), seed("verifier"))
    clock = SystemClock() if real_clock else SimulatedClock(START_MS)
    executor: Executor | None = worker_pool(workers) if workers else None
    return Node.open(
        NodeSettings(database=str(folder / "ledger.db"), keys=keys, clock=clock, executor=executor)
    )


def found(
    folder: Path, chips: int, *, real_clock: bool, bucket_bits: int = 8
) -> tuple[World, list[Chip]]:
    """Make a ledger with ``chips`` installed chips and close it again."""
    node = open_node(folder, real_clock=real_clock)
    now_ms = time.time_ns() // 1_000_000 if real_clock else START_MS
    world = World(now_ms=now_ms)
    status = node.status()
    clock = "real" if real_clock else "simulated"
    genesis = world.genesis(
        status.ledger_key,
        status.verifier_key,
        clock=clock,
        epoch_s=86_400,
        bucket_bits=bucket_bits,
    )
    submit(node, [genesis, *world.parties(), world.policy(), world.licence()])
    fleet = [world.chip(number) for number in range(chips)]
    for at in range(0, chips, 200):
        part = fleet[at : at + 200]
        submit(node, [world.birth(chip) for chip in part])
        submit(node, [world.ship(*part), world.receive(*part), world.install(*part)])
    node.follow()
    node.close()
    return world, fleet


def submit(node: Node, tokens: list[bytes]) -> None:
    """Submit tokens that all have to be accepted."""
    for result in node.submit(tokens):
        if isinstance(result, Refused):
            raise SystemExit(f"the benchmark's own statement is refused: {result}")


def heartbeats(fleet: list[Chip], epoch: bytes, now_ms: int, rounds: int) -> list[bytes]:
    """``rounds`` heartbeats of every chip, signed."""
    return [chip.heartbeat(epoch, now_ms) for _ in range(rounds) for chip in fleet]


def opener(folder: Path, *, real_clock: bool, workers: int) -> "partial[Node]":
    """``open_node`` for a child process."""
    return partial(open_node, folder, real_clock=real_clock, workers=workers)
