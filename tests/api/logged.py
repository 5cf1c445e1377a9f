"""A ledger that outgrew its first tile, served over a real socket, with what it published."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.embedded import ServerThread
from ledger.log.checkpoint import Checkpoint
from ledger.log.cosignature import Cosigner
from ledger.log.note import parse_note
from tests.service.harness import Stage, founded

CHIPS = 5
ROUNDS = (1, 30, 24, 4)
"""Heartbeats of each chip before each checkpoint: the first sizes lie within one tile."""


@dataclass
class Logged:
    """A service, its node, and the checkpoints that it has published."""

    stage: Stage
    url: str
    http: httpx.Client
    checkpoints: list[Checkpoint] = field(default_factory=list)

    @property
    def newest(self) -> Checkpoint:
        return self.checkpoints[-1]

    def get(self, path: str, method: str = "GET", **headers: str) -> httpx.Response:
        """An answer to a request that says nothing of itself but what is given here."""
        request = self.http.build_request(method, path)
        for name in ("accept", "accept-encoding", "user-agent"):
            del request.headers[name]
        request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        return self.http.send(request)

    def grow(self, rounds: int = 1) -> None:
        """Every chip reports; no checkpoint covers it yet."""
        chips = self.stage.chips
        self.stage.take(*(self.stage.token(chip) for _ in range(rounds) for chip in chips))

    def publish(self) -> Checkpoint:
        """One more checkpoint."""
        note = self.stage.node.publish()
        assert note is not None
        self.checkpoints.append(Checkpoint.decode(parse_note(note).text))
        return self.newest

    def cosign(self, *cosigners: Cosigner) -> None:
        """Let the newest checkpoint be cosigned."""
        text = self.newest.encode()
        lines = {c.vkey.encode(): c.cosign(text, 1_700_000_000).signature for c in cosigners}
        self.stage.node.keep_cosignatures(self.newest.size, lines)


@contextmanager
def logged(folder: Path) -> Iterator[Logged]:
    """The ledger, with a checkpoint behind each of ``ROUNDS``."""
    stage = founded(folder, chips=CHIPS)
    try:
        with ServerThread(stage.node) as service, httpx.Client(base_url=service.url) as http:
            found = Logged(stage, service.url, http)
            for rounds in ROUNDS:
                found.grow(rounds)
                found.publish()
            assert found.checkpoints[1].size < 256 < found.newest.size
            yield found
    finally:
        stage.node.close()
