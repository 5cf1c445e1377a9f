"""The real service in a process of its own on the real clock, and a fleet that talks to it."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from api.client import Client, Result
from api.client_errors import RequestRefused, ServiceUnavailable, Unreachable
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import parse_note
from ledger.log.proofs import consistency_proof, verify_consistency
from ledger.log.tiles import one_by_one, tile_nodes, tile_path
from tests.faults.promises import Promises
from tests.world import Chip, World

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
TIMEOUT_S = 10.0
AWAY = (Unreachable, ServiceUnavailable)
COMMAND = (sys.executable, "-m", "api.cli")


@dataclass
class Service:
    """``chip-passport serve`` in ``folder``; started and killed as often as wanted."""

    folder: Path
    options: Sequence[str | Path] = ()
    command: Sequence[str] = COMMAND
    lives: int = 0
    url: str = ""
    process: "subprocess.Popen[bytes] | None" = None

    def start(self, *before: str) -> str:
        """Run, behind the words ``before``; the address once it answers."""
        self.lives += 1
        ready, log = self.folder / f"ready{self.lives}", self.folder / f"log{self.lives}"
        words = [*before, *self.command, "serve", "--port", "0", "--ready-file", str(ready)]
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [*words, *map(str, self.options)],
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
            )
        deadline = time.monotonic() + START_S
        while not ready.exists() or not ready.read_text().endswith("\n"):
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        self.url = ready.read_text().strip()
        return self.url

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        assert self.process.wait() == -9, "it had ended by itself"

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        assert self.process.wait(START_S) == 0, (self.folder / f"log{self.lives}").read_text()

    def end(self) -> None:
        """Whatever state it is in."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


@dataclass
class Fleet:
    """Chips that send heartbeats of the present; knows what each was acknowledged."""

    world: World = field(default_factory=lambda: World(now_ms=time.time_ns() // 1_000_000))
    chips: list[Chip] = field(default_factory=list)

    def found(self, client: Client, chips: int) -> None:
        """Genesis, parties, licence and installed chips."""
        about, w = client.ledger(), self.world
        keys = (bytes.fromhex(about[name]) for name in ("ledger_key", "verifier_key"))
        self.chips = [w.chip(number) for number in range(chips)]
        tokens = [w.genesis(*keys, clock="real"), *w.parties(), w.policy(), w.licence()]
        tokens += [w.birth(chip) for chip in self.chips]
        tokens += [w.ship(*self.chips), w.receive(*self.chips), w.install(*self.chips)]
        for result in client.post_statements(tokens):
            assert result.accepted, result

    @staticmethod
    def beat(client: Client, chip: Chip) -> tuple[bytes, Result]:
        """One heartbeat in a request of its own."""
        epoch = client.epoch().id
        token = chip.heartbeat(epoch, time.time_ns() // 1_000_000)
        (result,) = client.post_heartbeats([token])
        return token, result


def _environment() -> dict[str, str]:
    """Ours without settings of the program, and with the sources importable."""
    kept = {name: text for name, text in os.environ.items() if "CHIP_PASSPORT" not in name}
    return {**kept, "PYTHONPATH": str(ROOT)}


def take_checkpoint(client: Client, promises: Promises) -> None:
    """Fetch the newest checkpoint; it has to extend the last one that was fetched."""
    checkpoint = Checkpoint.decode(parse_note(client.checkpoint()).text)
    size, root = checkpoint.size, checkpoint.root
    if promises.checkpoints:
        older = max(promises.checkpoints)
        if older != size:
            assert size > older, f"checkpoint {size} is served behind {older}"
            get = one_by_one(lambda tile: client.tile(tile_path(*tile).removeprefix("tile/")))
            proof = consistency_proof(tile_nodes(get, size), older, size)
            verify_consistency(older, size, bytes.fromhex(promises.checkpoints[older]), root, proof)
    promises.take(f"C {size} {root.hex()}\n".encode())


@dataclass
class Load:
    """Clients that send heartbeats until the service is gone, and one that reads checkpoints.

    A heartbeat whose answer was lost is sent again by the next life: it is taken or a duplicate.
    """

    fleet: Fleet
    promises: Promises
    unanswered: dict[int, bytes] = field(default_factory=dict)
    refused: int = 0

    def run(self, url: str, until: threading.Event) -> None:
        """All of them, until ``until`` is set; faults of the line and 503 are their daily bread."""
        work = [lambda n=n: self._beat(url, n, until) for n in range(len(self.fleet.chips))]
        with ThreadPoolExecutor(len(work) + 1) as pool:
            running = [pool.submit(one) for one in [*work, lambda: self._read(url, until)]]
            wait(running, return_when=FIRST_EXCEPTION)
            until.set()
            for done in running:
                done.result()

    def _beat(self, url: str, number: int, until: threading.Event) -> None:
        chip = self.fleet.chips[number]
        with Client(url, attempts=1, timeout=TIMEOUT_S) as client:
            while not until.is_set():
                try:
                    if number not in self.unanswered:
                        now_ms = time.time_ns() // 1_000_000
                        self.unanswered[number] = chip.heartbeat(client.epoch().id, now_ms)
                    (result,) = client.post_heartbeats([self.unanswered[number]])
                except AWAY:
                    self.refused += 1
                    until.wait(0.02)
                    continue
                assert result.accepted or result.reason == "duplicate", result
                del self.unanswered[number]
                if result.accepted:
                    assert result.leaf_hash is not None
                    self.promises.take(f"E {result.index} {result.leaf_hash.hex()}\n".encode())

    def _read(self, url: str, until: threading.Event) -> None:
        with Client(url, attempts=1, timeout=TIMEOUT_S) as client:
            while not until.wait(0.05):
                with suppress(*AWAY):
                    try:
                        take_checkpoint(client, self.promises)
                    except RequestRefused:
                        assert not self.promises.checkpoints  # there was none yet
