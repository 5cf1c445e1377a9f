"""Seeds by name: every key, number and jitter of a run comes from one seed and a label.

A child's seed depends on its label and nothing else, so a chip that is added to a scenario changes
no other chip. The stream below is SHA-256 in counter mode, because the sequences of Python's
``random`` module are promised for some of its methods only.
"""

from hashlib import sha256

SEED_SIZE = 32
_DOMAIN = b"chip-passport/simulation/v1\x00"
_BLOCK = 32
_TWO_53 = 1 << 53


def root_seed(value: int | str) -> bytes:
    """The 32-byte seed for a scenario's ``seed`` (a number) or ``authority_seed`` (a text)."""
    return sha256(_DOMAIN + f"{type(value).__name__}:{value}".encode()).digest()


def derive(seed: bytes, label: str) -> bytes:
    """The child seed of that label, 32 bytes: SHA-256(seed || label)."""
    if len(seed) != SEED_SIZE:
        raise ValueError("a seed has 32 bytes")
    return sha256(seed + label.encode()).digest()


class Stream:
    """Pseudo-random draws of one purpose of one party; not for secrets."""

    __slots__ = ("_buffer", "_counter", "_seed")

    def __init__(self, seed: bytes) -> None:
        self._seed = seed
        self._counter = 0
        self._buffer = b""

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        while len(self._buffer) < count:
            self._buffer += sha256(self._seed + self._counter.to_bytes(8)).digest()
            self._counter += 1
        out, self._buffer = self._buffer[:count], self._buffer[count:]
        return out

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((int.from_bytes(self.take(8)) >> 11) / _TWO_53)

    def happens(self, probability: float) -> bool:
        """Whether something of that probability happens now; draws even where it cannot."""
        return self.uniform(0.0, 1.0) < probability
