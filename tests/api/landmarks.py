"""A landmark in this process, on a ledger that a test holds in memory."""

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from api.client import ClientError
from api.landmark import Landmark, LandmarkSettings
from api.landmark_probe import fresh_prover, range_with
from ledger.protocol.keys import PublicKey
from ledger.protocol.landmarks import RangingRow
from ledger.protocol.ranging import Result
from tests.api.world import Chip

EPOCH = bytes(range(16))
IDENT = "beacon"


@dataclass
class Shelf:
    """What ``api.landmark`` needs of a ledger."""

    chips: dict[bytes, PublicKey] = field(default_factory=dict)
    version: int | None = 1
    epochs: frozenset[bytes] = frozenset({EPOCH})
    refuses: list[str] = field(default_factory=list)
    """Reasons with which the next reports are refused."""
    broken: bool = False
    filed: list[tuple[bytes, list[RangingRow], int]] = field(default_factory=list)

    def refresh(self) -> tuple[frozenset[bytes], int | None]:
        return self.epochs, self.version

    def find_key(self, ueid: bytes) -> PublicKey | None:
        if self.broken:
            raise ClientError("no answer")
        return self.chips.get(ueid)

    def file(self, epoch: bytes, rows: list[RangingRow], directory: int) -> str | None:
        if self.broken:
            raise ClientError("no answer")
        if self.refuses:
            return self.refuses.pop(0)
        self.filed.append((epoch, rows, directory))
        return None


def shelf(*chips: Chip) -> Shelf:
    """A ledger that knows these chips."""
    return Shelf({chip.ueid: chip.signer.public for chip in chips})


@contextmanager
def at_work(ledger: Shelf, settings: LandmarkSettings | None = None) -> Iterator[tuple[str, int]]:
    """A landmark in a thread: its address. What it measured is filed when it has ended."""
    landmark = Landmark(IDENT, ledger, settings or LandmarkSettings(), secrets.token_bytes)
    place: list[tuple[str, int]] = []
    ready = threading.Event()
    failed: list[BaseException] = []

    def told(host: str, port: int) -> None:
        place.append((host, port))
        ready.set()

    def run() -> None:
        try:
            landmark.run(told)
        except BaseException as error:
            failed.append(error)
            ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(30)
        assert not failed, failed
        yield place[0]
    finally:
        landmark.stop()
        thread.join(30)
    assert not failed, failed


def ranged(address: tuple[str, int], chip: Chip, probes: int = 4, **changes: bytes) -> Result:
    """A chip's whole session; it has to have a result."""
    epoch = changes.get("epoch", EPOCH)
    prover = fresh_prover(chip.ueid, epoch, IDENT, probes, secrets.token_bytes)
    result = range_with(address, prover, chip.signer, probes, timeout_s=5.0)
    assert result is not None
    return result
