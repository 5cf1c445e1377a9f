"""A log for tests of witnesses: checkpoints, proofs and requests at any size, and forks."""

from ledger.log.checkpoint import Checkpoint, sign_checkpoint
from ledger.log.cosignature import Cosigner, MlDsa44Key
from ledger.log.note import NoteSigner
from ledger.log.vkey import Vkey
from ledger.log.witness import AddCheckpoint
from tests.log import oracle
from tests.log.keys import TestKey

ORIGIN = "log.example/custody"
START_S = 1_700_000_000
ED_COSIGNER = Cosigner("witness.example/w1", TestKey(20))
ML_COSIGNER = Cosigner("witness.example/w2", MlDsa44Key.from_seed(bytes([21]) * 32))


class GrowingLog:
    """A log whose leaves are known; ``fork`` gives one that differs from leaf ``at`` on."""

    def __init__(self, origin: str = ORIGIN, key: int = 1, leaves: list[bytes] | None = None):
        self.origin = origin
        self.signer = NoteSigner(origin, TestKey(key))
        self._key = key
        self.leaves = oracle.leaves(80) if leaves is None else leaves

    @property
    def keys(self) -> dict[str, list[Vkey]]:
        """What a witness trusts to follow this log."""
        return {self.origin: [self.signer.vkey]}

    def fork(self, at: int) -> "GrowingLog":
        """The same keys, another history."""
        other = [bytes([n]) * 32 for n in range(len(self.leaves))]
        return GrowingLog(self.origin, self._key, self.leaves[:at] + other[at:])

    def checkpoint(self, size: int) -> Checkpoint:
        return Checkpoint(self.origin, size, oracle.root(self.leaves[:size]))

    def note(self, size: int) -> bytes:
        return sign_checkpoint(self.checkpoint(size), [self.signer])

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(oracle.proof(old, self.leaves[:size])) if 0 < old < size else ()

    def request(self, old: int, size: int) -> bytes:
        """The body of an honest request."""
        return AddCheckpoint(old, self.proof(old, size), self.note(size)).encode()
