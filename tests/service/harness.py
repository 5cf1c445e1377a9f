"""A node on a simulated clock with a world in it."""

import atexit
import shutil
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ledger.errors import Refused
from ledger.protocol.statements import Kind
from ledger.service.clock import SimulatedClock
from ledger.service.keys import write_keys
from ledger.service.node import Node, NodeSettings
from ledger.service.views import Receipt
from tests.world import START_MS, Chip, World, seed

HOUR_MS = 3_600_000


@dataclass
class Stage:
    """Node, world and chips; ``hours`` moves time, ``beat`` sends heartbeats."""

    node: Node
    world: World
    chips: list[Chip] = field(default_factory=list)

    def take(self, *tokens: bytes, expect: Kind | None = None) -> list[Receipt]:
        """Submit tokens that all have to be accepted without conflict."""
        results = self.node.submit(tokens, expect)
        for result in results:
            assert not isinstance(result, Refused), result
            assert result.conflict is None, result
        return [result for result in results if isinstance(result, Receipt)]

    def refuse(self, token: bytes) -> Refused:
        """Submit one token that has to be refused; the log does not grow."""
        before = self.node.status().size
        result = self.node.submit([token])[0]
        assert isinstance(result, Refused), result
        assert self.node.status().size == before
        return result

    def conflict(self, token: bytes) -> Receipt:
        """Submit one token that has to go on record as a conflict."""
        result = self.node.submit([token])[0]
        assert isinstance(result, Receipt), result
        assert result.conflict is not None, result
        return result

    def hours(self, count: float = 1) -> None:
        """Move ledger and world on."""
        self.world.now_ms += int(count * HOUR_MS)
        self.node.set_time(self.world.now_ms)

    def beat(self, chip: Chip, **changes: Any) -> Receipt:
        """One accepted heartbeat, and the verifier has seen it."""
        receipt = self.take(self.token(chip, **changes))[0]
        self.node.follow()
        return receipt

    def token(self, chip: Chip, **changes: Any) -> bytes:
        """The chip's next heartbeat in the present epoch."""
        epoch = changes.pop("epoch", None) or self.node.epoch().id
        now_ms = changes.pop("now_ms", self.world.now_ms)
        return chip.heartbeat(epoch, now_ms, **changes)

    def state(self, chip: Chip) -> str:
        """The chip's state as its passport says."""
        return str(self.node.passport(chip.ueid)["state"])

    def decisions(self, chip: Chip) -> list[dict[str, Any]]:
        """The chip's decisions."""
        return self.node.decisions(chip.ueid, None, None, 100).items


def open_node(folder: Path, database: str | None = None, **settings: Any) -> Node:
    """A node with fixed keys on a simulated clock."""
    keys = folder / "keys"
    if not keys.exists():
        write_keys(keys, seed("ledger"), seed("verifier"))
    clock = settings.pop("clock", None) or SimulatedClock(START_MS)
    return Node.open(
        NodeSettings(
            database=database or str(folder / "ledger.db"), keys=keys, clock=clock, **settings
        )
    )


def found(node: Node, world: World | None = None, chips: int = 1, **policy: Any) -> Stage:
    """Genesis, parties, policy, licence, and ``chips`` installed chips."""
    stage = Stage(node, world or World())
    status = node.status()
    w = stage.world
    stage.take(w.genesis(status.ledger_key, status.verifier_key))
    stage.take(*w.parties(), w.policy(**policy), w.licence())
    stage.chips = [w.chip(number) for number in range(chips)]
    if chips:
        stage.take(*(w.birth(chip) for chip in stage.chips))
        stage.take(w.ship(*stage.chips), w.receive(*stage.chips), w.install(*stage.chips))
    node.follow()
    return stage


def founded(folder: Path, chips: int = 1) -> Stage:
    """What ``found`` makes in ``folder``, copied from one that was made before: much quicker."""
    for source in _made(chips).iterdir():
        target = folder / source.name
        if source.is_dir():
            shutil.copytree(source, target)
        else:
            shutil.copyfile(source, target)
    world = World()
    stage = Stage(open_node(folder), world, [world.chip(number) for number in range(chips)])
    stage.node.follow()
    return stage


@cache
def _made(chips: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="cp-founded-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found(open_node(folder), chips=chips).node.close()
    return folder
